"""What holds for adaptive retries whatever Prometheus says, and whenever."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.api.reasons import AS_SPECIFIED
from aigateway.api.resolved import Adaptive
from aigateway.core.decide.retries import CLEAN_SECONDS, Look, RetryMemory, decide_retries
from aigateway.core.decision import RetryLevel, Target
from aigateway.core.observation import Lack, Metric, NoData, Observation, Sample
from aigateway.core.outcome import Apply, StepResult
from aigateway.core.reconcile import reconcile
from aigateway.core.status import report, unchanged
from tests.resolved import ADMINISTRATOR, NOW, as_child, backend, observed, policy, retries

INTERVAL = 15.0
ATTEMPTS = 3
POLICY = policy(
    backends=(backend("v1"),),
    retries=retries(attempts=ATTEMPTS, adaptive=Adaptive(latency_above=500, failure_percent=50)),
)
TARGETS = (Target(POLICY.backends[0], 80, available=True, weight=100, reason=AS_SPECIFIED),)
Found = Sample | NoData
Said = tuple[Found, Found]
"""The share of failures and the P99 of the only backend."""


def times() -> st.SearchStrategy[float]:
    """Return when Prometheus evaluated something, often just now."""
    return st.one_of(st.just(NOW - 1), st.floats(NOW - 120, NOW + 120))


def found(most: float) -> st.SearchStrategy[Found]:
    """Return a sample, mostly, or why there is none."""
    lack = st.sampled_from(Lack).map(NoData)
    return st.one_of(
        st.builds(Sample, st.floats(0, most), times()), st.builds(Sample, st.floats(0, most), times()), lack
    )


def said() -> st.SearchStrategy[Said]:
    """Return what Prometheus says."""
    return st.tuples(found(100), found(2000))


@st.composite
def memories(draw: st.DrawFn) -> RetryMemory:
    """Return what may be known from before."""
    level = draw(st.integers(0, ATTEMPTS))
    judged = draw(st.one_of(st.none(), times().map(int)))
    return RetryMemory(level, ATTEMPTS, NOW - 600, judged, draw(st.one_of(st.none(), times())))


def decided(what: Said, memory: RetryMemory, now: float = NOW) -> RetryLevel:
    """Return the decision."""
    samples = {("model-v1", Metric.FAILURE_PERCENT): what[0], ("model-v1", Metric.LATENCY_P99): what[1]}
    level = decide_retries(POLICY, TARGETS, memory, Look(samples, now, INTERVAL))
    assert level is not None
    return level


def run(values: Sequence[tuple[Found, Found]], step: float = INTERVAL) -> list[tuple[float, int]]:
    """Return time and level after each look, one every ``step`` seconds from a policy with all its retries."""
    memory, levels = RetryMemory(ATTEMPTS, ATTEMPTS, NOW), []
    for number, what in enumerate(values):
        now = NOW + number * step
        level = decided(what, memory, now)
        memory = RetryMemory(level.level, ATTEMPTS, level.since, level.judged, level.clean_since)
        levels.append((now, level.level))
    return levels


@given(said(), memories())
def test_the_level_is_between_nothing_and_all(what: Said, memory: RetryMemory) -> None:
    """There are never more retries than asked for, nor one more than one step up; a move has a reason."""
    level = decided(what, memory)

    assert 0 <= level.level <= min(ATTEMPTS, memory.level + 1)
    assert (level.level == memory.level) == (level.reason is None)


@given(said(), st.integers(0, 1), st.sampled_from(Lack), memories())
def test_no_data_never_raises(what: Said, index: int, lack: Lack, memory: RetryMemory) -> None:
    """Without one of the two metrics there are no more retries than before, and no minute goes on."""
    level = decided((NoData(lack), what[1]) if index == 0 else (what[0], NoData(lack)), memory)

    assert level.level <= memory.level
    assert level.clean_since is None


@given(said(), memories(), st.floats(45, 86_400))
def test_old_data_moves_nothing(what: Said, memory: RetryMemory, age: float) -> None:
    """What Prometheus said three intervals ago neither lowers nor raises."""
    old = (dataclasses.replace(item, at=NOW - age) if isinstance(item, Sample) else item for item in what)
    failing, p99 = old

    assert memory.level == decided((failing, p99), memory).level


@given(st.floats(0, 100), st.floats(0, 100), found(2000), memories())
def test_more_failures_never_mean_more_retries(one: float, other: float, p99: Found, memory: RetryMemory) -> None:
    """The level falls or stays as the share of failures rises."""
    few, many = sorted((one, other))

    assert decided((Sample(many, NOW), p99), memory).level <= decided((Sample(few, NOW), p99), memory).level


def at(item: Found, after: float) -> Found:
    """Return what Prometheus says as said so many seconds after the begin."""
    return dataclasses.replace(item, at=NOW + after) if isinstance(item, Sample) else item


@given(st.lists(said(), max_size=60), st.sampled_from((2.0, 15.0, 40.0)))
def test_one_step_up_a_minute(values: list[Said], step: float) -> None:
    """Whatever the samples do, steps up are single and a minute apart."""
    levels = run([(at(what[0], number * step), at(what[1], number * step)) for number, what in enumerate(values)], step)
    ups = [(after[0], after[1] - before[1]) for before, after in pairwise(levels) if after[1] > before[1]]

    assert all(height == 1 for _, height in ups)
    assert all(later[0] - earlier[0] >= CLEAN_SECONDS for earlier, later in pairwise(ups))


@given(st.lists(st.floats(0.8, 1.2), min_size=1, max_size=80))
def test_noise_around_the_bound_does_not_swing(noise: list[float]) -> None:
    """A share of failures that dances around the bound takes the retries away once, and for good."""
    values = [
        (Sample(50 * factor, NOW + number * INTERVAL), Sample(100.0, NOW + number * INTERVAL))
        for number, factor in enumerate(noise)
    ]
    levels = [level for _, level in run(values)]

    assert sorted(levels, reverse=True) == levels


@given(st.floats(0, 100), st.floats(0, 2000))
@settings(max_examples=25)
def test_a_world_that_stays_is_written_once(failing: float, p99: float) -> None:
    """With the same numbers for ever, levels come to rest, and from then on nothing is written."""
    world, quiet = observed(POLICY), 0
    for number in range(40):
        now = NOW + number * INTERVAL
        world, wrote = looked(world, now, failing, p99)
        quiet = 0 if wrote else quiet + 1

    assert quiet >= 20


def looked(world: Observation, now: float, failing: float, p99: float) -> tuple[Observation, bool]:
    """Return the world after a pass with these numbers, and whether anything was written."""
    samples = {
        ("model-v1", Metric.FAILURE_PERCENT): Sample(failing, now - 1),
        ("model-v1", Metric.LATENCY_P99): Sample(p99, now - 1),
    }
    world = dataclasses.replace(world, samples=samples)
    outcome = reconcile(POLICY, world, ADMINISTRATOR, now)
    told = report(1, outcome, tuple(StepResult(step, None) for step in outcome.plan), world, now)
    wrote = bool(outcome.plan or outcome.memory or told.events) or not unchanged(world.status, told.status)
    children = dict(as_child(dict(step.body)) for step in outcome.plan if isinstance(step, Apply))
    level = outcome.decision.retries
    clean = level.clean_since if level else None
    return (
        dataclasses.replace(world, status=told.status, children={**world.children, **children}, clean_since=clean),
        wrote,
    )
