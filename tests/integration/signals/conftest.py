"""One operator that looks at Prometheus often and over a short window, and a short way to apply a policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.data_plane.conftest import in_effect
from tests.integration.operator_process import OperatorProcess, install
from tests.stack.cluster import Cluster, Manifest
from tests.stack.stack import Stack
from tests.stack.waiting import eventually

Apply = Callable[..., Manifest]

INTERVAL = 2
"""Seconds between looks."""
WINDOW = 10
"""Seconds over which rates are taken."""


@pytest.fixture(scope="package")
def operator(stack: Stack) -> Iterator[OperatorProcess]:
    """Run the operator as an administrator would set it up for this stack."""
    settings = {
        "default-gateway": "istio-system/ai-gateway",
        "prometheus-address": stack.prometheus.url,
        "sampling-interval": str(INTERVAL),
        "scaling-window": str(WINDOW),
    }
    log = stack.folder / "logs" / "operator-signals.log"
    with OperatorProcess(install(stack.cluster), log, settings) as running:
        yield running


@pytest.fixture
def apply(operator: OperatorProcess, cluster: Cluster, namespace: str) -> Apply:  # noqa: ARG001 (it has to run)
    """Apply the policy ``chat`` with a spec and wait until the operator says that this generation is in effect."""

    def apply(**spec: Any) -> Manifest:
        [applied] = cluster.apply(
            {
                "apiVersion": "aigateway.dev/v1alpha1",
                "kind": "AIGatewayPolicy",
                "metadata": {"name": "chat", "namespace": namespace},
                "spec": spec,
            }
        )
        generation = applied["metadata"]["generation"]
        return eventually(lambda: in_effect(cluster, namespace, "chat", generation), "the policy is in effect")

    return apply
