"""The resilience blocks in effect, in the words of the status.

Called by :mod:`aigateway.core.effective`; it gets the policy with what the cluster can do, and only puts it into words.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aigateway.api.resolved import (
    AccessLog,
    Balancing,
    CircuitBreaker,
    ConnectionPool,
    ErrorFormat,
    LoadBalancing,
    Milliseconds,
    RateLimit,
    ResolvedPolicy,
    Retries,
    Timeouts,
)
from aigateway.api.types import format_duration
from aigateway.core.routes import is_split, retry_on, safe_conditions

Entry = dict[str, Any]


def describe_resilience(policy: ResolvedPolicy, gateway_proxies: int | None) -> Entry:
    """Return what is in effect, field by field; what is not in effect is absent."""
    entry: Entry = {
        **_timeouts(policy.timeouts),
        **(_retries(policy.retries) if policy.retries.attempts else {}),
        "circuitBreaker": _breaker(policy.circuit_breaker) if policy.circuit_breaker else None,
        "connectionPool": _pool(policy.connection_pool) if policy.connection_pool else None,
        "loadBalancing": _balancing(policy.load_balancing) if policy.load_balancing else None,
        "rateLimits": [_limit(limit, gateway_proxies) for limit in policy.rate_limits],
        "errorFormat": str(policy.error_format) if policy.error_format is ErrorFormat.JSON else None,
        "accessLog": str(policy.access_log) if policy.access_log is not AccessLog.NONE else None,
    }
    return {name: value for name, value in entry.items() if value}


def _timeouts(timeouts: Timeouts) -> Entry:
    return {
        "requestTimeout": _duration(timeouts.request),
        "perTryTimeout": _duration(timeouts.per_try),
        "idleTimeout": _duration(timeouts.idle),
        "deadlineHeader": timeouts.deadline_header,
    }


def _retries(retries: Retries) -> Entry:
    return {
        "retryOn": retry_on(retries.conditions, retries.status_codes),
        **(_by_idempotency(retries) if is_split(retries) else {}),
        **({"idempotent": "every request"} if retries.treat_as_idempotent else {}),
        "backoff": _backoff(retries),
        "retryAfter": f"up to {format_duration(retries.retry_after)}" if retries.retry_after else None,
        "retryBudget": _budget(retries),
        "bufferLimit": _size(retries.buffer_limit) if retries.buffer_limit else None,
        "hedging": "at perTryTimeout, the attempt before goes on" if retries.hedge else None,
    }


def _by_idempotency(retries: Retries) -> Entry:
    key = f", or any with {retries.idempotency_header}" if retries.idempotency_header else ""
    return {
        "idempotent": ", ".join(retries.idempotent_methods) + key,
        "retryOnOthers": retry_on(safe_conditions(retries), ()),
    }


def _backoff(retries: Retries) -> str | None:
    if retries.backoff is None:
        return None
    first, cap = retries.backoff.initial, retries.backoff.maximum or 10 * retries.backoff.initial
    return f"between 0 and {format_duration(first)} before the first retry, never over {format_duration(cap)}"


def _budget(retries: Retries) -> str | None:
    if retries.budget is None:
        return None
    return (
        f"{retries.budget.percent} % of the requests under way, at least {retries.budget.min_concurrency}, "
        "for each proxy and backend"
    )


def _breaker(breaker: CircuitBreaker) -> str:
    longest = f", {format_duration(breaker.max_sleep_window)} at most," if breaker.max_sleep_window else ""
    triggers = ", or ".join(_triggers(breaker))
    return (
        f"out for {format_duration(breaker.sleep_window)} times its ejections{longest} after {triggers}; "
        f"at most {breaker.max_ejection_percent} % of the replicas at once"
    )


def _triggers(breaker: CircuitBreaker) -> Iterator[str]:
    yield f"{breaker.consecutive_errors} answers of 5xx in a row"
    if breaker.consecutive_gateway_errors is not None:
        yield f"{breaker.consecutive_gateway_errors} of 502, 503 or 504"
    yield f"{breaker.consecutive_connect_failures} failed connections"
    if breaker.failure_percent is not None:
        interval = format_duration(breaker.interval)
        yield f"{breaker.failure_percent} % of at least {breaker.min_requests} requests in {interval}"


def _pool(pool: ConnectionPool) -> str | None:
    parts = {
        "connections": pool.max_open,
        "waiting": pool.max_pending,
        "requests": pool.max_requests,
        "connect within": _duration(pool.connect_timeout),
        "replaced after": _duration(pool.max_lifetime),
        "probed after": _duration(pool.keep_alive),
    }
    told = ", ".join(f"{name} {value}" for name, value in parts.items() if value is not None)
    return f"for each proxy and backend: {told}" if told else None


def _balancing(balancing: LoadBalancing) -> str:
    hashed = balancing.hash_header or balancing.hash_query_parameter
    parts = [f"by hash of {hashed}" if hashed else str(balancing.policy or Balancing.LEAST_REQUEST)]
    if balancing.warmup is not None:
        parts.append(f"warm-up {format_duration(balancing.warmup)}")
    parts += [f"{to} stands in for {source}" for source, to in balancing.locality_failover]
    return ", ".join(parts)


def _limit(limit: RateLimit, proxies: int | None) -> str:
    """Return a limit in words; each proxy counts for itself at each port, so their number makes the total of one."""
    key = f" for each {limit.key_header}" if limit.key_header else ""
    each = f"{limit.requests} in {format_duration(limit.interval)}, up to {limit.burst} at once"
    counted = "1 proxy" if proxies == 1 else f"{proxies} proxies"
    total = f"; {limit.requests * proxies} in all at a port with {counted}" if proxies else ""
    return f"{limit.name}: {each}{key}, at each port of each gateway proxy{total}"


def _duration(milliseconds: Milliseconds | None) -> str | None:
    return None if milliseconds is None else format_duration(milliseconds)


def _size(size: int) -> str:
    return f"{size >> 20}Mi" if size % (1 << 20) == 0 else f"{size >> 10}Ki"
