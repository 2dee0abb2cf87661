"""istiod is dead: its webhook fails closed, so nothing of Istio's can be written, and proxies keep what they have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.faults.conftest import Split
from tests.integration.faults.test_refusals import failed
from tests.integration.operator_process import OperatorProcess
from tests.stack.addresses import ISTIOD_READY
from tests.stack.cluster import Cluster
from tests.stack.istio import answers
from tests.stack.models import Model
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually

RECONNECTED_SECONDS = 120.0
"""A deadline with ample room: Envoy waits up to half a minute between its tries to reach istiod."""
REQUESTS = 400
FIVE_SIGMA = 0.11
"""Of a share of 20 or 80 percent among so many requests."""


@pytest.fixture
def no_istiod(stack: Stack, split: Split) -> Iterator[Split]:
    """Kill istiod once the policy is in effect; it is back afterwards."""
    stack.processes.kill("istiod")
    yield split
    if "istiod" not in stack.processes.names():
        revive(stack)


def revive(stack: Stack) -> None:
    """Start istiod again and wait until it answers."""
    stack.processes.start_again("istiod")
    stack.processes.wait_until("istiod", lambda: answers(f"http://127.0.0.1:{ISTIOD_READY}/ready"))


def share(stack: Stack, namespace: str) -> float:
    """Return the first version's share of some requests; every one must be answered."""
    sent = Traffic(stack.gateway.url).send(f"{namespace}.example.com", REQUESTS)
    assert {200: REQUESTS} == sent.statuses
    return sent.count(Model(stack.cluster, namespace, "llm-v1").addresses()) / REQUESTS


def test_weights_wait_for_istiod_and_say_so(
    stack: Stack, cluster: Cluster, namespace: str, operator: OperatorProcess, no_istiod: Split
) -> None:
    """The policy names object and webhook, traffic keeps its last weights, and follows once istiod is back."""
    no_istiod.change(20)
    said = failed(cluster, namespace)

    assert "VirtualService llm-gateway" in said
    assert "rev.validation.istio.io" in said
    assert 80 == no_istiod.written()
    assert "v1=80,v2=20" == cluster.get("AIGatewayPolicy", "llm", namespace)["status"]["weights"]
    assert abs(share(stack, namespace) - 0.8) < FIVE_SIGMA

    revive(stack)
    eventually(lambda: no_istiod.written() == 20, "the weights are written", within=RECONNECTED_SECONDS)
    eventually(
        lambda: abs(share(stack, namespace) - 0.2) < FIVE_SIGMA, "traffic follows", within=RECONNECTED_SECONDS, every=1
    )
    no_istiod.wait(20)
    assert operator.ready()
