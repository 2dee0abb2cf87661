"""The fields that not every cluster can put into effect: what asks for each, and a policy without it.

:mod:`aigateway.core.decide.support` closes the gates by what the cluster has; nothing here looks at a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aigateway.api.reasons import NOT_IN_THIS_ISTIO, Reason
from aigateway.api.resolved import AccessLog, ErrorFormat, ResolvedPolicy, RetryCondition
from aigateway.core.observation import Feature


@dataclass(frozen=True, slots=True)
class Gate:
    """One field.  ``message`` says what it needs, and what holds in its place."""

    field: str
    message: str
    asked: Callable[[ResolvedPolicy], bool]
    without: Callable[[ResolvedPolicy], ResolvedPolicy]
    reason: Reason = NOT_IN_THIS_ISTIO


def _retries(policy: ResolvedPolicy, **changes: Any) -> ResolvedPolicy:  # noqa: ANN401 (fields of the dataclass)
    return replace(policy, retries=replace(policy.retries, **changes))


def _timeouts(policy: ResolvedPolicy, **changes: Any) -> ResolvedPolicy:  # noqa: ANN401
    return replace(policy, timeouts=replace(policy.timeouts, **changes))


def _without_reset_before_request(policy: ResolvedPolicy) -> ResolvedPolicy:
    kept = tuple(c for c in policy.retries.conditions if c is not RetryCondition.RESET_BEFORE_REQUEST)
    attempts = policy.retries.attempts if kept or policy.retries.status_codes else 0
    return _retries(policy, conditions=kept, attempts=attempts)


def _asks_reset_before_request(policy: ResolvedPolicy) -> bool:
    return policy.retries.attempts > 0 and RetryCondition.RESET_BEFORE_REQUEST in policy.retries.conditions


def _with_backoff_of_envoy(policy: ResolvedPolicy) -> ResolvedPolicy:
    backoff = policy.retries.backoff
    return policy if backoff is None else _retries(policy, backoff=replace(backoff, maximum=None))


def _caps_backoff(policy: ResolvedPolicy) -> bool:
    backoff = policy.retries.backoff
    return backoff is not None and backoff.maximum not in (None, 10 * backoff.initial)


def _asks_pings(policy: ResolvedPolicy) -> bool:
    pool = policy.connection_pool
    return pool is not None and pool.keep_alive is not None and pool.pings


def _without_pings(policy: ResolvedPolicy) -> ResolvedPolicy:
    pool = policy.connection_pool
    return policy if pool is None else replace(policy, connection_pool=replace(pool, pings=False))


def _asks_warmup(policy: ResolvedPolicy) -> bool:
    return policy.load_balancing is not None and policy.load_balancing.warmup is not None


def _without_warmup(policy: ResolvedPolicy) -> ResolvedPolicy:
    balancing = policy.load_balancing
    return policy if balancing is None else replace(policy, load_balancing=replace(balancing, warmup=None))


def _asks_failure_percent(policy: ResolvedPolicy) -> bool:
    return policy.circuit_breaker is not None and policy.circuit_breaker.failure_percent is not None


def _without_failure_percent(policy: ResolvedPolicy) -> ResolvedPolicy:
    breaker = policy.circuit_breaker
    return policy if breaker is None else replace(policy, circuit_breaker=replace(breaker, failure_percent=None))


def _without_max_sleep_window(policy: ResolvedPolicy) -> ResolvedPolicy:
    breaker = policy.circuit_breaker
    return policy if breaker is None else replace(policy, circuit_breaker=replace(breaker, max_sleep_window=None))


IN_ISTIO: Mapping[Feature, Gate] = {
    Feature.RESET_BEFORE_REQUEST: Gate(
        "retries.conditions",
        "ResetBeforeRequest needs Istio 1.23 or newer; what else is retried is in status.effective",
        _asks_reset_before_request,
        _without_reset_before_request,
    ),
    Feature.WARMUP: Gate(
        "loadBalancing.warmup", "warmup needs Istio 1.24 or newer; new replicas get a full share at once",
        _asks_warmup, _without_warmup,
    ),
    Feature.RETRY_BACKOFF: Gate(
        "retries.backoff", "backoff needs Istio 1.26 or newer; Envoy's own holds, 25ms to 250ms",
        lambda policy: policy.retries.backoff is not None,
        lambda policy: _retries(policy, backoff=None),
    ),
    Feature.RETRY_BUDGET: Gate(
        "retries.budget", "a retry budget needs Istio 1.27 or newer; retries under way are not limited",
        lambda policy: policy.retries.budget is not None,
        lambda policy: _retries(policy, budget=None),
    ),
    Feature.HTTP2_KEEP_ALIVE: Gate(
        "connectionPool.keepAlive", "HTTP/2 pings need Istio 1.31 or newer; TCP keepalive is in effect",
        _asks_pings, _without_pings,
    ),
    Feature.BODY_BUFFER: Gate(
        "retries.bufferLimit", "it needs Envoy 1.36, as in Istio 1.28; bodies over the gateway's limit are not retried",
        lambda policy: policy.retries.buffer_limit is not None,
        lambda policy: _retries(policy, buffer_limit=None),
    ),
    Feature.VIRTUAL_HOST_DOMAIN: Gate(
        "rateLimits", "rate limits need EnvoyFilters for one domain, as in Istio 1.25; requests are not limited",
        lambda policy: bool(policy.rate_limits),
        lambda policy: replace(policy, rate_limits=()),
    ),
}  # fmt: skip
"""By what the cluster's definitions lack."""

IN_ENVOY_FILTER: tuple[Gate, ...] = (
    Gate(
        "retries.backoff.max", "without it the wait before a retry is capped at ten times backoff.initial",
        _caps_backoff, _with_backoff_of_envoy,
    ),
    Gate(
        "retries.retryAfter", "without it Retry-After is not looked at: retries wait as retries.backoff says",
        lambda policy: policy.retries.retry_after is not None and policy.retries.attempts > 0,
        lambda policy: _retries(policy, retry_after=None),
    ),
    Gate(
        "retries.bufferLimit", "without it requests with bodies over the gateway's limit, mostly 1Mi, are not retried",
        lambda policy: policy.retries.buffer_limit is not None,
        lambda policy: _retries(policy, buffer_limit=None),
    ),
    Gate(
        "retries.hedgeOnPerTryTimeout", "without it an attempt is given up at timeouts.perTry before the next starts",
        lambda policy: policy.retries.hedge,
        lambda policy: _retries(policy, hedge=False),
    ),
    Gate(
        "timeouts.idle", "without it the proxies' own idle timeout holds, mostly 5m",
        lambda policy: policy.timeouts.idle is not None,
        lambda policy: _timeouts(policy, idle=None),
    ),
    Gate(
        "circuitBreaker.maxSleepWindow", "without it a replica is out for up to 5m, or sleepWindow if that is longer",
        lambda policy: policy.circuit_breaker is not None and policy.circuit_breaker.max_sleep_window is not None,
        _without_max_sleep_window,
    ),
    Gate(
        "circuitBreaker.failurePercent", "without it replicas are ejected after failures in a row only",
        _asks_failure_percent, _without_failure_percent,
    ),
)  # fmt: skip
"""What a patch of the policy's own routes and clusters does."""

IN_GATEWAY_FILTER: tuple[Gate, ...] = (
    Gate(
        "timeouts.deadlineHeader", "without it deadlines of clients are not looked at",
        lambda policy: policy.timeouts.deadline_header is not None,
        lambda policy: _timeouts(policy, deadline_header=None),
    ),
    Gate(
        "rateLimits", "without it requests are not limited",
        lambda policy: bool(policy.rate_limits),
        lambda policy: replace(policy, rate_limits=()),
    ),
    Gate(
        "errorFormat", "without it errors that the gateway makes are plain text",
        lambda policy: policy.error_format is ErrorFormat.JSON,
        lambda policy: replace(policy, error_format=ErrorFormat.TEXT),
    ),
    Gate(
        "accessLog", "without it the gateway logs what the mesh's own settings say",
        lambda policy: policy.access_log is not AccessLog.NONE,
        lambda policy: replace(policy, access_log=AccessLog.NONE),
    ),
)  # fmt: skip
"""What a filter of the gateway does for the routes that ask for it; it is installed beside the operator."""
