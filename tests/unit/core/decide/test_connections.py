"""Which backends get a DestinationRule."""

from __future__ import annotations

import pytest

from aigateway.api.reasons import DESTINATION_RULE_CONFLICT
from aigateway.api.resolved import ConnectionPool
from aigateway.core.decide.connections import decide_connections
from tests.resolved import observed, policy

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
