"""Rules on timeouts, retries, circuit breakers, connection pools, load balancing and rate limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aigateway.api.model import Model, cel_literal
from aigateway.api.resolve_resilience import (
    ANSWERS_WITH_RETRY_AFTER,
    DEFAULT_CONSECUTIVE_ERRORS,
    DEFAULT_SLEEP_WINDOW,
)
from aigateway.api.resolved import Balancing, NonIdempotent
from aigateway.api.rules.rule import Rule, unless
from aigateway.api.types import DURATION, parse_duration
from aigateway.api.v1alpha1.resilience import (
    Adaptive,
    Backoff,
    CircuitBreaker,
    ConnectionPool,
    ConsistentHash,
    LoadBalancing,
    LocalityFailover,
    RateLimit,
    Retries,
    Timeouts,
)

_DURATION = cel_literal(DURATION)
_SLEEP_WINDOW = "(has(self.sleepWindow) ? self.sleepWindow : '30s')"


def _in_order(low: str, high: str) -> str:
    """Return CEL for ``low <= high`` of two durations that may be absent.

    What is no duration has its own error; comparing it would only add one that nobody can read.
    """
    return (
        f"!has(self.{low}) || !has(self.{high}) || !self.{low}.matches({_DURATION}) || "
        f"!self.{high}.matches({_DURATION}) || duration(self.{low}) <= duration(self.{high})"
    )


def _keeps_order(low: str | None, high: str | None) -> bool:
    return low is None or high is None or parse_duration(low) <= parse_duration(high)


_ONLY_WITH_RETRIES = ("conditions", "statusCodes", "backoff", "retryAfter", "budget", "bufferLimit", "adaptive")


def _without_retries(retries: Retries) -> Iterator[str]:
    """Yield the place where settings of retries stand beside ``attempts: 0``."""
    settings = (
        retries.conditions,
        retries.status_codes,
        retries.backoff,
        retries.retry_after,
        retries.budget,
        retries.buffer_limit,
        retries.adaptive,
        retries.hedge_on_per_try_timeout,
    )
    if retries.attempts == 0 and any(settings):
        yield "attempts"


def _hedges_blindly(retries: Retries) -> bool:
    promised = retries.idempotency is not None or retries.non_idempotent is NonIdempotent.TREAT_AS_IDEMPOTENT
    return retries.hedge_on_per_try_timeout and not promised


def _says_idempotent_twice(retries: Retries) -> bool:
    return retries.idempotency is not None and retries.non_idempotent is NonIdempotent.TREAT_AS_IDEMPOTENT


def _waits_for_nothing(retries: Retries) -> bool:
    return retries.retry_after is not None and not ANSWERS_WITH_RETRY_AFTER.intersection(retries.status_codes or ())


def _ejects_in_time(breaker: CircuitBreaker) -> bool:
    gateway_errors = breaker.consecutive_gateway_errors
    return gateway_errors is None or gateway_errors < (breaker.consecutive_errors or DEFAULT_CONSECUTIVE_ERRORS)


def _sleeps_in_order(breaker: CircuitBreaker) -> bool:
    return breaker.max_sleep_window is None or (
        parse_duration(breaker.max_sleep_window)
        >= (parse_duration(breaker.sleep_window) if breaker.sleep_window else DEFAULT_SLEEP_WINDOW)
    )


_RETRIES: tuple[Rule[Retries], ...] = (
    Rule(
        "!has(self.attempts) || self.attempts > 0 || ("
        + " && ".join(f"!has(self.{field})" for field in _ONLY_WITH_RETRIES)
        + " && (!has(self.hedgeOnPerTryTimeout) || !self.hedgeOnPerTryTimeout))",
        f"{', '.join(_ONLY_WITH_RETRIES)} and hedgeOnPerTryTimeout have no effect with attempts 0: "
        "remove them or raise attempts",
        _without_retries,
        "attempts",
    ),
    Rule(
        "!has(self.hedgeOnPerTryTimeout) || !self.hedgeOnPerTryTimeout || has(self.idempotency) || "
        "(has(self.nonIdempotent) && self.nonIdempotent == 'TreatAsIdempotent')",
        "hedgeOnPerTryTimeout executes a request several times at once: set idempotency to say which requests bear "
        "that (or nonIdempotent TreatAsIdempotent), or remove it",
        unless(lambda retries: not _hedges_blindly(retries), "hedgeOnPerTryTimeout"),
        "hedgeOnPerTryTimeout",
    ),
    Rule(
        "!has(self.idempotency) || !has(self.nonIdempotent) || self.nonIdempotent != 'TreatAsIdempotent'",
        "idempotency has no effect with nonIdempotent TreatAsIdempotent, which takes every request for idempotent: "
        "remove one of the two",
        unless(lambda retries: not _says_idempotent_twice(retries), "idempotency"),
        "idempotency",
    ),
    Rule(
        "!has(self.retryAfter) || (has(self.statusCodes) && self.statusCodes.exists(c, c in "
        f"{sorted(ANSWERS_WITH_RETRY_AFTER)}))",
        "retryAfter needs 429 or 503 in statusCodes, the answers that carry Retry-After: add one, or remove retryAfter",
        unless(lambda retries: not _waits_for_nothing(retries), "retryAfter"),
        "retryAfter",
    ),
)

_BALANCING: tuple[Rule[LoadBalancing], ...] = (
    Rule(
        "has(self.policy) || has(self.consistentHash) || has(self.warmup) || has(self.localityFailover)",
        "loadBalancing needs policy, consistentHash, warmup or localityFailover: set one or remove loadBalancing",
        unless(lambda balancing: balancing != LoadBalancing()),
    ),
    Rule(
        "!has(self.consistentHash) || !has(self.policy)",
        "policy has no effect with consistentHash: remove one of the two",
        unless(lambda balancing: balancing.consistent_hash is None or balancing.policy is None, "policy"),
        "policy",
    ),
    Rule(
        "!has(self.warmup) || (!has(self.consistentHash) && (!has(self.policy) || self.policy != 'Random'))",
        "warmup works with policy LeastRequest or RoundRobin only: remove warmup, or change the policy",
        unless(
            lambda balancing: (
                balancing.warmup is None
                or (balancing.consistent_hash is None and balancing.policy is not Balancing.RANDOM)
            ),
            "warmup",
        ),
        "warmup",
    ),
)

RESILIENCE: Mapping[type[Model], tuple[Rule[Any], ...]] = {
    Timeouts: (
        Rule[Timeouts](
            _in_order("perTry", "request"),
            "perTry must not be longer than request: lower perTry or raise request",
            unless(lambda timeouts: _keeps_order(timeouts.per_try, timeouts.request), "perTry"),
            "perTry",
        ),
    ),
    Retries: _RETRIES,
    Adaptive: (
        Rule[Adaptive](
            "has(self.latencyAbove) || has(self.failurePercent)",
            "adaptive needs latencyAbove, failurePercent or both: set one or remove adaptive",
            unless(lambda adaptive: adaptive != Adaptive()),
        ),
    ),
    Backoff: (
        Rule[Backoff](
            _in_order("initial", "max"),
            "max must not be shorter than initial: raise max or lower initial",
            unless(lambda backoff: _keeps_order(backoff.initial, backoff.max), "max"),
            "max",
        ),
    ),
    CircuitBreaker: (
        Rule[CircuitBreaker](
            # The default sleepWindow is 30s.
            f"!has(self.maxSleepWindow) || !self.maxSleepWindow.matches({_DURATION}) || "
            f"!{_SLEEP_WINDOW}.matches({_DURATION}) || duration({_SLEEP_WINDOW}) <= duration(self.maxSleepWindow)",
            "maxSleepWindow must not be shorter than sleepWindow (default 30s): raise it or lower sleepWindow",
            unless(_sleeps_in_order, "maxSleepWindow"),
            "maxSleepWindow",
        ),
        Rule[CircuitBreaker](
            "!has(self.minRequests) || has(self.failurePercent)",
            "minRequests has no effect without failurePercent: set failurePercent or remove minRequests",
            unless(lambda breaker: breaker.min_requests is None or breaker.failure_percent is not None, "minRequests"),
            "minRequests",
        ),
        Rule[CircuitBreaker](
            "!has(self.consecutiveGatewayErrors) || self.consecutiveGatewayErrors < "
            f"(has(self.consecutiveErrors) ? self.consecutiveErrors : {DEFAULT_CONSECUTIVE_ERRORS})",
            f"consecutiveGatewayErrors must be below consecutiveErrors (default {DEFAULT_CONSECUTIVE_ERRORS}), which "
            "counts the same answers too: lower it, or remove it",
            unless(_ejects_in_time, "consecutiveGatewayErrors"),
            "consecutiveGatewayErrors",
        ),
    ),
    ConnectionPool: (
        Rule[ConnectionPool](
            "has(self.maxOpen) || has(self.maxIdle) || has(self.maxPending) || has(self.maxRequests) || "
            "has(self.maxLifetime) || has(self.connectTimeout) || has(self.keepAlive)",
            "connectionPool needs at least one of its fields: set one or remove connectionPool",
            unless(lambda pool: pool != ConnectionPool()),
        ),
    ),
    ConsistentHash: (
        Rule[ConsistentHash](
            "has(self.header) != has(self.queryParameter)",
            "header or queryParameter is required, and not both: set one of the two",
            unless(lambda hashed: (hashed.header is None) != (hashed.query_parameter is None)),
        ),
    ),
    LocalityFailover: (
        Rule[LocalityFailover](
            "self.from != self.to",
            "to must be another region than from: correct one of the two",
            unless(lambda pair: pair.source != pair.to, "to"),
            "to",
        ),
    ),
    LoadBalancing: _BALANCING,
    RateLimit: (
        Rule[RateLimit](
            "!has(self.burst) || self.burst >= self.requests",
            "burst must be at least requests, which are let through in one interval: raise burst or remove it",
            unless(lambda limit: limit.burst is None or limit.burst >= limit.requests, "burst"),
            "burst",
        ),
    ),
}
