"""What the base of the models promises: strict, frozen, camelCase, and metadata that reaches both sides."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from aigateway.api.model import Format, ListType, Model, cel_literal, fields

EVEN = Format("self % 2 == 0", "must be even", lambda value: value % 2 == 0)


class Inner(Model):
    """An item."""

    name: Annotated[str, Field(max_length=8)]
    """Its name."""


class Outer(Model):
    """A model with one of each."""

    even_number: Annotated[int, EVEN] = 0
    """An even number."""
    inners: Annotated[tuple[Inner, ...], Field(max_length=4), ListType("map", "name")] = ()
    """Items by name."""
    words: Annotated[tuple[str, ...], Field(max_length=4), ListType("set")] | None = None
    """Different words."""
    numbers: Annotated[tuple[int, ...], Field(max_length=4), ListType("atomic")] = ()
    """Any numbers."""


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        pytest.param({"evenNumber": "2"}, "int_type", id="no conversion"),
        pytest.param({"evenNumber": True}, "int_type", id="a truth value is no number"),
        pytest.param({"even_number": 2}, "extra_forbidden", id="the name inside is unknown outside"),
        pytest.param({"other": 2}, "extra_forbidden", id="an unknown field"),
        pytest.param({"evenNumber": 3}, "format", id="a format"),
        pytest.param({"words": ["a", "b", "a"]}, "duplicate", id="an item twice in a set"),
        pytest.param({"inners": [{"name": "a"}, {"name": "a"}]}, "duplicate", id="a key twice in a map"),
        pytest.param({"words": "ab"}, "tuple_type", id="a string is no list"),
        pytest.param({"words": {"a": 1}}, "tuple_type", id="an object is no list"),
        pytest.param({"numbers": ["1"]}, "int_type", id="items are strict as well"),
        pytest.param({"words": ["a"] * 5}, "too_long", id="too many, before anybody compares them"),
    ],
)
def test_a_model_refuses(raw: dict[str, Any], kind: str) -> None:
    """Each mistake is found, and as what it is."""
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(raw)

    assert [kind] == [error["type"] for error in caught.value.errors()]


def test_a_model_takes_lists_and_keeps_them_unchangeable() -> None:
    """JSON arrays become tuples; an atomic list may repeat an item."""
    outer = Outer.model_validate({"evenNumber": 2, "inners": [{"name": "a"}], "words": ["a"], "numbers": [1, 1]})

    assert (2, (Inner.model_validate({"name": "a"}),), ("a",), (1, 1)) == (
        outer.even_number,
        outer.inners,
        outer.words,
        outer.numbers,
    )
    with pytest.raises(ValidationError, match="frozen"):
        outer.even_number = 4  # type: ignore[misc]


def test_a_format_says_its_message() -> None:
    """The message of a format is the whole error, word for word."""
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"evenNumber": 3})

    assert ["must be even"] == [error["msg"] for error in caught.value.errors()]


def test_metadata_reaches_the_schema() -> None:
    """Formats become CEL rules, lists declare their type, and docstrings of fields are descriptions."""
    properties = Outer.model_json_schema(by_alias=True)["properties"]

    assert [{"rule": "self % 2 == 0", "message": "must be even"}] == properties["evenNumber"][
        "x-kubernetes-validations"
    ]
    assert ("map", ["name"]) == tuple(properties["inners"][f"x-kubernetes-list-{key}"] for key in ("type", "map-keys"))
    assert "atomic" == properties["numbers"]["x-kubernetes-list-type"]
    assert "Any numbers." == properties["numbers"]["description"]


def test_fields_are_listed_with_their_models() -> None:
    """A field's model is found through options and lists."""
    assert {"evenNumber": None, "inners": Inner, "words": None, "numbers": None} == fields(Outer)


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        pytest.param("a", '"a"', id="plain"),
        pytest.param('a"b', '"a\\"b"', id="quote"),
        pytest.param(r"a\.b", r'"a\\.b"', id="backslash"),
    ],
)
def test_a_string_becomes_a_cel_literal(text: str, literal: str) -> None:
    """Quotes and backslashes are escaped as CEL wants them."""
    assert literal == cel_literal(text)
