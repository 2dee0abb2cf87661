"""Kubernetes objects as an API server shows them, for tests that begin where objects are read.

The world of :func:`observed` is a policy of two versions with everything that it names, v2 without a ready endpoint.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

NAMESPACE = "models"
UID = "11111111-1111-1111-1111-111111111111"
CREATED = "2026-01-01T00:00:00Z"


def policy(name: str = "chat", **spec: Any) -> Object:
    """Return a policy of v1 (80) and v2 (20) as in a file; keywords set fields of its spec."""
    backends = [
        {"name": "v1", "service": {"name": "chat-v1"}, "weight": 80},
        {"name": "v2", "service": {"name": "chat-v2"}, "weight": 20},
    ]
    return {
        "apiVersion": "aigateway.dev/v1alpha1",
        "kind": "AIGatewayPolicy",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"hosts": ["ai.example.com"], "gateways": ["istio-system/ai"], "backends": backends} | spec,
    }


def stored(raw: Object, status: Object | None = None, **metadata: Any) -> Object:
    """Return an object as it is in the cluster."""
    whole = {"uid": UID, "resourceVersion": "7", "generation": 3, "creationTimestamp": CREATED}
    found = {**raw, "metadata": {**raw["metadata"], **whole, **metadata}}
    return {**found, "status": status} if status is not None else found


def service(name: str, *ports: int) -> Object:
    """Return a Service."""
    spec = {"ports": [{"port": port} for port in ports or (80,)]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def endpoints(name: str, ready: int) -> Object:
    """Return the EndpointSlice of a Service with so many ready addresses."""
    metadata = {"name": f"{name}-x", "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": name}}
    addresses = [{"addresses": [f"10.0.0.{number}"], "conditions": {"ready": True}} for number in range(ready)]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "endpoints": addresses,
    }


def workload(name: str, replicas: int = 2, kind: str = "Deployment") -> Object:
    """Return a workload, all of it ready, whose container requests CPU."""
    container = {"name": "model", "resources": {"requests": {"cpu": "1"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [container]}}},
        "status": {"readyReplicas": replicas},
    }


def virtual_service(name: str, **changes: Any) -> Object:
    """Return a VirtualService that somebody wrote by hand, for a host of its own."""
    route = {"route": [{"destination": {"host": "theirs"}}]}
    metadata = {"name": name, "namespace": NAMESPACE, "uid": "2", "resourceVersion": "5", "creationTimestamp": CREATED}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": metadata,
        "spec": {"hosts": ["theirs.example.com"], "http": [route]} | changes,
    }


def destination_rule(name: str, host: str) -> Object:
    """Return a DestinationRule that somebody wrote by hand with kubectl."""
    metadata = {"name": name, "namespace": NAMESPACE, "uid": "3", "resourceVersion": "6", "creationTimestamp": CREATED}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": metadata | {"managedFields": [{"manager": "kubectl"}]},
        "spec": {"host": host},
    }


def observed() -> list[Object]:
    """Return everything that :func:`policy` names: v1 has two ready endpoints, v2 has none."""
    return [
        service("chat-v1"),
        service("chat-v2"),
        endpoints("chat-v1", 2),
        endpoints("chat-v2", 0),
        workload("chat-v1"),
        workload("chat-v2", 1),
    ]
