"""What the sides of the comparisons are configured by: hand-written routes, and policies as we would recommend them.

Data only: manifests go in through :mod:`tests.bench.resilience.place`.
"""

from __future__ import annotations

from typing import Any

from tests.stack.cluster import Manifest

GATEWAY = "istio-system/ai-gateway"
DEADLINE_HEADER = "x-request-deadline"
KEY_HEADER = "Idempotency-Key"
BUDGET = 20
ATTEMPTS = 3
BACKOFF = 0.025
"""Seconds; Envoy's own.  A retry that waits holds its place in the budget."""
IN_LINE = 3
"""Requests that an engine may have for each that it works on: bursts wait, and little is stale after an outage."""


def route(namespace: str, name: str, host: str, service: str, **fields: Any) -> Manifest:
    """Return a VirtualService as people write it; ``fields`` go into its one route, e.g. ``retries`` or none."""
    destination = {"host": f"{service}.{namespace}.svc.cluster.local", "port": {"number": 80}}
    spec = {"hosts": [host], "gateways": [GATEWAY], "http": [{"route": [{"destination": destination}], **fields}]}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata, "spec": spec}


def attempts3(service_seconds: float) -> dict[str, Any]:
    """Return the fields of a route with three retries, each try bounded by a few times what the model takes."""
    retries = {
        "attempts": ATTEMPTS,
        "perTryTimeout": f"{int(5000 * service_seconds)}ms",
        "retryOn": "connect-failure,refused-stream,reset,503,gateway-error",
    }
    return {"retries": retries, "timeout": f"{int(20000 * service_seconds)}ms"}


def policy(namespace: str, name: str, host: str, service: str, spec: dict[str, Any]) -> Manifest:
    """Return a policy for one host and one backend."""
    return {
        "apiVersion": "aigateway.dev/v1alpha1",
        "kind": "AIGatewayPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"hosts": [host], "backends": [{"name": "v1", "service": {"name": service}}], **spec},
    }


def resilient(slots: int, request: str) -> dict[str, Any]:
    """Return what a policy says for an engine that works on ``slots`` requests at once.

    ``request`` is the longest time that a client waits.  Requests under way are bounded, those in the engine's line
    included, and not connections: each connection belongs to one replica, so after a change of replicas a bound on
    connections leaves most of them with the old ones.  A bound on each try is left out on purpose: a request that is
    given up early makes room for another, while the engine goes on with both.
    """
    under_way = IN_LINE * slots
    return {
        "timeouts": {"request": request, "deadlineHeader": DEADLINE_HEADER},
        "retries": {
            "attempts": ATTEMPTS,
            "conditions": ["ConnectFailure", "RefusedStream", "ResetBeforeRequest", "Reset"],
            "statusCodes": [503],
            "backoff": {"initial": f"{int(BACKOFF * 1000)}ms"},
            "idempotency": {"header": KEY_HEADER},
            "budget": {"percent": BUDGET},
        },
        "connectionPool": {"maxRequests": under_way, "maxPending": under_way, "connectTimeout": "1s"},
    }


def everything() -> dict[str, Any]:
    """Return a policy's spec with every block that makes a proxy do more for a request."""
    spec = resilient(slots=100, request="30s")
    return {
        **spec,
        "timeouts": {**spec["timeouts"], "perTry": "5s", "idle": "1m"},
        "retries": {**spec["retries"], "bufferLimit": "16Mi", "retryAfter": {"max": "10s"}},
        "connectionPool": {**spec["connectionPool"], "maxOpen": 100, "maxLifetime": "1h", "keepAlive": "30s"},
        "circuitBreaker": {"failurePercent": 50, "interval": "5s"},
        "rateLimits": [
            {"name": "all", "requests": 100_000},
            {"name": "each", "requests": 100_000, "keyHeader": "x-api-key"},
        ],
        "errorFormat": "JSON",
        "accessLog": "Attempts",
    }
