"""The reference pages name every field, every rule and every reason."""

from __future__ import annotations

import pytest

from aigateway.api import reasons
from aigateway.api.reasons import Reason
from aigateway.api.reference import fields_page, reasons_page
from aigateway.api.rules import RULES

REASONS = [value for value in vars(reasons).values() if isinstance(value, Reason)]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param("| `spec.suspend` | boolean |  | Keep what was generated and stop touching it. |", id="plain"),
        pytest.param("| `spec.backends[].weight` | integer | 0 to 100 |", id="an item's number"),
        pytest.param("| `spec.backends` | list of object | required; 1 to 8 items, unique by name |", id="a map"),
        pytest.param("| `spec.routes` | list of object | 0 to 32 items, in order |", id="an ordered list"),
        pytest.param("| `spec.retries.statusCodes` | list of integer | 1 to 16 items, no item twice; each", id="a set"),
        pytest.param("| `spec.routes[].matches[].method` | string | one of GET, HEAD,", id="an enumeration"),
        pytest.param("| `status.observedGeneration` | integer | ≥ 0 |", id="a number without an upper bound"),
        pytest.param("| `spec.timeouts.request` | string | at most 28 characters; must be a duration", id="a format"),
    ],
)
def test_a_field_has_its_row(row: str) -> None:
    """Path, type, what is allowed, and meaning."""
    assert f"\n{row}" in fields_page()


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(rule.message, id=f"{model.__name__}: {rule.message[:40]}")
        for model in RULES
        for rule in RULES[model]
    ],
)
def test_a_rule_is_listed(message: str) -> None:
    """Every rule between fields stands on the page, in the words of the error."""
    assert f"{message}\n" in fields_page()


@pytest.mark.parametrize("reason", [pytest.param(reason, id=reason.name) for reason in REASONS])
def test_a_reason_is_listed(reason: Reason) -> None:
    """Every reason has a row with what it means and what to do."""
    assert f"| `{reason.name}` | {reason.meaning} | {reason.remedy} |\n" in reasons_page()
