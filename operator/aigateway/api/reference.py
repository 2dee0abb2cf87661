"""The reference pages, made from the CRD and the reasons, so that they cannot say anything else than the code does.

:mod:`aigateway.api.generate` writes them to ``docs/reference/``.
"""

from __future__ import annotations

from collections.abc import Iterator

from aigateway.api import reasons
from aigateway.api.classification import ANSWERS, GATEWAY_ERRORS, OTHER_GATEWAY_ERROR
from aigateway.api.crd import root_schema
from aigateway.api.model import LIST_KEYS, LIST_TYPE, VALIDATIONS
from aigateway.api.reasons import Reason
from aigateway.api.schema import Schema
from aigateway.api.v1alpha1 import API_VERSION, KIND

_FIELD_HEAD = "| Field | Type | Allowed | Meaning |\n|---|---|---|---|\n"
_ANSWER_HEAD = "| Status | Type | Severity | Retried | Meaning |\n|---|---|---|---|---|\n"
_MADE_HEAD = "| Type | Status | Flags | Severity | May be repeated | Message |\n|---|---|---|---|---|---|\n"
_REASON_HEAD = "| Reason | Meaning | What to do |\n|---|---|---|\n"


def fields_page() -> str:
    """Return the page with every field of the policy, in Markdown."""
    root = root_schema()
    spec, status = root["properties"]["spec"], root["properties"]["status"]
    return (
        f"# {KIND}\n\n`apiVersion: {API_VERSION}`. {root['description']}\n\n"
        "`kubectl explain aigatewaypolicy.spec --recursive` shows the same from the cluster. "
        "Durations are strings such as `500ms`, `10s` or `1m30s`. An unknown field is an error.\n\n"
        f"## Spec\n\n{_FIELD_HEAD}{''.join(_rows(spec, 'spec'))}\n"
        f"## Rules between fields\n\n{''.join(_rules(root, ''))}\n"
        f"## Status\n\n{_FIELD_HEAD}{''.join(_rows(status, 'status'))}"
    )


def reasons_page() -> str:
    """Return the page with every reason, in the order of the conditions that they belong to, in Markdown."""
    every = [value for value in vars(reasons).values() if isinstance(value, Reason)]
    rows = (f"| `{reason.name}` | {reason.meaning} | {reason.remedy} |\n" for reason in every)
    return (
        "# Reasons\n\nEvery reason that conditions, backends in status, and events can have. "
        "Alerts and scripts may match on them: they are added or deprecated, never renamed.\n\n"
        f"{_REASON_HEAD}{''.join(rows)}"
    )


def failures_page() -> str:
    """Return the page with every failure by its name: answers of backends, and what the gateway makes, in Markdown."""
    answers = (
        f"| {answer.status} | `{answer.type}` | {answer.severity} | {answer.retry} | {answer.meaning} |\n"
        for answer in ANSWERS
    )
    made = (
        f"| `{error.type}` | {error.status or '-'} | {', '.join(error.flags)} | {error.severity} "
        f"| {'yes' if error.retryable else 'no'} | {error.message} |\n"
        for error in (*GATEWAY_ERRORS, OTHER_GATEWAY_ERROR)
    )
    return (
        "# Failures\n\nOne table decides what a failure is called, whose fault it is and whether it is tried again.\n\n"
        '## Answers of backends\n\nTheir bodies are never touched. "By choice": retried where `retries.statusCodes` '
        "names them, for idempotent requests. Other answers from 400 on are `client_error` or `server_error` and never "
        f"retried.\n\n{_ANSWER_HEAD}{''.join(answers)}\n"
        '## Responses of the gateway\n\n"May be repeated" is `retryable` in the body: nothing was executed, so that a '
        "client may send the request again whatever its method. The flags are Envoy's.\n\n"
        f"{_MADE_HEAD}{''.join(made)}"
    )


def _rows(schema: Schema, path: str) -> Iterator[str]:
    """Yield the table row of each field below ``schema``, parents first."""
    required = schema.get("required", ())
    for name, child in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        allowed = "; ".join([*(["required"] if name in required else []), *_constraints(child)])
        yield f"| `{here}` | {_type(child)} | {_cell(allowed)} | {_cell(child.get('description', ''))} |\n"
        yield from _rows(child.get("items", child), f"{here}[]" if "items" in child else here)


def _type(schema: Schema) -> str:
    return f"list of {schema['items']['type']}" if schema["type"] == "array" else str(schema["type"])


def _constraints(schema: Schema) -> Iterator[str]:
    """Yield in words what a value may be, the items of a list of plain values included."""
    if "enum" in schema:
        yield f"one of {', '.join(map(str, schema['enum']))}"
    if "minimum" in schema or "maximum" in schema:
        yield f"{schema.get('minimum', '')} to {schema['maximum']}" if "maximum" in schema else f"≥ {schema['minimum']}"
    if "maxLength" in schema:
        yield f"at most {schema['maxLength']} characters"
    if "maxItems" in schema:
        yield f"{schema.get('minItems', 0)} to {schema['maxItems']} items{_uniqueness(schema)}"
    if schema["type"] not in {"object", "array"}:
        yield from (rule["message"] for rule in schema.get(VALIDATIONS, ()))
    if "items" in schema and "properties" not in schema["items"]:
        yield from (f"each {constraint}" for constraint in _constraints(schema["items"]))


def _uniqueness(schema: Schema) -> str:
    if schema[LIST_TYPE] == "map":
        return f", unique by {schema[LIST_KEYS][0]}"
    return ", no item twice" if schema[LIST_TYPE] == "set" else ", in order"


def _rules(schema: Schema, path: str) -> Iterator[str]:
    """Yield a list entry for each rule on an object at or below ``schema``."""
    if schema["type"] == "object":
        for rule in schema.get(VALIDATIONS, ()):
            place = f"{path}{rule.get('fieldPath', '')}".lstrip(".")
            yield f"- `{place}`: {rule['message']}\n" if place else f"- {rule['message']}\n"
    for name, child in schema.get("properties", {}).items():
        here = f"{path}.{name}".lstrip(".")
        yield from _rules(child.get("items", child), f"{here}[]" if "items" in child else here)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
