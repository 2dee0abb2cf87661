"""From a model to the structural schema that Kubernetes takes.

:mod:`aigateway.api.crd` calls it.  Pydantic speaks more JSON schema than a CRD may hold, and the API server silently
drops what it does not know, a constraint with it; so every keyword is either translated here or refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aigateway.api.model import LIST_KEYS, LIST_TYPE, VALIDATIONS, Model
from aigateway.api.rules import Rule

Schema = dict[str, Any]

_KEPT = frozenset(
    {
        "type",
        "format",
        "description",
        "enum",
        "required",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        LIST_TYPE,
        LIST_KEYS,
        VALIDATIONS,
    }
)
# A default in the CRD would be written into every object and differ for ever from what is in Git; pruning takes the
# place of additionalProperties; a title only repeats the name.
_DROPPED = frozenset({"title", "default", "additionalProperties"})
_BOUNDS = {"array": "maxItems", "string": "maxLength"}


class UnsupportedSchemaError(Exception):
    """A model uses something that a CRD cannot say; the message names the field."""


def structural(model: type[Model], rules: Mapping[type[Model], tuple[Rule[Any], ...]]) -> Schema:
    """Return the structural schema of ``model`` with the rules of every model in it as CEL."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    definitions: Mapping[str, Schema] = schema.pop("$defs", {})
    by_title = {owner.__name__: own for owner, own in rules.items()}
    return _Converter(definitions, by_title).convert(schema, model.__name__)


class _Converter:
    """Carries what every level of the schema needs: definitions by name, rules by the name of their model."""

    def __init__(self, definitions: Mapping[str, Schema], rules: Mapping[str, tuple[Rule[Any], ...]]) -> None:
        self._definitions = definitions
        self._rules = rules

    def convert(self, node: Schema, path: str) -> Schema:
        """Return ``node`` as a structural schema; ``path`` is for messages."""
        node = self._flat(node)
        result = {keyword: value for keyword, value in node.items() if keyword in _KEPT}
        if "description" in node:
            result["description"] = " ".join(node["description"].split())
        if "properties" in node:
            result["properties"] = {
                name: self.convert(child, f"{path}.{name}") for name, child in node["properties"].items()
            }
        if "items" in node:
            result["items"] = self.convert(node["items"], f"{path}[]")
        if own := self._rules.get(node.get("title", "")):
            result[VALIDATIONS] = [_validation(rule) for rule in own]
        _refuse_unknown(node, path)
        _refuse_unbounded(result, path)
        return result

    def _flat(self, node: Schema) -> Schema:
        """Return ``node`` with its reference followed and its null option dropped; what stands beside them wins."""
        beside = {keyword: value for keyword, value in node.items() if keyword not in {"$ref", "anyOf"}}
        if "$ref" in node:
            target = self._definitions[node["$ref"].removeprefix("#/$defs/")]
            return self._flat({**target, **beside, "title": target["title"]})
        present = [option for option in node.get("anyOf", ()) if option != {"type": "null"}]
        if len(present) == 1:
            return self._flat({**beside, **present[0], **_described(beside)})
        if "const" in node:
            value = beside.pop("const")
            return {**beside, "enum": [value]}
        return node


def _described(node: Schema) -> Schema:
    return {"description": node["description"]} if "description" in node else {}


def _validation(rule: Rule[Any]) -> Schema:
    validation = {"rule": rule.cel, "message": rule.message}
    return {**validation, "fieldPath": f".{rule.field}"} if rule.field else validation


def _refuse_unknown(node: Schema, path: str) -> None:
    unknown = node.keys() - _KEPT - _DROPPED - {"properties", "items"}
    if unknown:
        raise UnsupportedSchemaError(f"{path}: a CRD has no place for {', '.join(sorted(unknown))}")
    if node.get("additionalProperties"):
        raise UnsupportedSchemaError(f"{path}: maps are not bounded; use a list of objects")
    if "type" not in node:
        raise UnsupportedSchemaError(f"{path}: every value needs one type")


def _refuse_unbounded(schema: Schema, path: str) -> None:
    """Refuse what has no upper bound: the API server could not estimate what a rule on it costs."""
    bound = _BOUNDS.get(schema["type"])
    if bound and bound not in schema and "enum" not in schema:
        raise UnsupportedSchemaError(f"{path}: {schema['type']} needs {bound}")
    if schema["type"] == "array" and LIST_TYPE not in schema:
        raise UnsupportedSchemaError(f"{path}: every list declares its list type")
