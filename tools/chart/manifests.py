"""The plain manifests: what ``helm template`` gives for the default values, for who installs with kubectl alone.

:mod:`tools.chart.generate` writes them to ``manifests/install``.  helm is called here and nowhere else in the package.
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
_KEEP = re.compile(r"^  annotations:\n    # .*\n    helm\.sh/resource-policy: keep\n", re.MULTILINE)
_SOURCE = re.compile(r"^# Source: .*\n", re.MULTILINE)
_NAMESPACE = f"""\
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""


def manifests(helm: Path, chart: Path) -> Mapping[str, str]:
    """Return the text of each file of ``manifests/install`` by its name; kubectl applies them in this order.

    Raises:
        subprocess.CalledProcessError: helm refuses the chart; what it said is in its stderr.
    """
    command: list[str | Path] = [helm, "template", RELEASE, chart, "--namespace", NAMESPACE, "--skip-tests"]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 (our own words)
    documents = [_cleaned(text) for text in re.split(r"^---\n", rendered, flags=re.MULTILINE) if text.strip()]
    definitions = [text for text in documents if "kind: CustomResourceDefinition\n" in text]
    others = [text for text in documents if text not in definitions]
    return {
        "crd.yaml": HEAD + "---\n".join(definitions),
        "namespace.yaml": HEAD + _NAMESPACE,
        "operator.yaml": HEAD + "---\n".join(others),
    }


def _cleaned(text: str) -> str:
    """Return a document without what only helm reads."""
    for pattern in (_SOURCE, _KEEP, _HELMS_OWN):
        text = pattern.sub("", text)
    return text.replace(HEAD, "").strip("\n") + "\n"
