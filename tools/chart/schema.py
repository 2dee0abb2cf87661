"""The JSON schema of the chart's values, by which helm refuses what the chart does not know.

:mod:`tools.chart.generate` writes it.  Types come from the defaults, the rest from the values' own comments.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tools.chart.values import Value

_DIALECT = "http://json-schema.org/draft-07/schema#"
_TYPES = {str: "string", bool: "boolean", int: "integer", list: "array", dict: "object"}
_GLOBAL = {
    "type": "object",
    "description": "What helm hands to every chart where this one is part of another; nothing in it is used.",
}


def schema(values: Iterable[Value]) -> dict[str, Any]:
    """Return the schema of all values; unknown names are refused at every level that the chart defines."""
    root = _closed()
    for value in values:
        _home(root, value.path[:-1])["properties"][value.path[-1]] = _of(value)
    root["properties"]["global"] = _GLOBAL
    return {"$schema": _DIALECT, "title": "Values of the chart aigateway-operator", **root}


def _closed() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _home(root: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        root = root["properties"].setdefault(name, _closed())
    return root


def _of(value: Value) -> dict[str, Any]:
    known = {"type": _TYPES[type(value.default)], "description": value.text, "default": value.default}
    return {**known, **value.schema}
