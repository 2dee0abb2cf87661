"""Reads ``values.yaml`` with its comments: each value's path, default, explanation and what else is known of it.

:mod:`tools.chart.schema` and :mod:`tools.chart.pages` are made from what this returns.  A comment above a key that
begins with ``# --`` explains the value; a line ``# @schema {…}`` adds JSON schema to what the default tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

_TEXT = "-- "
_SCHEMA = "@schema "


class ValuesError(ValueError):
    """The file breaks the rules for its comments; the message names the value."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value: ``path`` from the top, ``default`` as parsed, ``text`` in Markdown, ``schema`` as in its comment."""

    path: tuple[str, ...]
    default: Any
    text: str
    schema: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The path as ``--set`` takes it."""
        return ".".join(self.path)


def read(text: str) -> list[Value]:
    """Return every value of a ``values.yaml``, in its order.

    Raises:
        ValuesError: a value has no explanation.
    """
    root = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ValuesError("values.yaml holds no mapping")
    return list(_walk((), root, text.splitlines()))


def _walk(path: tuple[str, ...], node: yaml.MappingNode, lines: Sequence[str]) -> Iterator[Value]:
    for key, value in node.value:
        here = (*path, key.value)
        comment = _comment_above(lines, key.start_mark.line)
        text, schema = _split(comment)
        if text:
            yield Value(here, yaml.safe_load(yaml.serialize(value)), text, schema)
        elif isinstance(value, yaml.MappingNode) and value.value:
            yield from _walk(here, value, lines)
        else:
            raise ValuesError(f"{'.'.join(here)} has no comment that begins with `# --`")


def _comment_above(lines: Sequence[str], line: int) -> list[str]:
    """Return the lines of the comment right above a line, without their hashes."""
    first = line
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return [text.strip().removeprefix("#").removeprefix(" ") for text in lines[first:line]]


def _split(comment: Sequence[str]) -> tuple[str, Mapping[str, Any]]:
    starts = [number for number, line in enumerate(comment) if line.startswith(_TEXT)]
    if not starts:
        return "", {}
    mine = comment[starts[-1] :]
    words = [line.removeprefix(_TEXT) for line in mine if not line.startswith(_SCHEMA)]
    schemas = [json.loads(line.removeprefix(_SCHEMA)) for line in mine if line.startswith(_SCHEMA)]
    return " ".join(words), schemas[0] if schemas else {}
