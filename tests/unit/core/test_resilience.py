"""What is in effect, in the words of the status."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway.api.resolved import (
    AccessLog,
    Backoff,
    Balancing,
    Budget,
    CircuitBreaker,
    ConnectionPool,
    ErrorFormat,
    LoadBalancing,
    RateLimit,
    Timeouts,
)
from aigateway.core.resilience import describe_resilience
from tests.resolved import policy, retries

LIMIT = RateLimit("client", 10, 1_000, 20, "x-api-key")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, {"retryOn": "connect-failure,refused-stream,reset-before-request"}, id="defaults"),
        pytest.param({"retries": retries(attempts=0)}, {}, id="nothing"),
        pytest.param(
            {"timeouts": Timeouts(60_000, 1_500, 300_000, "x-request-deadline"), "retries": retries(attempts=0)},
            {
                "requestTimeout": "1m",
                "perTryTimeout": "1s500ms",
                "idleTimeout": "5m",
                "deadlineHeader": "x-request-deadline",
            },
            id="timeouts",
        ),
        pytest.param(
            {"retries": retries(status_codes=(503,), idempotency_header="idempotency-key", retry_after=30_000)},
            {
                "retryOn": "connect-failure,refused-stream,reset-before-request,503",
                "retryOnOthers": "connect-failure,refused-stream,reset-before-request",
                "idempotent": "GET, HEAD, OPTIONS, or any with idempotency-key",
                "retryAfter": "up to 30s",
            },
            id="idempotency",
        ),
        pytest.param(
            {"retries": retries(backoff=Backoff(200, None), budget=Budget(20, 3), buffer_limit=16 << 20)},
            {
                "retryOn": "connect-failure,refused-stream,reset-before-request",
                "backoff": "between 0 and 200ms before the first retry, never over 2s",
                "retryBudget": "20 % of the requests under way, at least 3, for each proxy and backend",
                "bufferLimit": "16Mi",
            },
            id="how-often-and-when",
        ),
        pytest.param(
            {
                "retries": retries(attempts=0),
                "circuit_breaker": CircuitBreaker(5, 3, 2, 50, 20, 10_000, 30_000, 50, 60_000),
                "connection_pool": ConnectionPool(50, 10, None, 1_000, max_idle=10),
                "load_balancing": LoadBalancing(Balancing.ROUND_ROBIN, warmup=120_000, locality_failover=(("a", "b"),)),
            },
            {
                "circuitBreaker": "out for 30s times its ejections, 1m at most, after 5 answers of 5xx in a row, "
                "or 3 of 502, 503 or 504, or 2 failed "
                "connections, or 50 % of at least 20 requests in 10s; at most 50 % of the replicas at once",
                "connectionPool": "for each proxy and backend: connections 50, waiting 10, connect within 1s",
                "loadBalancing": "RoundRobin, warm-up 2m, b stands in for a",
            },
            id="towards-the-backends",
        ),
        pytest.param(
            {
                "retries": retries(attempts=0),
                "load_balancing": LoadBalancing(hash_header="x-session"),
                "error_format": ErrorFormat.JSON,
                "access_log": AccessLog.ATTEMPTS,
            },
            {"loadBalancing": "by hash of x-session", "errorFormat": "JSON", "accessLog": "Attempts"},
            id="gateways",
        ),
        pytest.param(
            {"retries": retries(attempts=0), "connection_pool": ConnectionPool(None, None, None, None, max_idle=10)},
            {},
            id="a-pool-of-what-envoy-has-not",
        ),
    ],
)
def test_what_is_in_effect(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each block in its words, and what is not in effect not at all."""
    assert expected == describe_resilience(policy(**fields), None)


@pytest.mark.parametrize(
    ("proxies", "expected"),
    [
        pytest.param(None, "", id="unknown"),
        pytest.param(0, "", id="none"),
        pytest.param(1, "; 10 in all at a port with 1 proxy", id="one"),
        pytest.param(3, "; 30 in all at a port with 3 proxies", id="three"),
    ],
)
def test_a_limit_tells_the_total(proxies: int | None, expected: str) -> None:
    """Each proxy counts for itself, so that their number makes the total."""
    of = policy(retries=retries(attempts=0), rate_limits=(LIMIT,))

    told = describe_resilience(of, proxies)["rateLimits"]

    assert [
        f"client: 10 in 1s, up to 20 at once for each x-api-key, at each port of each gateway proxy{expected}"
    ] == told
