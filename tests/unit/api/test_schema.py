"""A model becomes a structural schema, and what a CRD cannot say is refused instead of dropped."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from aigateway.api.model import ListType, Model
from aigateway.api.rules import Rule
from aigateway.api.schema import UnsupportedSchemaError, structural

Word = Annotated[str, Field(min_length=1, max_length=8)]


class Leaf(Model):
    """A model inside."""

    word: Word
    """A word
    of two lines."""


class Tree(Model):
    """A model with each shape that the API uses."""

    leaf: Leaf
    """One, described here."""
    maybe: Leaf | None = None
    leaves: Annotated[tuple[Leaf, ...], Field(min_length=1, max_length=4), ListType("map", "word")] | None = None
    kind: Literal["A", "B"] = "A"
    count: Annotated[int, Field(ge=0, le=9)] = 3
    on_off: bool = False


LEAF = {"type": "object", "required": ["word"], "properties": {"word": {}}}
WORD = {"type": "string", "minLength": 1, "maxLength": 8, "description": "A word of two lines."}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(
            "leaf",
            {**LEAF, "properties": {"word": WORD}, "description": "One, described here."},
            id="a reference is put in place, and the field's description wins",
        ),
        pytest.param(
            "maybe",
            {**LEAF, "properties": {"word": WORD}, "description": "A model inside."},
            id="an option is only not required",
        ),
        pytest.param(
            "leaves",
            {
                "type": "array",
                "minItems": 1,
                "maxItems": 4,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["word"],
                "items": {**LEAF, "properties": {"word": WORD}, "description": "A model inside."},
            },
            id="a list keeps bounds and type",
        ),
        pytest.param("kind", {"type": "string", "enum": ["A", "B"]}, id="literals are an enumeration"),
        pytest.param("count", {"type": "integer", "minimum": 0, "maximum": 9}, id="bounds stay, the default goes"),
        pytest.param("onOff", {"type": "boolean"}, id="a switch, by its name outside"),
    ],
)
def test_a_field_becomes_structural(name: str, expected: dict[str, Any]) -> None:
    """References, options, titles and defaults are gone; types, bounds and descriptions stay."""
    assert expected == structural(Tree, {})["properties"][name]


def test_required_are_the_fields_without_a_default() -> None:
    """Only what has no default is required."""
    assert ["leaf"] == structural(Tree, {})["required"]


def test_rules_stand_at_every_place_of_their_model() -> None:
    """A rule on a model is checked wherever the model is used; its field is named relative to the model."""

    class Pair(Model):
        """Two leaves."""

        one: Leaf
        two: Leaf

    own: Rule[Leaf] = Rule("self.word != 'x'", "not x", lambda _: (), "word")
    properties = structural(Pair, {Leaf: (own,)})["properties"]

    expected = [{"rule": "self.word != 'x'", "message": "not x", "fieldPath": ".word"}]
    assert [expected, expected] == [properties[name]["x-kubernetes-validations"] for name in ("one", "two")]


class Unbounded(Model):
    """A string of any length."""

    text: str


class Endless(Model):
    """A list of any length."""

    items: Annotated[tuple[int, ...], ListType("atomic")]


class Undeclared(Model):
    """A list that does not say how it merges."""

    items: Annotated[tuple[int, ...], Field(max_length=1)]


class Mapped(Model):
    """A map with any keys."""

    labels: dict[str, int]


class Mixed(Model):
    """A value of two types."""

    value: int | bool


class Anything(Model):
    """A value of any type."""

    value: Any


class Exclusive(Model):
    """A bound that OpenAPI 3.0 writes differently."""

    value: Annotated[int, Field(gt=0)]


class Unique(Model):
    """A set, whose uniqueness a CRD says differently."""

    values: Annotated[frozenset[int], Field(max_length=3)]


@pytest.mark.parametrize(
    ("model", "place"),
    [
        pytest.param(Unbounded, "Unbounded.text: string needs maxLength", id="unbounded string"),
        pytest.param(Endless, "Endless.items: array needs maxItems", id="unbounded list"),
        pytest.param(Undeclared, "Undeclared.items: every list declares its list type", id="no list type"),
        pytest.param(Mapped, "Mapped.labels: maps are not bounded", id="map"),
        pytest.param(Mixed, "Mixed.value: a CRD has no place for anyOf", id="union"),
        pytest.param(Anything, "Anything.value: every value needs one type", id="no type"),
        pytest.param(Exclusive, "Exclusive.value: a CRD has no place for exclusiveMinimum", id="exclusive bound"),
        pytest.param(Unique, "Unique.values: a CRD has no place for uniqueItems", id="unique items"),
    ],
)
def test_what_a_crd_cannot_say_is_refused(model: type[Model], place: str) -> None:
    """A keyword that the API server would drop, or a value without a bound, is an error that names the field."""
    with pytest.raises(UnsupportedSchemaError) as caught:
        structural(model, {})

    assert str(caught.value).startswith(place)
