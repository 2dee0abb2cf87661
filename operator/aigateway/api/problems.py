"""What is wrong with a policy, in the words that status, the command line and people read.

:mod:`aigateway.api.resolve` returns these values instead of raising: a policy with mistakes is an ordinary input.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aigateway.api.model import Model, fields
from aigateway.api.reasons import Reason

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MOST_PROBLEMS = 16
"""A file of a million mistakes must not become a status of a million lines."""

_MOST_SHOWN = 64


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: ``field`` as in ``spec.backends[1].weight``, ``message`` what is wrong there and what to do."""

    field: str
    message: str

    def __str__(self) -> str:
        """Return the form of conditions and of the command line."""
        return f"{self.field}: {self.message}" if self.field else self.message


@dataclass(frozen=True, slots=True)
class Rejection:
    """A policy that cannot be in effect, and every reason that was found (at least one, at most MOST_PROBLEMS)."""

    reason: Reason
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        """Return all problems in one line."""
        return "; ".join(map(str, self.problems))


def join(path: str, step: str | int) -> str:
    """Return ``path`` with a field or list index added."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    return f"{path}.{step}" if path else step


def from_pydantic(model: type[Model], errors: Iterable[ErrorDetails]) -> tuple[Problem, ...]:
    """Return what pydantic found wrong with a value of ``model`` as problems, lists that are too long first."""
    found = list(errors)
    places = {error["loc"][:depth] for error in found for depth in range(len(error["loc"]))}
    # A list whose items are all wrong is reported as empty as well, which is not the mistake.
    meant = [error for error in found if not (error["type"] == "too_short" and error["loc"] in places)]
    return tuple(_problem(model, error) for error in sorted(meant, key=lambda error: error["type"] != "too_long"))


_TEMPLATES = {
    "missing": "is required",
    "int_type": "must be a whole number, not {input}",
    "string_type": "must be a string, not {input}",
    "bool_type": "must be true or false, not {input}",
    "model_type": "must be an object, not {input}",
    "tuple_type": "must be a list, not {input}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
    "too_long": "must have at most {max_length} items, not {actual_length}",
    "too_short": "must not be empty",
    "greater_than_equal": "must be at least {ge}, not {input}",
    "less_than_equal": "must be at most {le}, not {input}",
    "literal_error": "must be {expected}, not {input}",
    "enum": "must be {expected}, not {input}",
}
"""What a user reads for each kind of error that pydantic finds; kinds of our own bring their message with them."""


def _problem(model: type[Model], error: ErrorDetails) -> Problem:
    path = ""
    for step in error["loc"]:
        path = join(path, _short(step) if isinstance(step, str) else step)
    if error["type"] == "extra_forbidden":
        return Problem(path, _unknown(model, error["loc"]))
    template = _TEMPLATES.get(error["type"])
    if template is None:
        return Problem(path, error["msg"])
    return Problem(path, template.format(input=_shown(error["input"]), **error.get("ctx", {})))


def _unknown(model: type[Model], location: tuple[str | int, ...]) -> str:
    parent: type[Model] | None = model
    for step in location[:-1]:
        parent = fields(parent).get(step) if parent and isinstance(step, str) else parent
    close = difflib.get_close_matches(_short(str(location[-1])), list(fields(parent)) if parent else [], n=1)
    return f"unknown field, did you mean {close[0]}?" if close else "unknown field"


def _shown(value: Any) -> str:  # noqa: ANN401 - whatever the user wrote
    """Return a short form of a wrong value: it goes into status and on screens."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return _short(json.dumps(value, ensure_ascii=False, default=str))


def _short(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
