"""The base of every model of the API, and the metadata that carries what a JSON schema cannot say by itself.

The models of a version and :mod:`aigateway.api.status` build on it; :mod:`aigateway.api.schema` turns what is declared
here into the CRD.  It must not know any single field.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, core_schema

VALIDATIONS = "x-kubernetes-validations"
LIST_TYPE = "x-kubernetes-list-type"
LIST_KEYS = "x-kubernetes-list-map-keys"


class Model(BaseModel):
    """Strict and frozen, camelCase outside; an unknown field is an error, since it is most often a misspelt one."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
        use_attribute_docstrings=True,
    )


def fields(model: type[Model]) -> dict[str, type[Model] | None]:
    """Return the fields of a model by their names outside, each with the model of its value or items, if it has one."""
    return {info.alias or name: _model_in(info.annotation) for name, info in model.model_fields.items()}


def _model_in(annotation: object) -> type[Model] | None:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


@dataclass(frozen=True, slots=True)
class Format:
    """A rule on one value that both the API server (``cel``, on ``self``) and the model (``holds``) check.

    ``message`` says what is allowed, with an example; it completes the sentence "spec.field: ...".
    """

    cel: str
    message: str
    holds: Callable[[Any], bool]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Check the value after its type and length were found right."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Add the rule to the schema of the value."""
        return {**handler(schema), VALIDATIONS: [{"rule": self.cel, "message": self.message}]}

    def _check(self, value: object) -> object:
        if not self.holds(value):
            # The kind is looked up by aigateway.api.problems; the message must hold no braces (pydantic fills them).
            raise PydanticCustomError("format", self.message)
        return value


@dataclass(frozen=True, slots=True)
class ListType:
    """How the API server merges a list and which items it takes as the same.

    ``atomic``: replaced as a whole; ``set``: no item twice; ``map``: no two items with the same ``key``.
    """

    kind: Literal["atomic", "set", "map"]
    key: str = ""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Take a JSON array (a Python list), and refuse items that the API server calls duplicates."""
        # Strict tuples refuse lists, and JSON has nothing else; the items themselves stay strict.
        lenient = cast("core_schema.CoreSchema", {**handler(source), "strict": False})
        return core_schema.no_info_after_validator_function(self._check, lenient)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Declare the list type."""
        declared: dict[str, Any] = {**handler(schema), LIST_TYPE: self.kind}
        return {**declared, LIST_KEYS: [self.key]} if self.kind == "map" else declared

    def _check(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.kind == "atomic":
            return items
        counts = Counter(getattr(item, self.key) if self.key else item for item in items)
        for key, count in counts.items():
            if count > 1:
                raise PydanticCustomError(
                    "duplicate", "is a list without repetition: {key} is there more than once", {"key": str(key)}
                )
        return items


def cel_literal(value: str) -> str:
    """Return the CEL string literal of ``value``: JSON's escapes are a subset of CEL's."""
    return json.dumps(value, ensure_ascii=True)
