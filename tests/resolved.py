"""Short ways to write resolved policies and observations in tests of the core.

A default policy has two backends, 80/20, on one host; what a test is about is what it writes down.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from aigateway.api.administrator import Administrator, ScalingDefaults
from aigateway.api.resolve import load
from aigateway.api.resolved import (
    Autoscaling,
    Backend,
    MeshService,
    PolicyKey,
    RequestRateRule,
    ResolvedPolicy,
    Retries,
    RetryCondition,
    Rule,
    Timeouts,
    WorkloadKind,
    WorkloadRef,
)
from aigateway.core.identity import ref_of
from aigateway.core.observation import (
    ChildRef,
    ChildState,
    EndpointsState,
    Observation,
    ServicePort,
    ServiceState,
    WorkloadState,
)

NOW = 1_800_000_000.0
UID = "00000000-0000-0000-0000-000000000001"
ADMINISTRATOR = Administrator(
    default_gateway="istio-system/ai-gateway",
    scaling=ScalingDefaults(prometheus_address="http://prometheus.monitoring:9090"),
)
SAFE_CONDITIONS = (
    RetryCondition.CONNECT_FAILURE,
    RetryCondition.REFUSED_STREAM,
    RetryCondition.RESET_BEFORE_REQUEST,
)


def backend(name: str = "v1", weight: int = 100, **changes: Any) -> Backend:
    """Return a backend on the Service ``model-<name>``, scaled by nothing."""
    service = f"model-{name}"
    fields: dict[str, Any] = {
        "name": name,
        "service": service,
        "port": None,
        "workload": WorkloadRef(WorkloadKind.DEPLOYMENT, service),
        "weight": weight,
        "autoscaling": None,
    }
    return Backend(**(fields | changes))


def autoscaling(*rules: Rule, **changes: Any) -> Autoscaling:
    """Return one to five replicas by the rules, or by 50 requests/s each where none are given."""
    fields: dict[str, Any] = {
        "min_replicas": 1,
        "max_replicas": 5,
        "rules": rules or (RequestRateRule(50),),
        "scale_up": None,
        "scale_down_stabilization": 600_000,
    }
    return Autoscaling(**(fields | changes))


def retries(**changes: Any) -> Retries:
    """Return the default retries: two, on conditions that prove the request was not processed."""
    fields: dict[str, Any] = {
        "attempts": 2,
        "conditions": SAFE_CONDITIONS,
        "status_codes": (),
        "idempotent_methods": ("GET", "HEAD", "OPTIONS"),
    }
    return Retries(**(fields | changes))


def policy(**changes: Any) -> ResolvedPolicy:
    """Return the default policy with some fields changed."""
    fields: dict[str, Any] = {
        "key": PolicyKey("models", "chat"),
        "uid": UID,
        "generation": 1,
        "created": "2026-01-01T00:00:00Z",
        "suspend": False,
        "hosts": ("ai.example.com",),
        "path_prefix": "/",
        "gateways": ("istio-system/ai-gateway",),
        "service": None,
        "backends": (backend("v1", 80), backend("v2", 20)),
        "routes": (),
        "timeouts": Timeouts(None, None),
        "retries": retries(),
        "connection_pool": None,
    }
    return ResolvedPolicy(**(fields | changes))


def resolved(raw: dict[str, Any]) -> ResolvedPolicy:
    """Return a valid policy as a user wrote it in the form that the core gets, in effect rather than suspended."""
    metadata = {"namespace": "models", "uid": UID, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
    found = load({**raw, "metadata": {**metadata, **raw["metadata"]}}, ADMINISTRATOR)
    assert isinstance(found, ResolvedPolicy), found
    return dataclasses.replace(found, suspend=False)


def in_mesh(port: int | None = None) -> MeshService:
    """Return the in-mesh name ``chat``."""
    return MeshService("chat", port)


def observed(of: ResolvedPolicy, **changes: Any) -> Observation:
    """Return a world in which everything that the policy names exists, with one port 80 and two ready replicas."""
    names = [b.service for b in of.backends] + ([of.service.name] if of.service else [])
    fields: dict[str, Any] = {
        "services": {name: ServiceState((ServicePort(80, "http"),)) for name in names},
        "endpoints": {name: EndpointsState(ready=2, since=NOW - 3600) for name in names},
        "workloads": {b.workload: WorkloadState(replicas=2, ready=2) for b in of.backends},
    }
    return Observation(**(fields | changes))


def as_child(body: dict[str, Any], owner: str | None = UID) -> tuple[ChildRef, ChildState]:
    """Return a rendered object as the API server would show it to the next reconcile."""
    ref = ref_of(body)
    return ref, ChildState(uid=f"uid-of-{ref.name}", resource_version="1", owner=owner, body=body)
