"""What the sampler reads from a real Prometheus about real traffic, and what the operator asks and does not ask.

Rates need traffic that goes on for longer than their range, so one stream feeds all that is asserted about numbers.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aigateway.core.observation import Counted, Lack, Metric, NoData, Sample
from aigateway.core.signals import Target
from aigateway.metrics.prometheus import Prometheus
from aigateway.metrics.sampler import Reports, Sampler, Samples, Schedule
from tests.integration.data_plane.conftest import in_effect
from tests.integration.operator_process import OperatorProcess, install
from tests.stack.backend import Backend
from tests.stack.cluster import Cluster
from tests.stack.models import Model
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually

RATE, P99, FAILURES = Metric.REQUEST_RATE, Metric.LATENCY_P99, Metric.FAILURE_PERCENT
WINDOW = 10
INTERVAL = 1


class Look:
    """Ticks by hand at the stack's Prometheus, for some Services of a namespace."""

    def __init__(self, stack: Stack, namespace: str, services: dict[str, tuple[int, ...]]) -> None:
        self._prometheus = Prometheus(stack.prometheus.url)
        self._services = services
        self._namespace = namespace
        self.results: list[str] = []
        self._last: Samples = {}
        reports = Reports(self.results.append, lambda _: None, self._take)
        self._sampler = Sampler(self._prometheus, Schedule(INTERVAL, WINDOW, "cluster.local"), self._wanted, reports)

    def _wanted(self) -> dict[Metric, list[Target]]:
        targets = [Target(self._namespace, service, ports) for service, ports in self._services.items()]
        return dict.fromkeys(Metric, targets)

    def _take(self, samples: Samples) -> None:
        self._last = samples

    def tick(self) -> dict[tuple[str, Metric], Sample | NoData]:
        """Ask for everything once."""
        asyncio.run(self._sampler.tick())
        return {(service, metric): sample for (_, service, metric), sample in self._last.items()}


def value(samples: dict[tuple[str, Metric], Sample | NoData], service: str, metric: Metric) -> float:
    """Return a number that has to be there, of now."""
    sample = samples[service, metric]
    assert isinstance(sample, Sample), sample
    assert abs(time.time() - sample.at) < 5
    return sample.value


def route(namespace: str, host: str, shares: dict[str, int]) -> dict[str, Any]:
    """Return a route that tries three times whatever fails, and also what is answered with 429."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "sampled", "namespace": namespace},
        "spec": {
            "hosts": [host],
            "gateways": ["istio-system/ai-gateway"],
            "exportTo": ["*"],
            "http": [
                {
                    "route": [
                        {"destination": {"host": name, "port": {"number": 80}}, "weight": share}
                        for name, share in shares.items()
                    ],
                    "retries": {"attempts": 2, "retryOn": "503,429,reset,connect-failure"},
                }
            ],
        },
    }


def test_the_numbers_are_those_of_the_traffic(
    stack: Stack,
    cluster: Cluster,
    namespace: str,
    host: str,
    model: Callable[..., Model],
    backend: Backend,
    gateway: Traffic,
) -> None:
    """With 20 % of attempts failing and retried, clients see hardly a failure, and the sampler sees the 20 %.

    What is retried for its 429 is no failure; a slow version's P99 lies between the limits of its bucket; an idle
    version has no data; where attempts are not counted, the share is one of requests, and says so.
    """
    failing, slow, _ = model("failing"), model("slow"), model("idle")
    cluster.apply(route(namespace, host, {failing.host: 50, slow.host: 50}))
    eventually(lambda: gateway.get(host).status == 200)
    look = Look(stack, namespace, {"failing": (80,), "slow": (80,), "idle": (80,)})
    of_requests = Look(stack, namespace, {"failing": ()})
    backend.behave(*failing.addresses(), status=503, share=0.2)
    backend.behave(*slow.addresses(), status=429, share=0.2, delay=0.12)
    with gateway.steady(host, rate=120) as answers:
        time.sleep(WINDOW + 4)
        samples, requests = look.tick(), of_requests.tick()

    counts = backend.counts()
    bad, good = (sum(counts[address, status] for address in failing.addresses()) for status in (503, 200))
    truth = 100 * bad / (bad + good)
    seen_by_clients = sum(answer.status == 503 for answer in answers) / len(answers)
    assert 17 < truth < 23
    assert seen_by_clients < 0.03
    assert value(samples, "failing", FAILURES) == pytest.approx(truth, abs=4)
    assert samples["failing", FAILURES].counted is Counted.ATTEMPTS  # type: ignore[union-attr]
    assert value(samples, "slow", FAILURES) == pytest.approx(0, abs=1)
    assert value(samples, "failing", RATE) == pytest.approx(60, abs=12)
    assert 100 < value(samples, "slow", P99) <= 500
    assert value(samples, "failing", P99) < value(samples, "slow", P99)
    assert {NoData(Lack.EMPTY)} == {samples["idle", metric] for metric in Metric}
    assert value(requests, "failing", FAILURES) < 6
    assert requests["failing", FAILURES].counted is Counted.REQUESTS  # type: ignore[union-attr]
    assert {"Answered"} == {*look.results, *of_requests.results}


def test_attempts_without_an_answer_are_failures(
    stack: Stack,
    cluster: Cluster,
    namespace: str,
    host: str,
    model: Callable[..., Model],
    backend: Backend,
    gateway: Traffic,
) -> None:
    """Connections that are reset in the middle of a request count like answers that say so."""
    model("reset")
    cluster.apply(route(namespace, host, {f"reset.{namespace}.svc.cluster.local": 100}))
    eventually(lambda: gateway.get(host).status == 200)
    backend.behave(reset="request", share=0.4)
    look = Look(stack, namespace, {"reset": (80,)})
    with gateway.steady(host, rate=60):
        time.sleep(WINDOW + 4)
        samples = look.tick()

    seen = backend.seen()
    truth = 100 * sum(attempt.status == 0 for attempt in seen) / len(seen)
    assert value(samples, "reset", FAILURES) == pytest.approx(truth, abs=5)
    print(samples, truth)


@contextlib.contextmanager
def without_prometheus(stack: Stack) -> Iterator[None]:
    """Have no Prometheus inside the block, and one that answers after it."""
    stack.processes.kill("prometheus")
    try:
        yield
    finally:
        stack.processes.start_again("prometheus")
        stack.prometheus.wait()


def test_an_outage_is_no_number(stack: Stack, namespace: str) -> None:
    """While Prometheus is gone everything is unreachable, at once and not as 0; back again, it is asked again."""
    look = Look(stack, namespace, {"idle": (80,)})
    assert {NoData(Lack.EMPTY)} == set(look.tick().values())
    with without_prometheus(stack):
        for _ in range(5):
            assert {NoData(Lack.UNREACHABLE)} == set(look.tick().values())

    eventually(lambda: {NoData(Lack.EMPTY)} == set(look.tick().values()), every=0.5)


def test_the_operator_asks_only_what_a_policy_needs(
    stack: Stack, cluster: Cluster, namespace: str, host: str, model: Callable[..., Model]
) -> None:
    """Without a policy that looks at metrics nothing is asked; with one, each metric once a tick; then nothing."""
    model("llm")
    spec = {"hosts": [host], "backends": [{"name": "llm", "service": {"name": "llm"}}]}
    policy = {
        "apiVersion": "aigateway.dev/v1alpha1",
        "kind": "AIGatewayPolicy",
        "metadata": {"name": "chat", "namespace": namespace},
        "spec": spec,
    }
    settings = {
        "default-gateway": "istio-system/ai-gateway",
        "sampling-address": stack.prometheus.url,
        "sampling-interval": str(INTERVAL),
        "scaling-window": str(WINDOW),
        "namespaces": namespace,
    }
    log = stack.folder / "logs" / "operator-sampling.log"
    with OperatorProcess(install(cluster), log, settings) as operator:

        def asked() -> float:
            return operator.metric("aigateway_prometheus_queries_total")

        cluster.apply(policy)
        eventually(lambda: in_effect(cluster, namespace, "chat", 1), "the policy is in effect")
        time.sleep(3 * INTERVAL)
        assert 0 == asked()

        cluster.apply(
            {**policy, "spec": {**spec, "retries": {"adaptive": {"latencyAbove": "500ms", "failurePercent": 50}}}}
        )
        eventually(lambda: asked() >= 9, "three ticks")
        ticks = operator.metric("aigateway_sampling_duration_seconds_count")
        assert 3 * ticks == pytest.approx(asked(), abs=3)
        assert 3 == operator.metric("aigateway_samples", state="Empty")

        with without_prometheus(stack):
            eventually(lambda: 3 == operator.metric("aigateway_samples", state="Unreachable"), "an outage shows")
            assert in_effect(cluster, namespace, "chat", 2)
        eventually(lambda: 3 == operator.metric("aigateway_samples", state="Empty"), "its end shows")

        cluster.apply(policy)
        eventually(lambda: 0 == operator.metric("aigateway_samples"), "nothing is wanted")
        before = asked()
        time.sleep(3 * INTERVAL)
        assert before == asked()
