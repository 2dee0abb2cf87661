"""How many retries there are: every row of the table in the module, and what of a policy goes with the last one."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

import pytest

from aigateway.api.reasons import AS_SPECIFIED, FAILURES_HIGH, LATENCY_HIGH, RECOVERED, RETRIES_OFF, Reason
from aigateway.api.resolved import Adaptive, ResolvedPolicy, Route, Timeouts
from aigateway.core.decide.retries import (
    CLEAN_SECONDS,
    Look,
    RetryMemory,
    at_level,
    decide_retries,
    without_effect,
)
from aigateway.core.decision import Finding, RetryLevel, Target
from aigateway.core.observation import Lack, Metric, NoData, Sample
from tests.resolved import NOW, backend, policy, retries

INTERVAL = 15.0
FRESH = NOW - 2
ADAPTIVE = Adaptive(latency_above=500, failure_percent=50)
Samples = dict[tuple[str, Metric], Sample | NoData]


def adapting(attempts: int = 3, **changes: Any) -> ResolvedPolicy:
    """Return a policy of v1 and v2 whose retries follow both metrics."""
    return policy(retries=retries(attempts=attempts, adaptive=ADAPTIVE, **changes))


def target(name: str, weight: int = 50, port: int | None = 80) -> Target:
    """Return a backend with a share of the split."""
    return Target(backend(name, weight), port, available=True, weight=weight, reason=AS_SPECIFIED)


def seen(name: str = "v1", failing: float | None = 0.0, p99: float | None = 100.0, at: float = FRESH) -> Samples:
    """Return what Prometheus says of a backend; None: nothing."""
    none = NoData(Lack.EMPTY)
    return {
        (f"model-{name}", Metric.FAILURE_PERCENT): none if failing is None else Sample(failing, at),
        (f"model-{name}", Metric.LATENCY_P99): none if p99 is None else Sample(p99, at),
    }


def idle(name: str) -> Samples:
    """Return what Prometheus says of a backend without requests."""
    return {**seen(name, None, None), (f"model-{name}", Metric.REQUEST_RATE): Sample(0.0, FRESH)}


def decided(samples: Samples, memory: RetryMemory, of: ResolvedPolicy | None = None, now: float = NOW) -> RetryLevel:
    """Return the decision for v1 and v2; of v2 nothing is said but that it is clean, where the samples say nothing."""
    everything = {**seen("v2", at=now - 2), **samples}
    found = decide_retries(of or adapting(), (target("v1"), target("v2")), memory, Look(everything, now, INTERVAL))
    assert found is not None
    return found


def known(level: int, *, judged: float | None = None, clean_for: float | None = None) -> RetryMemory:
    """Return that so many of 3 retries were in effect."""
    clean_since = None if clean_for is None else NOW - clean_for
    return RetryMemory(level, 3, NOW - 600, None if judged is None else int(judged), clean_since)


FULL = known(3)
CLEAN = Sample(1.0, FRESH)


@pytest.mark.parametrize(
    ("samples", "memory", "level", "reason"),
    [
        pytest.param(seen(), FULL, 3, None, id="all-is-well"),
        pytest.param(seen(failing=50.0), FULL, 0, FAILURES_HIGH, id="failing-at-the-bound"),
        pytest.param(seen(failing=49.9), FULL, 3, None, id="failing-below-the-bound"),
        pytest.param(seen(failing=90.0), known(1), 0, FAILURES_HIGH, id="failing-after-being-slow"),
        pytest.param(seen(failing=90.0), known(0), 0, None, id="failing-still"),
        pytest.param(seen(p99=500.0), FULL, 3, None, id="slow-at-the-bound"),
        pytest.param(seen(p99=501.0), FULL, 2, LATENCY_HIGH, id="slow-at-once"),
        pytest.param(seen(p99=900.0), known(2, judged=FRESH - 15), 1, LATENCY_HIGH, id="slow-by-a-new-sample"),
        pytest.param(seen(p99=900.0), known(2, judged=FRESH), 2, None, id="slow-by-the-same-sample"),
        pytest.param(seen(p99=900.0), known(2, judged=FRESH + 9), 2, None, id="slow-by-an-older-sample"),
        pytest.param(seen(p99=900.0), known(1), 1, None, id="slow-never-takes-the-last"),
        pytest.param(seen(p99=900.0), known(0), 0, None, id="slow-gives-nothing-back"),
        pytest.param(seen(failing=60.0, p99=900.0), FULL, 0, FAILURES_HIGH, id="failing-and-slow"),
        pytest.param(seen(failing=None, p99=900.0), FULL, 2, LATENCY_HIGH, id="slow-and-failures-unknown"),
        pytest.param(seen(failing=None), known(1, clean_for=300), 1, None, id="half-of-it-unknown"),
        pytest.param({("model-v1", Metric.LATENCY_P99): CLEAN}, known(1, clean_for=300), 1, None, id="half-asked"),
        pytest.param(seen(failing=None, p99=None), known(1, clean_for=300), 1, None, id="no-data"),
        pytest.param(seen(at=NOW - 45), known(1, clean_for=300), 1, None, id="clean-long-ago"),
        pytest.param(seen(failing=90.0, at=NOW - 45), FULL, 3, None, id="failing-long-ago"),
        pytest.param(seen(), known(1), 1, None, id="clean-for-the-first-time"),
        pytest.param(seen(), known(1, clean_for=59), 1, None, id="clean-for-less-than-a-minute"),
        pytest.param(seen(), known(1, clean_for=60), 2, RECOVERED, id="clean-for-a-minute"),
        pytest.param(seen(), known(0, clean_for=600), 1, RECOVERED, id="clean-for-long-gives-one-back"),
        pytest.param(seen(), known(1, clean_for=-600), 1, None, id="clock-set-back"),
        pytest.param(seen(failing=40.0), known(1, clean_for=60), 1, None, id="failing-near-the-bound"),
        pytest.param(seen(p99=400.0), known(1, clean_for=60), 1, None, id="slow-near-the-bound"),
        pytest.param(seen(failing=39.9, p99=399.0), known(1, clean_for=60), 2, RECOVERED, id="below-80-percent"),
        pytest.param(idle("v1"), known(1, clean_for=60), 2, RECOVERED, id="one-idle-the-other-clean"),
        pytest.param({**idle("v1"), **idle("v2")}, known(1, clean_for=60), 1, None, id="all-idle"),
        pytest.param(seen("v2", failing=80.0) | seen("v1"), FULL, 0, FAILURES_HIGH, id="the-other-failing"),
        pytest.param(seen("v3", failing=80.0) | seen("v1"), FULL, 3, None, id="of-no-backend"),
    ],
)  # fmt: skip
def test_level(samples: Samples, memory: RetryMemory, level: int, reason: Reason | None) -> None:
    """Down at once, up after a clean minute, and not at all for want of data."""
    found = decided(samples, memory)

    assert (level, reason) == (found.level, found.reason)
    assert memory.level == found.before
    assert found.since == (memory.since if reason is None else NOW)


@pytest.mark.parametrize(
    ("samples", "clean_for", "expected"),
    [
        pytest.param(seen(), None, NOW, id="begins"),
        pytest.param(seen(), 30, NOW - 30, id="goes-on"),
        pytest.param(seen(), 60, NOW, id="begins-anew-after-a-step"),
        pytest.param(seen(failing=45.0), 30, None, id="ends-near-the-bound"),
        pytest.param(seen(p99=900.0), 30, None, id="ends-when-slow"),
        pytest.param(seen(failing=None), 30, None, id="ends-without-data"),
        pytest.param(seen(), -5, NOW, id="begins-anew-when-the-clock-was-set-back"),
    ],
)
def test_clean_time(samples: Samples, clean_for: float | None, expected: float | None) -> None:
    """The minute before a step up is one without a doubt."""
    assert expected == decided(samples, known(1, clean_for=clean_for)).clean_since


@pytest.mark.parametrize(
    ("memory", "asked", "expected"),
    [
        pytest.param(RetryMemory(3, 3, 0.0), 5, 5, id="more-are-asked-for-of-all"),
        pytest.param(RetryMemory(1, 3, 0.0), 5, 1, id="more-are-asked-for-of-some"),
        pytest.param(RetryMemory(3, 3, 0.0), 1, 1, id="fewer-are-asked-for-of-all"),
        pytest.param(RetryMemory(2, 3, 0.0), 1, 1, id="fewer-are-asked-for-than-are-left"),
    ],
)
def test_level_of_another_number(memory: RetryMemory, asked: int, expected: int) -> None:
    """A policy that asks for another number gets it where it had all; what was taken away stays away."""
    found = decided(seen(), memory, adapting(asked))

    assert (expected, None) == (found.level, found.reason)


@pytest.mark.parametrize(
    ("samples", "memory", "expected"),
    [
        pytest.param(seen(), FULL, FRESH + 45, id="sample-becomes-old"),
        pytest.param(seen(), known(1, clean_for=30), NOW + 30, id="clean-minute-ends"),
        pytest.param(seen(), known(1), FRESH + 45, id="sample-becomes-old-before"),
        pytest.param({**seen("v1", None, None), **seen("v2", None, None)}, FULL, None, id="nothing-to-wait-for"),
    ],
)
def test_when_to_look_again(samples: Samples, memory: RetryMemory, expected: float | None) -> None:
    """A sampler that has died is noticed, and a step up comes when it is due."""
    assert expected == decided(samples, memory).wake_at


@pytest.mark.parametrize(
    ("of", "targets", "expected"),
    [
        pytest.param(adapting(), (target("v1"), target("v2", 0)), {"v1"}, id="without-a-share"),
        pytest.param(adapting(), (target("v1"), target("v2", port=None)), {"v1"}, id="without-a-service"),
        pytest.param(
            dataclasses.replace(adapting(), routes=(Route("pin", (), "v2"),)),
            (target("v1"), target("v2", 0)),
            {"v1", "v2"},
            id="named-by-a-route",
        ),
        pytest.param(
            dataclasses.replace(adapting(), routes=(Route("pin", (), "v3"),)),
            (target("v1"), target("v3", 0)),
            {"v1"},
            id="named-by-a-route-that-nobody-uses",
        ),
    ],
)
def test_backends_that_are_judged(of: ResolvedPolicy, targets: tuple[Target, ...], expected: set[str]) -> None:
    """A backend counts where it gets traffic: by its share, or by a route of its own that somebody uses."""
    found = decide_retries(of, targets, FULL, Look({**seen("v1"), **seen("v2")}, NOW, INTERVAL))

    assert found is not None
    assert expected == {item.backend for item in found.inputs}


@pytest.mark.parametrize(
    ("adaptive", "expected"),
    [
        pytest.param(Adaptive(500, None), {Metric.LATENCY_P99}, id="latency"),
        pytest.param(Adaptive(None, 50), {Metric.FAILURE_PERCENT}, id="failures"),
    ],
)
def test_metrics_that_are_judged(adaptive: Adaptive, expected: set[Metric]) -> None:
    """A metric without a bound says nothing, also where there is none of it."""
    of = policy(retries=retries(attempts=3, adaptive=adaptive))

    assert expected == {item.metric for item in decided(seen(), FULL, of).inputs}


@pytest.mark.parametrize(
    "of", [pytest.param(policy(), id="not-asked-for"), pytest.param(adapting(0), id="no-retries-in-this-cluster")]
)
def test_nothing_is_decided(of: ResolvedPolicy) -> None:
    """Where nothing adapts there is no level."""
    assert decide_retries(of, (target("v1"),), FULL, Look(seen(failing=99.0), NOW, INTERVAL)) is None


def test_what_people_are_told() -> None:
    """The message names who did what, and each input has its value beside the bound."""
    found = decided({**seen(failing=61.26), **seen("v2", failing=80.0)}, FULL)

    assert (
        "v1 fails 61.3 % of its attempts, the bound is 50 %; v2 fails 80.0 % of its attempts, the bound is 50 %"
    ) == found.message
    assert "the P99 of v1 is 812ms, the bound is 500ms" == decided(seen(p99=812.4), FULL).message
    assert "for 60 s every backend was below 80% of the thresholds" == decided(seen(), known(1, clean_for=60)).message
    assert [Finding.FAILING, Finding.CLEAN] == [item.finding for item in found.inputs if item.backend == "v1"]


def test_policy_at_a_level() -> None:
    """With the last retry go the bound of an attempt, which Istio has only beside retries, and hedging."""
    of = dataclasses.replace(adapting(hedge=True), timeouts=Timeouts(60_000, 10_000))
    two, none = decided(seen(p99=900.0), FULL), decided(seen(failing=99.0), FULL)

    assert (2, True, 10_000) == (
        at_level(of, two).retries.attempts,
        at_level(of, two).retries.hedge,
        at_level(of, two).timeouts.per_try,
    )
    assert (0, False, Timeouts(60_000, None)) == (
        at_level(of, none).retries.attempts,
        at_level(of, none).retries.hedge,
        at_level(of, none).timeouts,
    )
    assert of == at_level(of, decided(seen(), FULL)) == at_level(of, None)
    assert () == without_effect(of, two) == without_effect(of, None) == without_effect(adapting(), none)
    assert [("timeouts.perTry", RETRIES_OFF)] == [(b.subject, b.reason) for b in without_effect(of, none)]


def test_stepping_down_and_up() -> None:
    """Samples every 15 s: slow ones take 3 to 1, failing ones to 0, and clean ones give back one each minute."""
    memory, levels = FULL, []
    for tick in range(40):
        now = NOW + tick * INTERVAL
        p99, failing = (900.0 if tick < 4 else 100.0), (80.0 if 4 <= tick < 8 else 0.0)
        found = decided(seen(failing=failing, p99=p99, at=now - 1), memory, now=now)
        memory = RetryMemory(found.level, 3, found.since, found.judged, found.clean_since)
        levels.append(found.level)

    assert [2, 1, 1, 1, 0, 0, 0, 0] == levels[:8]
    ups = [tick for tick, pair in enumerate(pairwise(levels[7:])) if pair[1] > pair[0]]
    assert [CLEAN_SECONDS / INTERVAL * step for step in (1, 2, 3)] == [float(tick) for tick in ups]
    assert 3 == levels[-1]
