"""The policy object itself: its spec and its backends."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from aigateway.api.model import ListType, Model
from aigateway.api.resolved import AccessLog, ErrorFormat, WorkloadKind
from aigateway.api.types import BackendName, GatewayName, Host, PathPrefix, Weight, WorkloadName
from aigateway.api.v1alpha1.resilience import (
    CircuitBreaker,
    ConnectionPool,
    LoadBalancing,
    RateLimit,
    Retries,
    Timeouts,
)
from aigateway.api.v1alpha1.routing import Route, ServiceRef
from aigateway.api.v1alpha1.scaling import Autoscaling, BackendAutoscaling

API_VERSION = "aigateway.dev/v1alpha1"
KIND = "AIGatewayPolicy"


class ScaleTargetRef(Model):
    """A workload in the policy's namespace."""

    kind: Annotated[WorkloadKind, Field(strict=False)]
    """Deployment or StatefulSet."""
    name: WorkloadName
    """Name of the workload."""


class Backend(Model):
    """One version of the model, behind a Service of its own."""

    name: BackendName
    """Name of the backend in this policy."""
    service: ServiceRef
    """Service of this version; no two backends share one."""
    scale_target_ref: ScaleTargetRef | None = None
    """Workload to scale (default: the Deployment named like the Service)."""
    weight: Weight | None = None
    """Share of the split in percent. All weights sum to 100; a lone backend needs none."""
    autoscaling: BackendAutoscaling | None = None
    """What differs from spec.autoscaling for this backend."""


class PolicySpec(Model):
    """What is wanted: which requests, split how over which versions, retried when, scaled by what."""

    suspend: bool = False
    """Keep what was generated and stop touching it."""
    hosts: Annotated[tuple[Host, ...], Field(min_length=1, max_length=16), ListType("set")] | None = None
    """Host names whose requests come in through the gateways. This, or service, or both."""
    path_prefix: PathPrefix = "/"
    """Take only requests whose path starts so, in whole segments (default /). Only with hosts."""
    gateways: Annotated[tuple[GatewayName, ...], Field(min_length=1, max_length=4), ListType("set")] | None = None
    """Istio Gateways as namespace/name (default: the gateway that the administrator has set)."""
    service: ServiceRef | None = None
    """In-mesh name whose traffic is split; all its ports unless port is set. None of the backends' own Services."""
    backends: Annotated[tuple[Backend, ...], Field(min_length=1, max_length=8), ListType("map", "name")]
    """Versions of the model."""
    routes: Annotated[tuple[Route, ...], Field(max_length=32), ListType("atomic")] = ()
    """Routes before the split, in order; the first that matches wins."""
    timeouts: Timeouts | None = None
    """Bounds on the time a request may take."""
    retries: Retries | None = None
    """When a failed attempt is tried again."""
    connection_pool: ConnectionPool | None = None
    """Limits of each proxy towards each backend."""
    circuit_breaker: CircuitBreaker | None = None
    """When a replica is taken out for a while. An empty block switches it on with its defaults."""
    load_balancing: LoadBalancing | None = None
    """Which replica of a backend gets a request."""
    rate_limits: Annotated[tuple[RateLimit, ...], Field(min_length=1, max_length=4), ListType("map", "name")] | None = (
        None
    )
    """How many requests each gateway proxy lets through. Only with hosts."""
    error_format: Annotated[ErrorFormat, Field(strict=False)] | None = None
    """JSON or Text: the body of responses that the gateway itself makes (default JSON where the administrator allows
    EnvoyFilters). Bodies of models are never touched."""
    access_log: Annotated[AccessLog, Field(strict=False)] | None = None
    """None (default), Requests (a JSON line in the gateway's log for each request) or Attempts (and one for each
    attempt)."""
    autoscaling: Autoscaling | None = None
    """How each backend scales."""


class Metadata(Model):
    """The part of the object's metadata that means something here."""

    model_config = ConfigDict(extra="ignore")

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    creation_timestamp: str = ""


class AIGatewayPolicy(Model):
    """Routing, retries and scaling of one model service and its versions."""

    api_version: Literal["aigateway.dev/v1alpha1"]
    kind: Literal["AIGatewayPolicy"]
    metadata: Metadata
    spec: PolicySpec
    status: Any = None
