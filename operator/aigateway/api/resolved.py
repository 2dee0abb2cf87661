"""The policy with every default filled in: what :mod:`aigateway.core` decides on.

:mod:`aigateway.api.resolve` makes these values from the user's model.  They are frozen, hold plain Python values
(milliseconds, integers, tuples) and know nothing of Kubernetes, Istio or KEDA wire formats, so that a later version of
the API changes only :mod:`aigateway.api`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Milliseconds = int


@dataclass(frozen=True, slots=True, order=True)
class PolicyKey:
    """Namespace and name of a policy: the key of queues, caches and logs."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Return the form that kubectl and logs use."""
        return f"{self.namespace}/{self.name}"


class RetryCondition(StrEnum):
    """What may have happened to an attempt so that it is tried again; the values are the words of the policy API."""

    CONNECT_FAILURE = "ConnectFailure"
    REFUSED_STREAM = "RefusedStream"
    RESET_BEFORE_REQUEST = "ResetBeforeRequest"
    RESET = "Reset"
    GATEWAY_ERROR = "GatewayError"


PROVABLY_NOT_PROCESSED = frozenset(
    {RetryCondition.CONNECT_FAILURE, RetryCondition.REFUSED_STREAM, RetryCondition.RESET_BEFORE_REQUEST}
)
"""Conditions under which the backend cannot have seen the whole request: safe to retry for every method."""


class WorkloadKind(StrEnum):
    """Kinds that a ScaledObject of ours may scale."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"


@dataclass(frozen=True, slots=True, order=True)
class WorkloadRef:
    """A workload in the policy's own namespace."""

    kind: WorkloadKind
    name: str


@dataclass(frozen=True, slots=True)
class RequestRateRule:
    """Scale so that each replica serves ``target_per_replica`` requests per second."""

    target_per_replica: int


@dataclass(frozen=True, slots=True)
class LatencyRule:
    """Scale out while the percentile of request duration is above the threshold."""

    percentile: int
    threshold: Milliseconds


@dataclass(frozen=True, slots=True)
class QueueLengthRule:
    """Scale out while more than ``total`` requests wait for a connection to the backend, over all its replicas."""

    total: int


@dataclass(frozen=True, slots=True)
class CPURule:
    """Scale so that pods use this percentage of the CPU that they request."""

    utilization_percent: int


Rule = RequestRateRule | LatencyRule | QueueLengthRule | CPURule


@dataclass(frozen=True, slots=True)
class ScaleUp:
    """At most ``max_add_replicas`` more replicas in each ``period``."""

    max_add_replicas: int
    period: Milliseconds


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """How one backend scales.  ``scale_up`` None: the default limit (double, or two more, in a minute)."""

    min_replicas: int
    max_replicas: int
    rules: tuple[Rule, ...]
    scale_up: ScaleUp | None
    scale_down_stabilization: Milliseconds


@dataclass(frozen=True, slots=True)
class Backend:
    """One model version: a Service of its own, its share of the split, and how it scales.

    ``port`` None stands for the Service's only port.  ``weight`` is a share in percent; all weights of a policy sum
    to 100.
    """

    name: str
    service: str
    port: int | None
    workload: WorkloadRef
    weight: int
    autoscaling: Autoscaling | None


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """A request header with an exact value or a prefix; exactly one of the two is set."""

    name: str
    exact: str | None
    prefix: str | None


@dataclass(frozen=True, slots=True)
class Match:
    """All of these must hold.  ``path_prefix`` means whole path segments: ``/v1`` matches ``/v1/x``, never ``/v10``."""

    headers: tuple[HeaderMatch, ...]
    method: str | None
    path_prefix: str | None


@dataclass(frozen=True, slots=True)
class Route:
    """A named route before the split; any of its matches sends the request to ``backend`` (None: to the split)."""

    name: str
    matches: tuple[Match, ...]
    backend: str | None


class NonIdempotent(StrEnum):
    """What is retried of requests that are not known to be idempotent."""

    NOT_PROCESSED_ONLY = "NotProcessedOnly"
    TREAT_AS_IDEMPOTENT = "TreatAsIdempotent"


class Balancing(StrEnum):
    """Which replica gets a request."""

    LEAST_REQUEST = "LeastRequest"
    ROUND_ROBIN = "RoundRobin"
    RANDOM = "Random"


class ErrorFormat(StrEnum):
    """The body of responses that the gateway itself makes."""

    JSON = "JSON"
    TEXT = "Text"


class AccessLog(StrEnum):
    """What the gateway logs: nothing, a line for each request, or one for each of its attempts as well."""

    NONE = "None"
    REQUESTS = "Requests"
    ATTEMPTS = "Attempts"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """``request`` bounds all attempts and the whole answer, ``per_try`` an attempt up to its first byte; or None.

    ``idle`` bounds the silence in both directions.  ``deadline_header``, in lower case, names the request header with
    the time until which the client waits.
    """

    request: Milliseconds | None
    per_try: Milliseconds | None
    idle: Milliseconds | None = None
    deadline_header: str | None = None


DEFAULT_ATTEMPTS = 2
"""Retries after the first try, as Istio's own default."""
ENVOY_BACKOFF: Milliseconds = 25
"""Envoy's bound on the wait before a first retry where none is set."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Bounds on the random wait before a retry; ``maximum`` None: ten times ``initial``, Envoy's own cap."""

    initial: Milliseconds
    maximum: Milliseconds | None


@dataclass(frozen=True, slots=True)
class Budget:
    """Most retries at once: a percentage of the requests under way, or ``min_concurrency`` if that is more."""

    percent: int
    min_concurrency: int


@dataclass(frozen=True, slots=True)
class Adaptive:
    """What of a backend takes retries away, at least one of the two: its P99 above, its percentage of failures."""

    latency_above: Milliseconds | None
    failure_percent: int | None


@dataclass(frozen=True, slots=True)
class Retries:
    """``attempts`` are retries after the first try, as in Istio; 0 switches retries off.

    Idempotent requests get every condition and status code: those with ``idempotent_methods``, or with the header
    ``idempotency_header`` (lower case), or all of them where ``treat_as_idempotent``.  Other requests get only the
    conditions in :data:`PROVABLY_NOT_PROCESSED`.  ``retry_after`` is the longest Retry-After that is waited for (None:
    it is not looked at); ``buffer_limit`` is in bytes.  ``adaptive`` None: as many whatever the backends do.
    """

    attempts: int
    conditions: tuple[RetryCondition, ...]
    status_codes: tuple[int, ...]
    idempotent_methods: tuple[str, ...]
    idempotency_header: str | None = None
    treat_as_idempotent: bool = False
    backoff: Backoff | None = None
    retry_after: Milliseconds | None = None
    budget: Budget | None = None
    buffer_limit: int | None = None
    hedge: bool = False
    adaptive: Adaptive | None = None


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """When a proxy takes a replica out of a backend, and for how long.

    ``consecutive_gateway_errors`` None: they count among ``consecutive_errors`` alone.  ``failure_percent`` None: no
    share of failures is judged.  ``max_sleep_window`` None: Envoy's own cap, five minutes or ``sleep_window``.
    """

    consecutive_errors: int
    consecutive_gateway_errors: int | None
    consecutive_connect_failures: int
    failure_percent: int | None
    min_requests: int
    interval: Milliseconds
    sleep_window: Milliseconds
    max_ejection_percent: int
    max_sleep_window: Milliseconds | None = None


@dataclass(frozen=True, slots=True)
class ConnectionPool:
    """Limits of each proxy towards one backend; None: Envoy's own default.

    ``pings``: silent HTTP/2 connections are pinged as well, where ``keep_alive`` is set.
    """

    max_open: int | None
    max_pending: int | None
    max_lifetime: Milliseconds | None
    connect_timeout: Milliseconds | None
    max_idle: int | None = None
    max_requests: int | None = None
    keep_alive: Milliseconds | None = None
    pings: bool = True


@dataclass(frozen=True, slots=True)
class LoadBalancing:
    """Which replica gets a request; at most one of ``hash_header`` and ``hash_query_parameter`` is set.

    ``locality_failover`` are pairs of regions: of the proxy, and the one that stands in.
    """

    policy: Balancing | None = None
    hash_header: str | None = None
    hash_query_parameter: str | None = None
    warmup: Milliseconds | None = None
    locality_failover: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket in each gateway proxy; with ``key_header`` (lower case) one for each of the header's values."""

    name: str
    requests: int
    interval: Milliseconds
    burst: int
    key_header: str | None


@dataclass(frozen=True, slots=True)
class MeshService:
    """The in-mesh name whose traffic is split; ``port`` None stands for all its ports."""

    name: str
    port: int | None


@dataclass(frozen=True, slots=True)
class ResolvedPolicy:
    """One policy, complete.  ``gateways`` are ``namespace/name``; ``created`` is the object's RFC 3339 timestamp.

    ``error_format`` None: JSON where that can be.
    """

    key: PolicyKey
    uid: str
    generation: int
    created: str
    suspend: bool
    hosts: tuple[str, ...]
    path_prefix: str
    gateways: tuple[str, ...]
    service: MeshService | None
    backends: tuple[Backend, ...]
    routes: tuple[Route, ...]
    timeouts: Timeouts
    retries: Retries
    connection_pool: ConnectionPool | None
    circuit_breaker: CircuitBreaker | None = None
    load_balancing: LoadBalancing | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    error_format: ErrorFormat | None = None
    access_log: AccessLog = AccessLog.NONE

    @property
    def configures_connections(self) -> bool:
        """Whether the policy asks for anything that Istio keeps in a DestinationRule."""
        blocks = (self.connection_pool, self.circuit_breaker, self.load_balancing, self.retries.budget)
        return any(block is not None for block in blocks)
