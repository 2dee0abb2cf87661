"""Values as text: data for scripts, and lines that are never changed on their way to a file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pytest
import yaml
from rich.text import Text

from aigateway.cli.output import as_text, as_yaml, plain


class _Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class _Inner:
    some_name: str
    nothing: str | None = None


@dataclass(frozen=True)
class _Outer:
    inner_parts: tuple[_Inner, ...]
    colour: _Colour = _Colour.RED


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(_Outer((_Inner("a"),)), {"innerParts": [{"someName": "a"}], "colour": "red"}, id="nested"),
        pytest.param({"as_it_is": None}, {"as_it_is": None}, id="the-users-own-keys"),
        pytest.param((1, "x", True), [1, "x", True], id="tuple"),
    ],
)
def test_plain(value: object, expected: Any) -> None:
    """Field names are camelCase as everywhere in Kubernetes; the members of JSON objects keep theirs."""
    assert expected == plain(value)


def test_yaml_of_plain_values() -> None:
    """An enum in a view is its value, not a Python object."""
    assert {"innerParts": [], "colour": "red"} == yaml.safe_load(as_yaml([plain(_Outer(()))]))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * 500, id="long"),
        pytest.param("[bold]not[/bold] a :smile:", id="no-markup"),
        pytest.param("sum(rate(a{b='c'}[60s]))", id="brackets"),
    ],
)
def test_text_is_what_was_written(text: str) -> None:
    """Without a terminal nothing is wrapped, coloured or taken for markup."""
    assert f"{text}\n{text}\n" == as_text(text, Text(text, style="bold red"))
