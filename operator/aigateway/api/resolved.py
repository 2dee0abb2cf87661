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


@dataclass(frozen=True, slots=True)
class Timeouts:
    """``request`` bounds all attempts and the whole answer, ``per_try`` an attempt up to its first byte; or None."""

    request: Milliseconds | None
    per_try: Milliseconds | None


@dataclass(frozen=True, slots=True)
class Retries:
    """``attempts`` are retries after the first try, as in Istio; 0 switches retries off.

    ``idempotent_methods`` get every condition and status code; requests with other methods only the conditions in
    :data:`PROVABLY_NOT_PROCESSED`.
    """

    attempts: int
    conditions: tuple[RetryCondition, ...]
    status_codes: tuple[int, ...]
    idempotent_methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConnectionPool:
    """Limits of each proxy towards one backend; None: Envoy's own default."""

    max_open: int | None
    max_pending: int | None
    max_lifetime: Milliseconds | None
    connect_timeout: Milliseconds | None


@dataclass(frozen=True, slots=True)
class MeshService:
    """The in-mesh name whose traffic is split; ``port`` None stands for all its ports."""

    name: str
    port: int | None


@dataclass(frozen=True, slots=True)
class ResolvedPolicy:
    """One policy, complete.  ``gateways`` are ``namespace/name``; ``created`` is the object's RFC 3339 timestamp."""

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
