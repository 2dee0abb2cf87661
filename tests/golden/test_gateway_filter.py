"""The gateway filter as a reviewable file beside this one, with its script as people read it.

``UPDATE_GOLDEN=1 pytest tests/golden`` writes it anew; the difference is then for the reviewer to judge.
"""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from aigateway.core.gateway.gateway_filter import gateway_filter

FILE = Path(__file__).parent / "gateway-filter.yaml"


class _Readable(yaml.SafeDumper):
    """YAML with longer texts in lines, and no references."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 (signature of the library)
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _text)


def test_gateway_filter() -> None:
    """It renders to exactly what is in its file."""
    text = yaml.dump(gateway_filter("istio-ingress"), Dumper=_Readable, sort_keys=False, width=120)
    if os.environ.get("UPDATE_GOLDEN"):
        FILE.write_text(text)

    assert FILE.read_text() == text
