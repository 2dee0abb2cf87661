"""Kubernetes objects that several parts of the stack need: namespaces, Services for programs here, aggregated APIs."""

from __future__ import annotations

from tests.stack.cluster import Cluster, Manifest


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


def api_service(name: str, service: str, namespace: str, ca_bundle: str) -> Manifest:
    """Return an APIService (its name is ``<version>.<group>``) that a Service answers for at port 443."""
    version, _, group = name.partition(".")
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": name},
        "spec": {
            "service": {"name": service, "namespace": namespace, "port": 443},
            "group": group,
            "version": version,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": ca_bundle,
        },
    }


def is_available(cluster: Cluster, name: str) -> bool:
    """Return whether the apiserver reaches what stands behind an APIService."""
    conditions = cluster.get("APIService", name).get("status", {}).get("conditions", [])
    return any(condition["type"] == "Available" and condition["status"] == "True" for condition in conditions)
