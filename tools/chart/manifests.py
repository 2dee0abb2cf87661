"""The plain manifests: what ``helm template`` gives for the default values, for who installs with kubectl alone.

What comes to it where EnvoyFilters are allowed has a folder of its own.  :mod:`tools.chart.generate` writes them to
``manifests``.  helm is called here and nowhere else in the package.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tools.chart.pages import HEAD

RELEASE = "aigateway-operator"
NAMESPACE = "aigateway-system"

_HELMS_OWN = re.compile(r"^ *(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", re.MULTILINE)
_KEEP = re.compile(r"^    # .*\n    helm\.sh/resource-policy: keep\n", re.MULTILINE)
_NO_ANNOTATIONS = re.compile(r"^  annotations:\n(?!    )", re.MULTILINE)
_SOURCE = re.compile(r"^# Source: .*\n", re.MULTILINE)
_NAME = re.compile(r"^(?:kind: |  name: |  namespace: ).*$", re.MULTILINE)
GATEWAYS = "istio-system"
_BESIDES = f"""\
# Beside manifests/install, where EnvoyFilters are allowed; the gateways' proxies run in {GATEWAYS}. Where yours run
# elsewhere, change the namespace below, and say the same to the operator:
#   kubectl -n {NAMESPACE} set env deployment/{RELEASE} AIGATEWAY_ALLOW_ENVOY_FILTER={GATEWAYS}
"""
_NAMESPACE = f"""\
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""


def manifests(helm: Path, chart: Path) -> Mapping[str, str]:
    """Return the text of each file of ``manifests`` by its path there; kubectl applies each folder in this order.

    Raises:
        subprocess.CalledProcessError: helm refuses the chart; what it said is in its stderr.
    """
    documents = _rendered(helm, chart)
    definitions = [text for text in documents if "kind: CustomResourceDefinition\n" in text]
    others = [text for text in documents if text not in definitions]
    known = set(map(_identity, documents))
    allowed = _rendered(helm, chart, "--set", f"envoyFilter.namespaces={{{GATEWAYS}}}")
    besides = [text for text in allowed if _identity(text) not in known]
    filters = [text for text in besides if "kind: EnvoyFilter\n" in text]
    return {
        "install/crd.yaml": HEAD + "---\n".join(definitions),
        "install/namespace.yaml": HEAD + _NAMESPACE,
        "install/operator.yaml": HEAD + "---\n".join(others),
        "envoy-filter/gateway-filter.yaml": HEAD + _BESIDES + "---\n".join(filters),
        "envoy-filter/rights.yaml": HEAD + "---\n".join(text for text in besides if text not in filters),
    }


def _rendered(helm: Path, chart: Path, *more: str) -> list[str]:
    """Return each document of the chart without what only helm reads."""
    command: list[str | Path] = [helm, "template", RELEASE, chart, "--namespace", NAMESPACE, "--skip-tests", *more]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 (our own words)
    documents = map(_cleaned, re.split(r"^---\n", rendered, flags=re.MULTILINE))
    return [text for text in documents if text.strip()]


def _identity(document: str) -> tuple[str, ...]:
    """Return kind, name and namespace: the first such lines."""
    return tuple(_NAME.findall(document)[:3])


def _cleaned(text: str) -> str:
    """Return a document without what only helm reads."""
    for pattern in (_SOURCE, _KEEP, _NO_ANNOTATIONS, _HELMS_OWN):
        text = pattern.sub("", text)
    return text.replace(HEAD, "").strip("\n") + "\n"
