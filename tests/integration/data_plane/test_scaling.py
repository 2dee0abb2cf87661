"""Each scaling rule moves a Deployment's replicas up and back down; a metric outage moves none.

All rules are driven at once, each on a model of its own, since the autoscaler's own periods take a minute each way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.data_plane.conftest import in_effect, on
from tests.integration.operator_process import OperatorProcess
from tests.stack import models
from tests.stack.cluster import Manifest
from tests.stack.models import Model
from tests.stack.services import namespace_manifest
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually

pytestmark = pytest.mark.timeout(900)  # the whole scene is the first test's set-up

NAMESPACE = "test-scaling"
HIGHEST = 4
PATIENCE = 240
"""Seconds.  The autoscaler may shrink by half a minute after the rule's window and KEDA's and its own periods."""


@dataclass(frozen=True)
class Rule:
    """A rule, what else the policy needs for it, and the load that drives it: requests per second, or CPU."""

    rules: list[Manifest]
    rate: float = 0
    delay: float = 0
    pool: Manifest | None = None
    millicores: int = 0
    expected: int = HIGHEST


# A rate partner that never drives anything: a latency alone can't tell how many replicas are needed.
PARTNER = {"type": "RequestRate", "requestRate": {"targetPerReplica": 10_000}}

RULES: dict[str, Rule] = {
    # 60 requests/s at 20 for each replica.
    "request-rate": Rule([{"type": "RequestRate", "requestRate": {"targetPerReplica": 20}}], rate=60, expected=3),
    # A median that is three times the threshold, whatever the replicas.
    "latency": Rule(
        [{"type": "Latency", "latency": {"percentile": 90, "threshold": "200ms"}}, PARTNER], rate=10, delay=0.6
    ),
    # One connection that answers once in half a second, under 40 requests/s: dozens wait.
    "queue-length": Rule(
        [{"type": "QueueLength", "queueLength": {"total": 5}}], rate=40, delay=0.5, pool={"maxOpen": 1}
    ),
    # Pods ask for 100m and use 140m against 70 %: twice as many are needed, again and again.
    "cpu": Rule([{"type": "CPU", "cpu": {"utilizationPercent": 70}}], millicores=140),
}


def spec(name: str, rule: Rule, model: Model) -> Manifest:
    """Return the policy's spec: one to four replicas, as quick as the autoscaler can be."""
    wanted: dict[str, Any] = {
        "hosts": [host(name)],
        "backends": [on(model)],
        "autoscaling": {
            "maxReplicas": HIGHEST,
            "rules": rule.rules,
            "scaleUp": {"maxAddReplicas": HIGHEST, "period": "15s"},
            "scaleDown": {"stabilization": "0s"},
        },
    }
    return wanted if rule.pool is None else {**wanted, "connectionPool": rule.pool}


def host(name: str) -> str:
    """Return the host of a rule's policy."""
    return f"{name}.scaling.example.com"


class Scene:
    """Models, policies and loads of every rule, and the stack they run on."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.traffic = Traffic(stack.gateway.url)
        self.loads = ExitStack()
        stack.cluster.apply(namespace_manifest(NAMESPACE))
        self.models = {name: models.deploy(stack.cluster, NAMESPACE, name) for name in RULES}

    def apply(self) -> None:
        """Apply every policy and wait for its route."""
        for name, rule in RULES.items():
            self.apply_one(name, spec(name, rule, self.models[name]))

    def apply_one(self, name: str, spec: Manifest) -> None:
        """Apply one policy and wait for its route."""
        policy = {
            "apiVersion": "aigateway.dev/v1alpha1",
            "kind": "AIGatewayPolicy",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }
        [applied] = self.stack.cluster.apply(policy)
        eventually(lambda: in_effect(self.stack.cluster, NAMESPACE, name, applied["metadata"]["generation"]))
        eventually(lambda: self.traffic.get(host(name)).status == 200, f"{name} is served")

    def load(self) -> None:
        """Drive every rule from now on; new pods of a slow model are slow too."""
        for name, rule in RULES.items():
            if rule.millicores:
                self.stack.cpu.use(NAMESPACE, name, millicores=rule.millicores)
            if rule.rate:
                headers = {"x-delay": str(rule.delay)}
                self.loads.enter_context(self.traffic.steady(host(name), rule.rate, headers=headers))

    def replicas(self) -> dict[str, int]:
        """Return how many replicas every model's Deployment asks for."""
        return {name: model.replicas() for name, model in self.models.items()}

    def reach(self, so: Callable[[str, int], bool]) -> dict[str, int]:
        """Wait until every model has as many replicas as asked for, or patience ends; return what there is then."""
        with suppress(AssertionError):
            eventually(lambda: all(so(*item) for item in self.replicas().items()), within=PATIENCE, every=1)
        return self.replicas()

    def relax(self) -> None:
        """Take every load away; CPU use falls to almost nothing."""
        self.loads.close()
        for name, rule in RULES.items():
            if rule.millicores:
                self.stack.cpu.use(NAMESPACE, name, millicores=1)


OUTAGE_SECONDS = 45
"""Longer than the rates' window, KEDA's failures before it falls back, and several looks of the autoscaler."""


@dataclass(frozen=True)
class Seen:
    """Replicas of each rule's model: under load, at the end of an outage of Prometheus without load, and after it."""

    loaded: dict[str, int]
    blind: dict[str, int]
    relaxed: dict[str, int]


@pytest.fixture(scope="module")
def seen(stack: Stack, operator: OperatorProcess) -> Iterator[Seen]:  # noqa: ARG001 (it has to run)
    """Play the whole scene once; each test looks at one rule in it."""
    stack.backend.reset()
    scene = Scene(stack)
    try:
        scene.apply()
        scene.load()
        loaded = scene.reach(lambda name, count: count >= RULES[name].expected)
        stack.processes.stop("prometheus")
        scene.relax()
        time.sleep(OUTAGE_SECONDS)
        blind = scene.replicas()
        stack.prometheus.start()
        stack.prometheus.wait()
        yield Seen(loaded, blind, scene.reach(lambda _, count: count == 1))
    finally:
        scene.loads.close()
        stack.cluster.delete("Namespace", NAMESPACE)


@pytest.mark.parametrize("rule", RULES)
def test_rule_scales_out(seen: Seen, rule: str) -> None:
    """Under its load the model gets the replicas that the rule asks for."""
    assert RULES[rule].expected <= seen.loaded[rule] <= HIGHEST


@pytest.mark.parametrize("rule", [name for name, rule in RULES.items() if not rule.millicores])
def test_outage_of_prometheus_takes_no_replica_away(seen: Seen, rule: str) -> None:
    """While nothing can be measured the replicas stay, although the load is gone."""
    assert seen.loaded[rule] == seen.blind[rule]


@pytest.mark.parametrize("rule", RULES)
def test_rule_scales_back(seen: Seen, rule: str) -> None:
    """Once it is known that there is no load, the model shrinks to its minimum."""
    assert 1 == seen.relaxed[rule]
