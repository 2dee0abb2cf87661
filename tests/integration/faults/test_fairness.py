"""One namespace full of policies that fail and flap must not delay the policies of another."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator

import pytest
from kubernetes.client.exceptions import ApiException

from tests.integration.faults.conftest import Split
from tests.integration.operator_process import OperatorProcess
from tests.integration.test_operator import GATEWAY, one_backend, policy
from tests.stack.cluster import Cluster
from tests.stack.faults import Asked, FaultProxy, silence, writes
from tests.stack.models import service
from tests.stack.services import namespace_manifest
from tests.stack.stack import Stack
from tests.stack.waiting import eventually

POLICIES = 300
FACTOR, FLOOR = 10.0, 3.0
"""How much longer a change may take beside the noise, and the seconds under which the factor does not matter.

A try that gets no answer lasts 15 s: waiting for only one of them would be far over the floor.
"""


@pytest.fixture(scope="module")
def noisy(stack: Stack, namespace: str) -> Iterator[str]:
    """Give the name of a second namespace, with one Service."""
    name = f"{namespace}-noisy"
    stack.cluster.apply(namespace_manifest(name), service(name, "llm-v1"))
    yield name
    stack.cluster.delete("Namespace", name)


@pytest.fixture(scope="module")
def settings(namespace: str, noisy: str) -> dict[str, str]:
    """Look at both namespaces."""
    return {"namespaces": f"{namespace},{noisy}", "default-gateway": GATEWAY}


def seconds_of_a_change(split: Split, *weights: int) -> float:
    """Return how long a changed weight takes to be written, the median of several."""
    taken = []
    for first in weights:
        began = time.monotonic()
        split.change(first)
        eventually(lambda first=first: split.written() == first, within=60, every=0.02)  # type: ignore[misc]
        taken.append(time.monotonic() - began)
    return statistics.median(taken)


def flap(cluster: Cluster, noisy: str, done: threading.Event) -> None:
    """Change one policy after the other, again and again."""
    turn = 0
    while not done.is_set():
        turn += 1
        change = {"spec": {"hosts": [f"flap-{turn}.example.com"]}}
        try:
            cluster.patch("AIGatewayPolicy", f"p{turn % POLICIES}", noisy, change)
        except ApiException:
            continue


def test_a_noisy_namespace_does_not_delay_another(
    cluster: Cluster, noisy: str, operator: OperatorProcess, faults: FaultProxy, split: Split
) -> None:
    """While the writes of 300 changing policies hang, the only policy of another namespace is as prompt as before."""

    def hanging(asked: Asked) -> bool:
        return writes(asked) and asked.concerns("namespaces", noisy)

    calm = seconds_of_a_change(split, 70, 60, 50)
    done = threading.Event()
    noise = threading.Thread(target=flap, args=(cluster, noisy, done))
    with faults.inject(silence, hanging) as rule:
        cluster.apply(
            *(policy(noisy, f"p{n}", hosts=[f"p{n}.example.com"], backends=one_backend()) for n in range(POLICIES))
        )
        noise.start()
        try:
            eventually(lambda: rule.hits >= 5, "writes hang", within=60)
            beside = seconds_of_a_change(split, 40, 30, 20)
        finally:
            done.set()
            noise.join(30)

    assert operator.metric("aigateway_policies") >= POLICIES
    assert beside < max(FACTOR * calm, FLOOR), f"{beside:.2f} s beside the noise, {calm:.2f} s without"
