"""Which files around the chart are generated, and from what; :func:`stale` tells tests which are not current."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from aigateway import __version__
from aigateway.core.gateway.gateway_filter import gateway_filter
from tools.chart import manifests, pages, schema, values

CHART = Path("charts/aigateway-operator")
DEFINITION = Path("crds/aigateway.dev_aigatewaypolicies.yaml")
EXAMPLES = ("01-minimal", "02-pinned-by-header", "03-in-mesh")

Files = Mapping[Path, str]
"""Text by path in the repository."""


def chart_files(root: Path) -> Files:
    """Return the generated files of the chart; they need no helm."""
    text = (root / CHART / "values.yaml").read_text(encoding="utf-8")
    known = values.read(text)
    crd = (root / DEFINITION).read_text(encoding="utf-8")
    examples = [(root / "manifests" / "examples" / name / "policy.yaml").read_text("utf-8") for name in EXAMPLES]
    description = "Turns AIGatewayPolicy objects into Istio routing and KEDA scaling for model services."
    return {
        CHART / "Chart.yaml": pages.metadata(__version__, description, yaml.safe_load(crd), examples),
        CHART / "values.schema.json": json.dumps(schema.schema(known), indent=2, ensure_ascii=False) + "\n",
        CHART / "templates" / "crd.yaml": pages.definition_template(crd),
        CHART / "templates" / "gateway-filter.yaml": pages.gateway_filter_template(gateway_filter("any")),
        CHART / "README.md": pages.with_table((root / CHART / "README.md").read_text(encoding="utf-8"), known),
    }


def manifest_files(root: Path, helm: Path) -> Files:
    """Return the plain manifests, rendered by helm from the chart as it is on disk."""
    folder = Path("manifests")
    return {folder / name: text for name, text in manifests.manifests(helm, root / CHART).items()}


def stale(root: Path, files: Files) -> list[str]:
    """Return the paths below ``root`` that are missing or hold another text."""
    return [
        str(path)
        for path, text in files.items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def write(root: Path, files: Files) -> None:
    """Write the files below ``root``."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
