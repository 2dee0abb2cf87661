"""Older definitions of Istio and KEDA: what they lack is left out and said, and is picked up after an upgrade."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.integration.operator_process import OperatorProcess, install
from tests.stack.binaries import PARTS
from tests.stack.build import ensure, say_plainly
from tests.stack.cluster import Cluster, Manifest, load_all
from tests.stack.models import Model
from tests.stack.stack import Stack
from tests.stack.waiting import eventually

VIRTUAL_SERVICES = "virtualservices.networking.istio.io"
SCALED_OBJECTS = "scaledobjects.keda.sh"
SETTINGS = {"default-gateway": "istio-system/ai-gateway", "prometheus-address": "http://127.0.0.1:9090"}


def older_virtual_services() -> Manifest:
    """Return VirtualService's definition as Istio 1.22 had it."""
    tools = ensure(PARTS["older"], say_plainly)
    [file] = tools.asset_files("istio-api")
    return next(item for item in load_all(file.read_text()) if item["metadata"]["name"] == VIRTUAL_SERVICES)


def older_scaled_objects(now: Manifest) -> Manifest:
    """Return ScaledObject's definition without the fallback's behavior, which came with KEDA 2.17."""
    older = copy.deepcopy(now)
    schema = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["fallback"]["properties"]["behavior"]
    return older


def replace(cluster: Cluster, definition: Manifest) -> None:
    """Put a definition in the place of the one that is there."""
    metadata = definition["metadata"]
    kept = {key: metadata[key] for key in ("name", "labels", "annotations") if key in metadata}
    body = {**definition, "metadata": kept, "spec": definition["spec"]}
    body.pop("status", None)
    cluster.apply(body)
    cluster.wait_served(metadata["name"])


@contextmanager
def older(cluster: Cluster) -> Iterator[None]:
    """Give the cluster older definitions for a while."""
    now = [cluster.get("CustomResourceDefinition", name) for name in (VIRTUAL_SERVICES, SCALED_OBJECTS)]
    replace(cluster, older_virtual_services())
    replace(cluster, older_scaled_objects(now[1]))
    try:
        yield
    finally:
        for definition in now:
            replace(cluster, definition)


def status(cluster: Cluster, namespace: str) -> Manifest:
    """Return the policy's status once it is in effect."""
    policy = cluster.get("AIGatewayPolicy", "chat", namespace)
    found: Manifest = policy["status"]
    assert {"type": "Ready", "status": "True"}.items() <= found["conditions"][-1].items(), found
    return found


def test_older_versions_get_what_they_know(
    stack: Stack,
    cluster: Cluster,
    model: Callable[..., Model],
    namespace: str,
    host: str,
) -> None:
    """Retry conditions and a fallback that older versions lack are left out and listed; newer versions get them."""
    model("llm")
    rules = [{"type": "RequestRate", "requestRate": {"targetPerReplica": 50}}]
    spec = {
        "hosts": [host],
        "backends": [{"name": "v1", "service": {"name": "llm"}}],
        "autoscaling": {"maxReplicas": 3, "rules": rules},
    }
    metadata = {"name": "chat", "namespace": namespace}
    operator = OperatorProcess(install(cluster), stack.folder / "logs" / "operator-versions.log", SETTINGS)
    with older(cluster), operator:
        cluster.apply(
            {"apiVersion": "aigateway.dev/v1alpha1", "kind": "AIGatewayPolicy", "metadata": metadata, "spec": spec}
        )
        found = eventually(lambda: status(cluster, namespace), "the policy is in effect")

    assert [("retries.conditions", "NotInThisIstio"), ("autoscaling", "NotInThisKEDA")] == [
        (entry["field"], entry["reason"]) for entry in found["skipped"]
    ]
    assert "connect-failure,refused-stream" == found["effective"]["retryOn"]
    assert "fallback" not in cluster.get("ScaledObject", "chat-v1", namespace)["spec"]

    with operator:
        eventually(lambda: "skipped" not in status(cluster, namespace), "the newer versions are picked up")
    assert "connect-failure,refused-stream,reset-before-request" == status(cluster, namespace)["effective"]["retryOn"]
    fallback = cluster.get("ScaledObject", "chat-v1", namespace)["spec"]["fallback"]
    assert "currentReplicasIfHigher" == fallback["behavior"]
