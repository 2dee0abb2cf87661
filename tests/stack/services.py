"""Kubernetes objects that every part of the stack needs: namespaces, and Services for programs on the host address."""

from __future__ import annotations

from tests.stack.cluster import Manifest


def namespace_manifest(name: str) -> Manifest:
    """Return a Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def service_on_host(name: str, namespace: str, address: str, ports: dict[str, tuple[int, int]]) -> list[Manifest]:
    """Return a Service without selector and its endpoints; ``ports`` maps a name to (port, target port)."""
    metadata = {"name": name, "namespace": namespace}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [{"name": key, "port": port, "targetPort": to} for key, (port, to) in ports.items()]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata | {"labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": key, "port": to, "protocol": "TCP"} for key, (_, to) in ports.items()],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        },
    ]
