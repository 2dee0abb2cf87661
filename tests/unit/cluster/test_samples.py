"""Samples: what is asked for, what policies see of it, and who looks again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aigateway.api.problems import Rejection
from aigateway.api.reasons import INVALID
from aigateway.api.resolved import Adaptive, PolicyKey, ResolvedPolicy
from aigateway.cluster.samples import Address, Samples
from aigateway.core.observation import Lack, Metric, NoData, Sample, ServicePort, ServiceState
from aigateway.core.signals import Target
from tests.resolved import backend, policy

P99, FAILURES, RATE = Metric.LATENCY_P99, Metric.FAILURE_PERCENT, Metric.REQUEST_RATE
FAST = Sample(20.0, 1000.0)
REJECTED = Rejection(INVALID, ())
SLOW_IS_BAD = Adaptive(500, None)


def watching(name: str = "chat", *services: str, adaptive: Adaptive | None = SLOW_IS_BAD) -> ResolvedPolicy:
    """Return a policy with backends on these versions that looks at metrics."""
    backends = tuple(backend(service) for service in services or ("v1",))
    made = policy(key=PolicyKey("models", name), backends=backends)
    return replace(made, retries=replace(made.retries, adaptive=adaptive))


class Case:
    """Samples that policies look at, with Services on port 80."""

    def __init__(self, *policies: ResolvedPolicy, configured: bool = True) -> None:
        self.ports: tuple[int, ...] = (80,)
        self.samples = Samples(self._service, configured=configured)
        for each in policies:
            self.samples.policy_changed(each.key, each)

    def _service(self, namespace: str, name: str) -> ServiceState | None:
        assert "models" == namespace
        return ServiceState(tuple(map(ServicePort, self.ports))) if name.startswith("model-") else None


def test_nothing_is_wanted_by_policies_without_signals() -> None:
    """Policies that look at no metric, or are invalid, or gone, have nothing asked."""
    case = Case(watching(adaptive=None), watching("gone"), watching("bad"))
    case.samples.policy_changed(PolicyKey("models", "gone"), None)
    case.samples.policy_changed(PolicyKey("models", "bad"), REJECTED)

    assert {} == case.samples.wanted()


def test_every_service_is_asked_for_once() -> None:
    """Two policies on one Service need one answer; each metric is asked only of those who look at it."""
    both = Adaptive(500, 50)
    case = Case(watching("a", "v1", "v2"), watching("b", "v1", adaptive=both))

    wanted = case.samples.wanted()

    v1, v2 = Target("models", "model-v1", (80,)), Target("models", "model-v2", (80,))
    assert {v1, v2} == set(wanted[P99])
    assert [v1] == wanted[FAILURES]


@pytest.mark.parametrize(
    ("own", "ports", "expected"),
    [
        pytest.param(8080, (80,), (8080,), id="the policy's"),
        pytest.param(None, (80,), (80,), id="the only one"),
        pytest.param(None, (80, 81), (), id="not known"),
    ],
)
def test_ports(own: int | None, ports: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Asked is about the port that requests go to; where it is not known, that is no reason not to ask."""
    made = watching()
    case = Case(replace(made, backends=(replace(made.backends[0], port=own),)))
    case.ports = ports

    assert [Target("models", "model-v1", expected)] == case.samples.wanted()[P99]


@pytest.mark.parametrize(
    ("configured", "expected"), [pytest.param(True, Lack.NOT_ASKED_YET), pytest.param(False, Lack.NOT_CONFIGURED)]
)
def test_before_the_first_tick(configured: bool, expected: Lack) -> None:
    """A policy sees that nothing was asked yet, or never will be, and nothing that it does not look at."""
    made = watching()

    nothing = NoData(expected)
    assert {("model-v1", P99): nothing, ("model-v1", RATE): nothing} == Case(made, configured=configured).samples.of(
        made
    )
    assert {} == Case(made).samples.of(watching(adaptive=None))
    assert {} == Case(made).samples.of(REJECTED)


def test_only_those_look_again_whom_it_concerns() -> None:
    """After a tick policies with new numbers look again; what is missing as before is no news."""
    a, b = watching("a", "v1"), watching("b", "v2")
    case = Case(a, b, watching("c", adaptive=None))
    first: dict[Address, Sample | NoData] = {
        ("models", "model-v1", P99): FAST,
        ("models", "model-v2", P99): NoData(Lack.EMPTY),
    }

    assert [a.key, b.key] == list(case.samples.take(first))
    assert FAST == case.samples.of(a)["model-v1", P99]
    assert NoData(Lack.EMPTY) == case.samples.of(b)["model-v2", P99]

    second: dict[Address, Sample | NoData] = {**first, ("models", "model-v1", P99): Sample(20.0, 1015.0)}
    assert [a.key] == list(case.samples.take(second))
    assert [] == list(case.samples.take(second))
