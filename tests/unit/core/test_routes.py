"""Names of routes, and which requests are retried on what."""

from __future__ import annotations

import pytest

from aigateway.api.resolved import Match, Retries, RetryCondition, Route
from aigateway.core.routes import is_split, retries_at_all, retry_on, route_names, stat_prefix
from tests.resolved import SAFE_CONDITIONS, policy, retries

RESET = (RetryCondition.RESET,)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        pytest.param(retries(), False, id="what-is-safe-for-all"),
        pytest.param(retries(status_codes=(503,)), True, id="status-codes"),
        pytest.param(retries(conditions=RESET), True, id="conditions-after-processing"),
        pytest.param(retries(hedge=True), True, id="several-executions-at-once"),
        pytest.param(retries(status_codes=(503,), treat_as_idempotent=True), False, id="everything-is-idempotent"),
        pytest.param(retries(attempts=0, status_codes=(503,)), False, id="no-retries"),
    ],
)
def test_is_split(of: Retries, expected: bool) -> None:
    """Two routes are written exactly where idempotent requests fare differently."""
    assert expected is is_split(of)


@pytest.mark.parametrize(
    ("of", "idempotent", "others"),
    [
        pytest.param(retries(), True, True, id="safe-conditions"),
        pytest.param(retries(conditions=RESET), True, False, id="unsafe-conditions"),
        pytest.param(retries(attempts=0), False, False, id="none"),
    ],
)
def test_retries_at_all(of: Retries, idempotent: bool, others: bool) -> None:
    """Other requests are retried where a safe condition is left."""
    assert (idempotent, others) == tuple(retries_at_all(of, idempotent=which) for which in (True, False))


def test_route_names_are_those_of_the_virtual_service() -> None:
    """The split and every named route, each in its halves."""
    of = policy(retries=retries(status_codes=(503,)), routes=(Route("beta", (Match((), "POST", None),), "v2"),))

    assert {
        ("models/chat", False),
        ("models/chat#idempotent", True),
        ("models/chat/beta", False),
        ("models/chat/beta#idempotent", True),
    } == set(route_names(of))
    assert {("models/chat", True)} == set(route_names(policy(retries=retries(treat_as_idempotent=True))))


def test_both_halves_count_as_one_route() -> None:
    """Statistics are of the route that a user wrote."""
    assert "models_chat_beta" == stat_prefix("models/chat/beta") == stat_prefix("models/chat/beta#idempotent")


def test_retry_on_has_no_spaces() -> None:
    """Istio's webhook refuses them."""
    assert "connect-failure,refused-stream,reset-before-request,503" == retry_on(SAFE_CONDITIONS, (503,))
