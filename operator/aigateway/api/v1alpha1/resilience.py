"""What happens when an attempt fails or takes too long, and how much may reach a backend at once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from aigateway.api.model import ListType, Model
from aigateway.api.resolved import DEFAULT_ATTEMPTS, Balancing, NonIdempotent, RetryCondition
from aigateway.api.types import (
    BufferLimit,
    Duration,
    FillInterval,
    HeaderName,
    Limit,
    LimitName,
    Percent,
    QueryParameter,
    Region,
    StatusCode,
    WholeSeconds,
)
from aigateway.api.v1alpha1.routing import Method


class Timeouts(Model):
    """Bounds on the time a request may take. There are none by default, since they would cut token streams."""

    request: Duration | None = None
    """Bound on all attempts together and on the whole answer; it cuts streams that last longer."""
    per_try: Duration | None = None
    """Bound on each attempt up to the first byte of its answer; at most timeouts.request."""
    idle: Duration | None = None
    """Longest silence in both directions before a request is given up (default: the gateway's, mostly 5m)."""
    deadline_header: HeaderName | None = None
    """Request header with the time until which the client waits, in Unix milliseconds, such as x-request-deadline. It
    and grpc-timeout shorten the remaining time; a late request gets 504 before it reaches a model. Gateways only."""


class Backoff(Model):
    """How long to wait before a retry: a random time between 0 and a bound that doubles with each retry."""

    strategy: Literal["Exponential"] | None = None
    """The bound doubles with each retry. Envoy has no other strategy."""
    jitter: Literal["Full"] | None = None
    """The wait is drawn between 0 and the bound. Envoy has no other jitter."""
    initial: Duration
    """Bound on the wait before the first retry (without backoff: 25ms); the n-th is (2^n - 1) times as long."""
    max: Duration | None = None
    """Bound that is never exceeded (default: ten times initial)."""


class RetryAfter(Model):
    """What is made of the Retry-After header of answers that are retried."""

    max: WholeSeconds
    """Longest Retry-After that is waited for; after a longer one the backoff holds."""


class Idempotency(Model):
    """Which requests may be executed twice without harm, so that every retry condition applies to them."""

    methods: Annotated[tuple[Method, ...], Field(min_length=1, max_length=7), ListType("set")] | None = None
    """Methods that may be repeated (default GET, HEAD and OPTIONS)."""
    header: HeaderName | None = None
    """Request header with a key by which the backend recognises repetitions, such as Idempotency-Key. To set it is the
    promise that the backend does so: requests with the header are retried whatever their method."""


class Budget(Model):
    """How many retries may be under way or waiting at once, for each proxy and backend."""

    percent: Percent
    """Share of the requests under way that may be retries, in percent."""
    min_concurrency: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Retries that are always allowed at once (default 3)."""


class Adaptive(Model):
    """Fewer retries while backends are slow or failing, by what Prometheus shows of those that get traffic."""

    latency_above: Duration | None = None
    """P99 of the duration of requests, retries included, over which each look takes one retry away, down to one."""
    failure_percent: Percent | None = None
    """Share of failed attempts, in percent, from which on nothing is retried."""


class Retries(Model):
    """When a failed attempt is tried again. Without this block: 2 retries, only where nothing was processed."""

    attempts: Annotated[int, Field(ge=0, le=10)] = DEFAULT_ATTEMPTS
    """Retries after the first try (default 2); 0 switches retries off."""
    conditions: (
        Annotated[
            tuple[Annotated[RetryCondition, Field(strict=False)], ...],
            Field(min_length=1, max_length=8),
            ListType("set"),
        ]
        | None
    ) = None
    """What may have happened to the attempt (default ConnectFailure, RefusedStream and ResetBeforeRequest, after which
    the backend cannot have processed it). Reset and GatewayError apply to idempotent requests only."""
    status_codes: Annotated[tuple[StatusCode, ...], Field(min_length=1, max_length=16), ListType("set")] | None = None
    """Answers that are tried again, for idempotent requests only: 408, 409, 425, 429, 500, 502, 503 or 504."""
    backoff: Backoff | None = None
    """How long to wait before a retry."""
    retry_after: RetryAfter | None = None
    """Limit on Retry-After (default 30s where statusCodes has 429 or 503)."""
    idempotency: Idempotency | None = None
    """Which requests are idempotent."""
    non_idempotent: Annotated[NonIdempotent, Field(strict=False)] | None = None
    """NotProcessedOnly (default): other requests are retried only where they cannot have been processed.
    TreatAsIdempotent: they are retried like all others, which suits pure inference."""
    budget: Budget | None = None
    """Limit on retries under way (default: none)."""
    buffer_limit: BufferLimit | None = None
    """Size up to which request bodies are kept for retries, such as 16Mi (default: the gateway's, mostly 1Mi).
    Requests with larger bodies are not retried."""
    hedge_on_per_try_timeout: bool = False
    """Start the next attempt at timeouts.perTry without giving up the one before; the first answer wins. Each such
    request may be executed several times at once."""
    adaptive: Adaptive | None = None
    """Take retries away while backends are slow or failing, and give them back one a minute (default: never)."""


class CircuitBreaker(Model):
    """When a replica is taken out of its backend for a while, by each proxy for itself."""

    consecutive_errors: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Answers with 5xx in a row that eject a replica (default 5)."""
    consecutive_gateway_errors: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Answers with 502, 503 or 504 in a row that eject a replica (default: as consecutiveErrors)."""
    consecutive_connect_failures: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Failed connections, resets and timeouts in a row that eject a replica (default 3)."""
    failure_percent: Percent | None = None
    """Share of failed answers within an interval that ejects a replica."""
    min_requests: Limit | None = None
    """Requests to a replica within an interval from which on failurePercent is judged (default 20)."""
    interval: Duration | None = None
    """How often replicas are judged and taken back (default 10s)."""
    sleep_window: Duration | None = None
    """Time for which a replica is out, times the number of its ejections (default 30s)."""
    max_sleep_window: Duration | None = None
    """Longest time for which a replica is out, however often it was ejected (default: Envoy's 5m, or sleepWindow)."""
    max_ejection_percent: Percent | None = None
    """Most of a backend's replicas that may be out at once (default 50)."""


class ConnectionPool(Model):
    """Limits of each proxy towards each backend; what is left out has Envoy's default."""

    max_open: Limit | None = None
    """Most connections that are open at once; over HTTP/1.1 also the most requests under way."""
    max_idle: Limit | None = None
    """Most connections that are kept without a request. Envoy has no such limit: status.skipped says so."""
    max_pending: Limit | None = None
    """Most requests that wait for a connection; one more is refused."""
    max_requests: Limit | None = None
    """Most requests under way at once; one more is refused."""
    max_lifetime: Duration | None = None
    """Age at which a connection is replaced."""
    connect_timeout: Duration | None = None
    """Time that opening a connection may take."""
    keep_alive: WholeSeconds | None = None
    """Silence after which a connection is probed, by TCP keepalive and by HTTP/2 pings, so that one that has died
    without a word is found."""


class ConsistentHash(Model):
    """What the same replica is chosen by: set one of the two."""

    header: HeaderName | None = None
    """Request header, such as x-session."""
    query_parameter: QueryParameter | None = None
    """Query parameter of the URL."""


class LocalityFailover(Model):
    """Where requests of one region go while its replicas are out."""

    source: Annotated[Region, Field(alias="from")]
    """Region of the proxy."""
    to: Region
    """Region whose replicas take over."""


class LoadBalancing(Model):
    """Which replica of a backend gets a request."""

    policy: Annotated[Balancing, Field(strict=False)] | None = None
    """LeastRequest (default), RoundRobin or Random."""
    consistent_hash: ConsistentHash | None = None
    """Keep requests with the same value on the same replica, for its KV cache."""
    warmup: WholeSeconds | None = None
    """Time over which a new replica comes to its full share. Not with consistentHash or Random."""
    locality_failover: (
        Annotated[tuple[LocalityFailover, ...], Field(min_length=1, max_length=16), ListType("atomic")] | None
    ) = None
    """Regions that stand in for each other; needs circuitBreaker, by which lost replicas are found."""


class RateLimit(Model):
    """A token bucket in each gateway proxy. Requests over it get 429 with Retry-After and are not retried."""

    name: LimitName
    """Name of the limit, unique in the policy."""
    requests: Limit
    """Requests that are let through in each interval."""
    interval: FillInterval | None = None
    """Time after which as many are let through again (default 1s, at most 1m: whatever changes the routes of a gateway
    fills its buckets)."""
    burst: Limit | None = None
    """Most requests at once after a pause (default: as requests)."""
    key_header: HeaderName | None = None
    """Request header each value of which has a bucket of its own, such as x-api-key; requests without it are not
    limited by this entry, and who makes up keys gets round it: set a limit without a key as well. A value of over 256
    bytes is refused. Left out: one bucket for all requests."""
