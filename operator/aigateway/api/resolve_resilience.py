"""From the resilience blocks as a user wrote them to what the core decides on: their defaults, in one place.

Called by :mod:`aigateway.api.resolve`; it must not know the rest of a policy.
"""

from __future__ import annotations

from aigateway.api.resolved import (
    Adaptive,
    Backoff,
    Budget,
    CircuitBreaker,
    ConnectionPool,
    LoadBalancing,
    Milliseconds,
    NonIdempotent,
    RateLimit,
    Retries,
    RetryCondition,
    Timeouts,
)
from aigateway.api.types import parse_duration, parse_size
from aigateway.api.v1alpha1 import resilience

IDEMPOTENT_METHODS = ("GET", "HEAD", "OPTIONS")
"""Methods that may be repeated without asking anybody.  PUT and DELETE are so on paper only."""

DEFAULT_CONDITIONS = (
    RetryCondition.CONNECT_FAILURE,
    RetryCondition.REFUSED_STREAM,
    RetryCondition.RESET_BEFORE_REQUEST,
)
DEFAULT_MIN_RETRY_CONCURRENCY = 3
"""Istio's and Envoy's own, written out because some versions of Istio take an absent one for 0."""

DEFAULT_RETRY_AFTER: Milliseconds = parse_duration("30s")
ANSWERS_WITH_RETRY_AFTER = frozenset({429, 503})
"""Answers that tell when to come back (RFC 9110, 10.2.3 and RFC 6585, 4)."""

DEFAULT_CONSECUTIVE_ERRORS = 5
DEFAULT_CONSECUTIVE_CONNECT_FAILURES = 3
DEFAULT_MIN_REQUESTS = 20
DEFAULT_BREAKER_INTERVAL: Milliseconds = parse_duration("10s")
DEFAULT_SLEEP_WINDOW: Milliseconds = parse_duration("30s")
DEFAULT_MAX_EJECTION_PERCENT = 50
"""Istio's 10 % ejects nothing, or at most one, of the two to five replicas that a model mostly has."""

DEFAULT_INTERVAL: Milliseconds = parse_duration("1s")


def timeouts(block: resilience.Timeouts | None) -> Timeouts:
    """Return the bounds that are set."""
    if block is None:
        return Timeouts(None, None)
    return Timeouts(
        request=_milliseconds(block.request),
        per_try=_milliseconds(block.per_try),
        idle=_milliseconds(block.idle),
        deadline_header=_lower(block.deadline_header),
    )


def retries(block: resilience.Retries | None) -> Retries:
    """Return the retries, by default only where nothing can have been processed."""
    block = block or resilience.Retries()
    codes = block.status_codes or ()
    idempotency = block.idempotency or resilience.Idempotency()
    return Retries(
        attempts=block.attempts,
        conditions=block.conditions or DEFAULT_CONDITIONS,
        status_codes=codes,
        idempotent_methods=idempotency.methods or IDEMPOTENT_METHODS,
        idempotency_header=_lower(idempotency.header),
        treat_as_idempotent=block.non_idempotent is NonIdempotent.TREAT_AS_IDEMPOTENT,
        backoff=_backoff(block.backoff),
        retry_after=_retry_after(block.retry_after, codes),
        budget=_budget(block.budget),
        buffer_limit=None if block.buffer_limit is None else parse_size(block.buffer_limit),
        hedge=block.hedge_on_per_try_timeout,
        adaptive=_adaptive(block.adaptive),
    )


def _backoff(block: resilience.Backoff | None) -> Backoff | None:
    return None if block is None else Backoff(parse_duration(block.initial), _milliseconds(block.max))


def _retry_after(block: resilience.RetryAfter | None, codes: tuple[int, ...]) -> Milliseconds | None:
    if block is not None:
        return parse_duration(block.max)
    return DEFAULT_RETRY_AFTER if ANSWERS_WITH_RETRY_AFTER.intersection(codes) else None


def _budget(block: resilience.Budget | None) -> Budget | None:
    return None if block is None else Budget(block.percent, block.min_concurrency or DEFAULT_MIN_RETRY_CONCURRENCY)


def _adaptive(block: resilience.Adaptive | None) -> Adaptive | None:
    return None if block is None else Adaptive(_milliseconds(block.latency_above), block.failure_percent)


def circuit_breaker(block: resilience.CircuitBreaker | None) -> CircuitBreaker | None:
    """Return when replicas are ejected; None: never."""
    if block is None:
        return None
    return CircuitBreaker(
        consecutive_errors=block.consecutive_errors or DEFAULT_CONSECUTIVE_ERRORS,
        consecutive_gateway_errors=block.consecutive_gateway_errors,
        consecutive_connect_failures=block.consecutive_connect_failures or DEFAULT_CONSECUTIVE_CONNECT_FAILURES,
        failure_percent=block.failure_percent,
        min_requests=block.min_requests or DEFAULT_MIN_REQUESTS,
        interval=_milliseconds(block.interval) or DEFAULT_BREAKER_INTERVAL,
        sleep_window=_milliseconds(block.sleep_window) or DEFAULT_SLEEP_WINDOW,
        max_ejection_percent=block.max_ejection_percent or DEFAULT_MAX_EJECTION_PERCENT,
        max_sleep_window=_milliseconds(block.max_sleep_window),
    )


def connection_pool(block: resilience.ConnectionPool | None) -> ConnectionPool | None:
    """Return the limits that are set; None: there are none."""
    if block is None:
        return None
    return ConnectionPool(
        max_open=block.max_open,
        max_pending=block.max_pending,
        max_lifetime=_milliseconds(block.max_lifetime),
        connect_timeout=_milliseconds(block.connect_timeout),
        max_idle=block.max_idle,
        max_requests=block.max_requests,
        keep_alive=_milliseconds(block.keep_alive),
    )


def load_balancing(block: resilience.LoadBalancing | None) -> LoadBalancing | None:
    """Return how replicas are chosen; None: as the mesh does."""
    if block is None:
        return None
    hashed = block.consistent_hash or resilience.ConsistentHash()
    return LoadBalancing(
        policy=block.policy,
        hash_header=_lower(hashed.header),
        hash_query_parameter=hashed.query_parameter,
        warmup=_milliseconds(block.warmup),
        locality_failover=tuple((pair.source, pair.to) for pair in block.locality_failover or ()),
    )


def rate_limit(block: resilience.RateLimit) -> RateLimit:
    """Return one limit with its defaults: a burst as large as what an interval lets through."""
    return RateLimit(
        name=block.name,
        requests=block.requests,
        interval=_milliseconds(block.interval) or DEFAULT_INTERVAL,
        burst=block.burst or block.requests,
        key_header=_lower(block.key_header),
    )


def _milliseconds(duration: str | None) -> Milliseconds | None:
    return None if duration is None else parse_duration(duration)


def _lower(header: str | None) -> str | None:
    """Return a header's name as Istio and Envoy compare it."""
    return None if header is None else header.lower()
