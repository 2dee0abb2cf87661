"""A region stands in for another whose replicas are lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.resilience.conftest import Apply, Deploy, on
from tests.stack import models
from tests.stack.backend import Backend
from tests.stack.cluster import Cluster, Manifest
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually

HERE, THERE = "test-west", "test-east"


@pytest.fixture
def nodes(cluster: Cluster) -> Iterator[None]:
    """Have a node in each of two regions, for pods that tolerate it alone."""
    for region in (HERE, THERE):
        labels = {"kubernetes.io/hostname": region, "topology.kubernetes.io/region": region}
        metadata = {"name": region, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}}
        taints = [{"key": "region", "value": region, "effect": "NoSchedule"}]
        capacity = {"cpu": "64", "memory": "64Gi", "pods": "100"}
        spec = {"taints": taints}
        cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec})
        cluster.patch("Node", region, None, {"status": {"allocatable": capacity, "capacity": capacity}}, status=True)
    yield
    for region in (HERE, THERE):
        cluster.delete("Node", region)


def replicas_in(region: str, namespace: str, service: str, count: int) -> Manifest:
    """Return a Deployment of replicas of a Service in one region."""
    manifest = models.deployment(namespace, f"{service}-{region}", count)
    labels = {"app": service, "region": region}
    spec = manifest["spec"]
    spec["selector"]["matchLabels"] = spec["template"]["metadata"]["labels"] = labels
    spec["template"]["spec"] |= {
        "nodeSelector": {"topology.kubernetes.io/region": region},
        "tolerations": [{"key": "region", "operator": "Exists"}],
    }
    return manifest


def test_another_region_takes_over_and_gives_back(
    stack: Stack,
    cluster: Cluster,
    apply: Apply,
    backend: Backend,
    model: Deploy,
    namespace: str,
    nodes: None,  # noqa: ARG001 (they have to be there)
) -> None:
    """Requests stay in the client's region, go to the other while it is lost, and return."""
    model("front")
    v1 = model("v1", replicas=0)
    cluster.apply(replicas_in(HERE, namespace, "v1", 2), replicas_in(THERE, namespace, "v1", 2))
    v1.wait_ready(4)
    pods = cluster.items("Pod", namespace, f"app=v1,region={HERE}")
    near = {pod["status"]["podIP"] for pod in pods}
    apply(
        service={"name": "front"},
        backends=[on(v1)],
        retries={"attempts": 3},
        circuitBreaker={
            "consecutiveConnectFailures": 1,
            "interval": "1s",
            "sleepWindow": "3s",
            "maxEjectionPercent": 100,
        },
        loadBalancing={"localityFailover": [{"from": HERE, "to": THERE}]},
    )
    name = f"front.{namespace}.svc.cluster.local"
    with stack.sidecar(namespace, HERE) as proxy:
        mesh = Traffic(proxy.url)

        def near_alone() -> bool:
            answers = mesh.send(name, 50)
            return answers.count(near) == 50

        eventually(near_alone, "requests stay in the region")
        backend.cut_off(*near)

        during = mesh.send(name, 300, rate=100)

        assert {200: 300} == during.statuses
        assert 300 == during.count(v1.addresses() - near)
        backend.reset()
        eventually(near_alone, "requests are back in the region", within=60)
