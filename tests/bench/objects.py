"""The objects of the benchmarks: policies of two versions, each with Services, endpoints and Deployments of its own.

Names have a fixed width, so that one policy's objects turn into another's by replacing the name.
"""

from __future__ import annotations

from tests.stack.addresses import HOST
from tests.stack.cluster import Manifest
from tests.stack.models import deployment

NAMESPACES = tuple(f"bench-{letter}" for letter in "abcde")
FLOOR_NAMESPACES = tuple(f"bench-floor-{letter}" for letter in "abcde")
"""For policies that the bare client alone looks after, beside an operator that looks after the others."""
GATEWAY = "istio-system/ai-gateway"


def spot(number: int) -> tuple[str, str]:
    """Return namespace and name of a policy."""
    return NAMESPACES[number % len(NAMESPACES)], f"policy-{number:05}"


def floor_spot(number: int) -> tuple[str, str]:
    """Return namespace and name of a policy of the bare client's own."""
    return FLOOR_NAMESPACES[number % len(FLOOR_NAMESPACES)], f"floor-{number:05}"


def policy(namespace: str, name: str, weight: int = 80) -> Manifest:
    """Return a policy; ``weight`` is the share of its first version."""
    return {
        "apiVersion": "aigateway.dev/v1alpha1",
        "kind": "AIGatewayPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"hosts": [f"{name}.example.com"], "backends": backends(name, weight)},
    }


def backends(name: str, weight: int) -> list[Manifest]:
    """Return the two versions of a policy."""
    return [
        {"name": "v1", "service": {"name": f"{name}-v1"}, "weight": weight},
        {"name": "v2", "service": {"name": f"{name}-v2"}, "weight": 100 - weight},
    ]


def versions(number: int) -> list[Manifest]:
    """Return what a policy refers to: two Services with a ready endpoint each, and their Deployments without pods."""
    namespace, name = spot(number)
    return [
        manifest
        for version in (f"{name}-v1", f"{name}-v2")
        for manifest in (
            _service(namespace, version),
            endpoint_slice(namespace, version),
            deployment(namespace, version, 0),
        )
    ]


def _service(namespace: str, name: str) -> Manifest:
    # Without a selector, so that its endpoints are the ones given here.
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}


def endpoint_slice(namespace: str, name: str, service: str = "", addresses: tuple[str, ...] = (HOST,)) -> Manifest:
    """Return an EndpointSlice with ready addresses."""
    labels = {"kubernetes.io/service-name": service or name}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }
