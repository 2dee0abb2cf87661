"""Which backends get a DestinationRule."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway.api.reasons import DESTINATION_RULE_CONFLICT
from aigateway.api.resolved import Budget, CircuitBreaker, ConnectionPool, LoadBalancing
from aigateway.core.decide.connections import decide_connections
from tests.resolved import observed, policy, retries

POOL = ConnectionPool(10, None, None, None)


@pytest.mark.parametrize(
    ("pool", "foreign", "expected"),
    [
        pytest.param(None, {}, [], id="nothing-asked-for"),
        pytest.param(None, {"model-v1": "ops/all"}, [], id="nothing-asked-for-is-no-conflict"),
        pytest.param(POOL, {}, ["v1", "v2"], id="free"),
        pytest.param(POOL, {"model-v1": "ops/all"}, ["v2"], id="one-is-covered-by-somebody-else"),
    ],
)
def test_connections(pool: ConnectionPool | None, foreign: dict[str, str], expected: list[str]) -> None:
    """A backend that somebody else's rule covers gets none of ours, and the rule is named."""
    of = policy(connection_pool=pool)

    found = decide_connections(of, observed(of, foreign_rules=foreign))

    assert expected == [backend.name for backend in found.backends]
    conflicts = [(b.reason, "DestinationRule ops/all covers Service model-v1" in b.message) for b in found.problems]
    assert ([(DESTINATION_RULE_CONFLICT, True)] if pool and foreign else []) == conflicts


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"connection_pool": ConnectionPool(1, None, None, None)}, id="pool"),
        pytest.param({"circuit_breaker": CircuitBreaker(5, None, 3, None, 20, 1, 1, 50)}, id="breaker"),
        pytest.param({"load_balancing": LoadBalancing(hash_header="x-session")}, id="balancing"),
        pytest.param({"retries": retries(budget=Budget(20, 3))}, id="budget"),
    ],
)
def test_every_block_that_a_rule_holds_asks_for_one(fields: dict[str, Any]) -> None:
    """Without a DestinationRule the block would be without effect, and no word of it."""
    of = policy(**fields)

    assert of.backends == decide_connections(of, observed(of)).backends
    assert () == decide_connections(policy(), observed(policy())).backends
