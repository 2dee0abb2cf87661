"""What fields owe each other: every cross-field rule of the API, once for the API server and once for the models.

The CRD carries the CEL and the message of each rule; :func:`broken` finds the same in a parsed policy, with the exact
place, so that a file, the API server and the Accepted condition say the same.  Tests hold the two sides together on
generated policies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aigateway.api.model import Model
from aigateway.api.problems import Problem, join
from aigateway.api.rules.policy import POLICY
from aigateway.api.rules.resilience import RESILIENCE
from aigateway.api.rules.routing import ROUTING
from aigateway.api.rules.rule import Rule
from aigateway.api.rules.scaling import SCALING

__all__ = ["RULES", "Rule", "broken"]

RULES: Mapping[type[Model], tuple[Rule[Any], ...]] = {**ROUTING, **RESILIENCE, **SCALING, **POLICY}
"""Every cross-field rule, by the model that it is about."""


def broken(model: Model, path: str = "") -> Iterator[Problem]:
    """Yield a problem for each place in ``model`` and below that breaks a rule; ``path`` is where the model stands."""
    for rule in RULES.get(type(model), ()):
        yield from (Problem(join(path, place) if place else path, rule.message) for place in rule.broken_at(model))
    for name, info in type(model).model_fields.items():
        here = join(path, info.alias or name)
        value = getattr(model, name)
        if isinstance(value, Model):
            yield from broken(value, here)
        elif isinstance(value, tuple):
            yield from _broken_items(value, here)


def _broken_items(items: tuple[object, ...], path: str) -> Iterator[Problem]:
    for index, item in enumerate(items):
        if isinstance(item, Model):
            yield from broken(item, join(path, index))
