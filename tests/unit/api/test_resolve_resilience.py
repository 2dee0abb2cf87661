"""Every resilience field arrives in milliseconds, bytes and lower case, and what is left out has its default."""

from __future__ import annotations

import pytest

from aigateway.api.administrator import Administrator
from aigateway.api.resolve import load
from aigateway.api.resolved import (
    AccessLog,
    Adaptive,
    Backoff,
    Balancing,
    Budget,
    CircuitBreaker,
    ConnectionPool,
    ErrorFormat,
    LoadBalancing,
    RateLimit,
    ResolvedPolicy,
    Retries,
    RetryCondition,
    Timeouts,
)
from tests.policies import GONE, Raw, change, valid

BREAKER = CircuitBreaker(5, None, 3, None, 20, 10_000, 30_000, 50)
READS = ("GET", "HEAD", "OPTIONS")


def resolved(changes: Raw) -> ResolvedPolicy:
    """Return the valid policy with changes."""
    found = load(change(valid(), changes), Administrator())
    assert isinstance(found, ResolvedPolicy), found
    return found


FULL_RETRIES = Retries(
    attempts=3,
    conditions=(RetryCondition.CONNECT_FAILURE, RetryCondition.RESET),
    status_codes=(429, 503),
    idempotent_methods=("GET", "PUT"),
    idempotency_header="idempotency-key",
    treat_as_idempotent=False,
    backoff=Backoff(200, 1_000),
    retry_after=20_000,
    budget=Budget(25, 5),
    buffer_limit=16 << 20,
    hedge=True,
    adaptive=Adaptive(500, 50),
)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        pytest.param("timeouts", Timeouts(60_000, 10_000, 300_000, "x-request-deadline"), id="timeouts"),
        pytest.param("retries", FULL_RETRIES, id="retries"),
        pytest.param("circuit_breaker", CircuitBreaker(6, 4, 2, 40, 30, 5_000, 20_000, 60, 60_000), id="breaker"),
        pytest.param("connection_pool", ConnectionPool(50, 10, 3_600_000, 1_000, 10, 100, 30_000), id="pool"),
        pytest.param(
            "load_balancing",
            LoadBalancing(Balancing.ROUND_ROBIN, None, None, 120_000, (("eu-west", "eu-north"),)),
            id="balancing",
        ),
        pytest.param("error_format", ErrorFormat.JSON, id="errors"),
        pytest.param("access_log", AccessLog.ATTEMPTS, id="log"),
    ],
)
def test_what_is_written_arrives(field: str, expected: object) -> None:
    """Each block of a full policy has its values."""
    assert expected == getattr(resolved({}), field)


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        pytest.param({"spec.circuitBreaker": {}}, "circuit_breaker", BREAKER, id="breaker"),
        pytest.param(
            {"spec.pathPrefix": "/", "spec.rateLimits": [{"name": "all", "requests": 7}]},
            "rate_limits",
            (RateLimit("all", 7, 1_000, 7, None),),
            id="limit",
        ),
        pytest.param(
            {"spec.pathPrefix": "/", "spec.rateLimits": [{"name": "a", "requests": 7, "keyHeader": "X-Key"}]},
            "rate_limits",
            (RateLimit("a", 7, 1_000, 7, "x-key"),),
            id="limit of each key",
        ),
        pytest.param(
            {"spec.loadBalancing": {"consistentHash": {"header": "X-Session"}}},
            "load_balancing",
            LoadBalancing(hash_header="x-session"),
            id="hash",
        ),
        pytest.param({"spec.accessLog": GONE}, "access_log", AccessLog.NONE, id="log"),
        pytest.param({"spec.errorFormat": GONE}, "error_format", None, id="errors: what can be"),
    ],
)
def test_defaults(changes: Raw, field: str, expected: object) -> None:
    """What a block leaves out is filled in."""
    found = getattr(resolved(changes), field)

    assert expected == found


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param({"statusCodes": [503]}, {"retry_after": 30_000}, id="Retry-After of what may carry it"),
        pytest.param({"statusCodes": [500]}, {"retry_after": None}, id="no Retry-After of others"),
        pytest.param({}, {"idempotent_methods": READS, "idempotency_header": None}, id="reads are idempotent"),
        pytest.param(
            {"idempotency": {"header": "K"}}, {"idempotent_methods": READS, "idempotency_header": "k"}, id="key"
        ),
        pytest.param({"nonIdempotent": "TreatAsIdempotent"}, {"treat_as_idempotent": True}, id="pure inference"),
        pytest.param({"budget": {"percent": 20}}, {"budget": Budget(20, 3)}, id="budget"),
        pytest.param({"backoff": {"initial": "1s"}}, {"backoff": Backoff(1_000, None)}, id="backoff"),
        pytest.param({"adaptive": {"failurePercent": 20}}, {"adaptive": Adaptive(None, 20)}, id="adaptive"),
        pytest.param({"bufferLimit": "512Ki"}, {"buffer_limit": 512 << 10}, id="size"),
    ],
)
def test_retries(block: Raw, expected: Raw) -> None:
    """A block of retries that names little."""
    found = resolved({"spec.retries": block, "spec.timeouts": GONE}).retries

    assert expected == {name: getattr(found, name) for name in expected}
