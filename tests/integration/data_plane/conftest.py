"""One operator for all tests of this folder, and short ways to apply a policy and to wait for it.

In: policies as users write them.  Asserted: what requests and replicas do.  Nothing is replaced by a stand-in but the
model itself, which is the stack's backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.operator_process import OperatorProcess, install
from tests.stack.cluster import Cluster, Manifest
from tests.stack.models import Model
from tests.stack.stack import Stack
from tests.stack.waiting import eventually

Apply = Callable[..., Manifest]


@pytest.fixture(scope="package")
def operator(stack: Stack) -> Iterator[OperatorProcess]:
    """Run the operator as an administrator would set it up for this stack, with short windows for its queries."""
    settings = {
        "default-gateway": "istio-system/ai-gateway",
        "prometheus-address": "http://127.0.0.1:9090",
        "scaling-window": "10",
        "scaling-polling": "2",
    }
    log = stack.folder / "logs" / "operator-data-plane.log"
    with OperatorProcess(install(stack.cluster), log, settings) as running:
        yield running


@pytest.fixture
def apply(operator: OperatorProcess, cluster: Cluster, namespace: str) -> Apply:  # noqa: ARG001 (it has to run)
    """Apply a policy's spec under a name and wait until it is in effect."""
    return applying(cluster, namespace)


def applying(cluster: Cluster, namespace: str) -> Apply:
    """Return what applies a policy's spec under a name and waits until the operator says that it is in effect."""

    def apply(name: str = "chat", **spec: Any) -> Manifest:
        [applied] = cluster.apply(
            {
                "apiVersion": "aigateway.dev/v1alpha1",
                "kind": "AIGatewayPolicy",
                "metadata": {"name": name, "namespace": namespace},
                "spec": spec,
            }
        )
        generation = applied["metadata"]["generation"]
        return eventually(lambda: in_effect(cluster, namespace, name, generation), f"policy {name} is in effect")

    return apply


def in_effect(cluster: Cluster, namespace: str, name: str, generation: int) -> Manifest:
    """Return the policy once its status speaks of ``generation`` and Ready is true."""
    policy = cluster.get("AIGatewayPolicy", name, namespace)
    conditions = {c["type"]: c for c in policy.get("status", {}).get("conditions", [])}
    assert "Ready" in conditions, policy.get("status")
    assert (generation, "True") == (policy["status"]["observedGeneration"], conditions["Ready"]["status"]), conditions
    return policy


def on(model: Model, weight: int | None = None) -> Manifest:
    """Return a policy's backend on a deployed model, named like it."""
    entry: Manifest = {"name": model.name, "service": {"name": model.name}}
    return entry if weight is None else {**entry, "weight": weight}
