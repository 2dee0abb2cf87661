"""Retries follow what Prometheus shows of real traffic: down at once, up slowly, and not at all while it is gone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.data_plane.conftest import Apply, on
from tests.integration.operator_process import Audit, OperatorProcess
from tests.integration.signals.conftest import INTERVAL, WINDOW
from tests.stack.backend import Backend
from tests.stack.cluster import Cluster, Manifest
from tests.stack.models import Model
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually

pytestmark = pytest.mark.timeout(900)  # each retry takes a minute to come back

PATIENCE = 150
"""Seconds: far more than the window of the rates and a clean minute."""
SOME: dict[str, Any] = {"status": 503, "share": 0.25}
"""Failures that leave something to retry, and are far from the bound."""


@dataclass
class Scene:
    """A policy under traffic, as people look at it."""

    cluster: Cluster
    namespace: str
    backend: Backend
    gateway: Traffic
    host: str

    def status(self) -> Manifest:
        """Return the policy's status."""
        found: Manifest = self.cluster.get("AIGatewayPolicy", "chat", self.namespace)["status"]
        return found

    def condition(self, kind: str) -> tuple[str, str]:
        """Return status and reason of a condition, empty where it is not told yet."""
        found = {item["type"]: (item["status"], item["reason"]) for item in self.status()["conditions"]}
        return found.get(kind, ("", ""))

    def level(self, wanted: int, within: float = PATIENCE) -> float:
        """Wait until so many retries are in effect; return the seconds that it took."""
        began = time.monotonic()
        eventually(lambda: self.status()["retries"]["level"] == wanted, f"{wanted} retries", within=within)
        return time.monotonic() - began

    def in_routes(self) -> set[int]:
        """Return the retries of all routes."""
        route = self.cluster.get("VirtualService", "chat-gateway", self.namespace)
        return {http["retries"]["attempts"] for http in route["spec"]["http"]}

    def most_attempts(self, path: str) -> int:
        """Return how often a request arrived at most, of 200 under a path."""
        self.gateway.send(self.host, 200, path=path)
        arrivals = Counter(attempt.request_id for attempt in self.backend.seen() if attempt.path == path)
        return max(arrivals.values())

    def tries(self, wanted: int) -> None:
        """Wait until requests are tried so often at most, as they arrive at the model."""
        eventually(lambda: self.most_attempts(f"/{time.monotonic()}") == wanted, f"at most {wanted} tries")

    def events(self) -> list[tuple[str, str]]:
        """Return the events on retries, as reason and message."""
        found = self.cluster.events(self.namespace, "chat")
        return [(event["reason"], event["message"]) for event in found if event["reason"].startswith("RetryLevel")]


@pytest.fixture
def scene(
    cluster: Cluster,
    namespace: str,
    backend: Backend,
    gateway: Traffic,
    host: str,
    apply: Apply,
    model: Callable[..., Model],
) -> Scene:
    """Give a policy of three retries that are 2 or fewer beyond 250 ms, and none beyond half of attempts failing."""
    apply(
        hosts=[host],
        backends=[on(model("v1", replicas=2))],
        retries={
            "attempts": 3,
            "statusCodes": [503],
            "backoff": {"initial": "1ms"},
            "adaptive": {"latencyAbove": "250ms", "failurePercent": 50},
        },
    )
    eventually(lambda: gateway.get(host).status == 200, f"{host} is served")
    return Scene(cluster, namespace, backend, gateway, host)


def test_retries_follow_the_model_down_and_up(scene: Scene, stack: Stack, operator: OperatorProcess) -> None:
    """Slow takes 3 to 1, failing to 0; without Prometheus 0 is held; a clean minute gives each one back.

    Attempts are counted where they arrive, each step has its reason in status, history and an event, and between steps
    nothing is written.
    """
    times: dict[str, float] = {}
    with scene.gateway.steady(scene.host, rate=40):
        scene.backend.behave(**SOME)
        eventually(lambda: scene.condition("MetricsAvailable") == ("True", "MetricsAvailable"), "there are metrics")
        assert (3, {3}) == (scene.status()["retries"]["level"], scene.in_routes() - {0})
        eventually(lambda: scene.most_attempts("/at-first") > 2, "requests are tried more than twice")
        writes_nothing(stack)

        scene.backend.behave(delay=0.4, **SOME)
        times["slow to 2"] = scene.level(2, within=60)
        times["2 to 1"] = scene.level(1, within=60)
        assert "LatencyHigh" == scene.status()["retries"]["reason"]
        scene.tries(2)
        assert {1} == scene.in_routes()
        writes_nothing(stack)
        assert 1 == scene.status()["retries"]["level"]

        scene.backend.behave(status=503, share=0.9)
        times["failing to 0"] = scene.level(0, within=60)
        retries = scene.status()["retries"]
        assert "FailuresHigh" == retries["reason"]
        failures = next(item for item in retries["inputs"] if item["metric"] == "FailurePercent")
        assert ("Failing", "50 %") == (failures["verdict"], failures["threshold"])
        assert failures["value"].endswith(" % of attempts")
        scene.tries(1)
        assert {0} == scene.in_routes()

        scene.backend.behave(**SOME)
        stack.processes.kill("prometheus")
        eventually(lambda: scene.condition("MetricsAvailable") == ("False", "PrometheusUnreachable"), "it is missed")
        time.sleep(WINDOW + 60 + 3 * INTERVAL)
        assert (0, ("True", "Ready")) == (scene.status()["retries"]["level"], scene.condition("Ready"))
        stack.processes.start_again("prometheus")
        stack.prometheus.wait()
        eventually(lambda: scene.condition("MetricsAvailable") == ("True", "MetricsAvailable"), "it is back")

        for wanted in (1, 2, 3):
            times[f"up to {wanted}"] = scene.level(wanted)
        eventually(lambda: scene.most_attempts("/at-last") > 2, "requests are tried more than twice again")
    assert 3 == scene.status()["effective"]["attempts"]
    assert operator.metric("aigateway_prometheus_queries_total") > 0
    told(scene)
    print({name: f"{seconds:.1f} s, {seconds / INTERVAL:.1f} looks" for name, seconds in times.items()})


def writes_nothing(stack: Stack) -> None:
    """Check that traffic alone makes the operator write nothing."""
    time.sleep(2 * INTERVAL)
    audit = Audit.begin(stack.audit_log)
    time.sleep(4 * INTERVAL)
    assert [] == audit.writes()


def told(scene: Scene) -> None:
    """Check that every step is in the history and in an event, with its reason."""
    status = scene.status()
    assert [
        ("3", "2", "LatencyHigh"),
        ("2", "1", "LatencyHigh"),
        ("1", "0", "FailuresHigh"),
        ("0", "1", "Recovered"),
        ("1", "2", "Recovered"),
        ("2", "3", "Recovered"),
    ] == [(step["from"], step["to"], step["reason"]) for step in status["history"]]
    messages = {f"{step['from']} retries are now {step['to']}: {step['why']}" for step in status["history"]}
    events = scene.events()
    assert messages == {message for _, message in events}
    assert {"RetryLevelLowered", "RetryLevelRaised"} == {reason for reason, _ in events}
