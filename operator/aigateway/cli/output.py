"""Objects as text, for commands and golden files: the same objects always give the same text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml


class _WithoutAnchors(yaml.SafeDumper):
    """YAML as people write it: equal parts are written out, not referred to."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002  (signature of the library)
        return True


def as_yaml(objects: Sequence[Any]) -> str:
    """Return YAML documents; keys keep their order."""
    return yaml.dump_all(objects, Dumper=_WithoutAnchors, sort_keys=False, width=120) if objects else ""


def as_json(objects: Sequence[Any]) -> str:
    """Return one Kubernetes List."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}, indent=2) + "\n"
