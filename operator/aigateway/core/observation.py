"""What the world looks like around one policy, as plain frozen values.

:mod:`aigateway.engine` fills it from the caches (``aigateway render`` from files) and hands it to
:func:`aigateway.core.reconcile.reconcile`.  What is missing is absent or None, never zero: a Service that is not in
``services`` does not exist.  Every Service that exists has an entry in ``endpoints``, with 0 ready where it has no
EndpointSlice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aigateway.api.resolved import WorkloadRef

Json = Mapping[str, Any]
"""A JSON object as the API server gave it.  Never changed in place."""


class ChildKind(StrEnum):
    """Kinds of the objects that a policy generates."""

    VIRTUAL_SERVICE = "VirtualService"
    DESTINATION_RULE = "DestinationRule"
    SCALED_OBJECT = "ScaledObject"
    ENVOY_FILTER = "EnvoyFilter"


API_VERSIONS: Mapping[ChildKind, str] = {
    ChildKind.VIRTUAL_SERVICE: "networking.istio.io/v1",
    ChildKind.DESTINATION_RULE: "networking.istio.io/v1",
    ChildKind.SCALED_OBJECT: "keda.sh/v1alpha1",
    ChildKind.ENVOY_FILTER: "networking.istio.io/v1alpha3",
}
"""The version that each kind is written in: Istio serves v1 since 1.22, but not of the EnvoyFilter."""


class Feature(StrEnum):
    """What some supported versions lack; the values are for logs."""

    RESET_BEFORE_REQUEST = "the retry condition reset-before-request (Istio 1.23)"
    WARMUP = "warm-up as a block (Istio 1.24)"
    RETRY_BACKOFF = "a backoff of retries (Istio 1.26)"
    RETRY_BUDGET = "a budget of retries (Istio 1.27)"
    HTTP2_KEEP_ALIVE = "pings over HTTP/2 (Istio 1.31)"
    BODY_BUFFER = "a limit of kept request bodies (Envoy 1.36, Istio 1.28)"
    VIRTUAL_HOST_DOMAIN = "EnvoyFilters for one domain (Istio 1.25)"
    FALLBACK_BEHAVIOR = "a fallback that keeps the current replicas (KEDA 2.17)"
    GATEWAY_FILTER = "a gateway filter, new enough, in every namespace where EnvoyFilters are allowed"


@dataclass(frozen=True, slots=True, order=True)
class ChildRef:
    """A generated object.  ``namespace`` is empty where it is the policy's own."""

    kind: ChildKind
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        """Return the form used in messages: ``EnvoyFilter istio-system/models.chat``."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service; ``name`` is empty where the Service names none."""

    number: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A Service of the policy's namespace; ``external``: it only stands for a name elsewhere (ExternalName)."""

    ports: tuple[ServicePort, ...]
    external: bool = False


@dataclass(frozen=True, slots=True)
class EndpointsState:
    """``ready``: how many endpoint addresses of a Service are ready; ``since``: when that last went from or to zero.

    ``since`` is in seconds since the epoch; after a start of the operator it is the time of the first look.
    """

    ready: int
    since: float


@dataclass(frozen=True, slots=True)
class WorkloadState:
    """A Deployment or StatefulSet: wanted and ready replicas, and which of its containers request no CPU."""

    replicas: int
    ready: int
    without_cpu_request: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChildState:
    """An object under the name of a generated one, as last read or written.

    ``owner`` is the uid of its controlling owner, or of the policy that its labels name where it is in another
    namespace (None: nobody's); ``body`` the whole object without managedFields.
    """

    uid: str
    resource_version: str
    owner: str | None
    body: Json


class Metric(StrEnum):
    """What can be asked of a backend; the values are the words of status and events."""

    FAILURE_PERCENT = "FailurePercent"
    LATENCY_P99 = "LatencyP99"
    REQUEST_RATE = "RequestRate"


class Counted(StrEnum):
    """What a share is a share of; the values are the words of status and events."""

    ATTEMPTS = "attempts"
    REQUESTS = "requests"


@dataclass(frozen=True, slots=True)
class Sample:
    """What Prometheus said of a backend; ``at``: when it evaluated that, in seconds since the epoch.

    ``value`` is in percent, in milliseconds, or in requests per second, as the metric goes.  A percentage is one of
    ``counted``: of requests, where the mesh does not export what it takes to count attempts.
    """

    value: float
    at: float
    counted: Counted = Counted.ATTEMPTS


class Lack(StrEnum):
    """Why there is no sample."""

    NOT_CONFIGURED = "NotConfigured"
    NOT_ASKED_YET = "NotAskedYet"
    UNREACHABLE = "Unreachable"
    TIMED_OUT = "TimedOut"
    REFUSED = "Refused"
    NOT_JSON = "NotJSON"
    TOO_LARGE = "TooLarge"
    EMPTY = "Empty"
    NOT_A_NUMBER = "NotANumber"
    STALE = "Stale"
    DUPLICATE = "Duplicate"
    WARNED = "Warned"


@dataclass(frozen=True, slots=True)
class NoData:
    """There is no number, which is never a 0."""

    reason: Lack


@dataclass(frozen=True, slots=True)
class Contest:
    """Something older holds what the policy claims: ``what``, held by ``holder``, both as people read them.

    ``settled``: the holder's routes are there, so that ours can go without a gap.
    """

    what: str
    holder: str
    settled: bool


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that a decision may look at, besides the policy and the time.

    ``status`` is the policy's status as last written: the only memory there is.  ``installed`` are the kinds whose
    CRDs the cluster has, ``lacking`` what those CRDs cannot do.  ``foreign_rules`` are the DestinationRules of others
    that proxies would apply to a Service of the policy: the name of the rule by Service.  ``repairs`` are the times at
    which a child was put back after someone had changed it, in seconds since the epoch.  ``gateway_proxies`` is how
    many proxies the gateways have, None where that is not known.  ``samples`` are by Service and metric; one that is
    absent was not asked for.  ``clean_since`` is since when nothing speaks against more retries,
    in seconds since the epoch, None after a start of the operator.
    """

    services: Mapping[str, ServiceState] = field(default_factory=dict)
    endpoints: Mapping[str, EndpointsState] = field(default_factory=dict)
    workloads: Mapping[WorkloadRef, WorkloadState] = field(default_factory=dict)
    children: Mapping[ChildRef, ChildState] = field(default_factory=dict)
    installed: frozenset[ChildKind] = frozenset(ChildKind)
    status: Json = field(default_factory=dict)
    contest: Contest | None = None
    foreign_rules: Mapping[str, str] = field(default_factory=dict)
    lacking: frozenset[Feature] = frozenset()
    repairs: Mapping[ChildRef, Sequence[float]] = field(default_factory=dict)
    gateway_proxies: int | None = None
    samples: Mapping[tuple[str, Metric], Sample | NoData] = field(default_factory=dict)
    clean_since: float | None = None

    @property
    def left_behind(self) -> Sequence[Json]:
        """The EnvoyFilters that the policy had when they could last be looked at, where they no longer can be."""
        if ChildKind.ENVOY_FILTER in self.installed:
            return ()
        return [child for child in self.status.get("children") or () if child["kind"] == ChildKind.ENVOY_FILTER]
