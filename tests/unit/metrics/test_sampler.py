"""The sampler: how much is asked, what a failure costs whom, and when it is asked again.

Prometheus is a function here, and time stands still but for the event loop's.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Mapping, Sequence

import pytest

from aigateway.core.observation import Lack, Metric, NoData, Sample
from aigateway.core.signals import Target
from aigateway.metrics import sampler as module
from aigateway.metrics.answers import NoAnswer, Row
from aigateway.metrics.sampler import ANSWERED, Reports, Sampler, Samples, Schedule, shards

NOW = 1000.0
P99, FAILURES, RATE = Metric.LATENCY_P99, Metric.FAILURE_PERCENT, Metric.REQUEST_RATE


def targets(count: int) -> list[Target]:
    """Return so many backends."""
    return [Target("models", f"m{index}", (80,)) for index in range(count)]


def hosts_in(promql: str) -> list[str]:
    """Return the hosts that a query is about."""
    found = re.search(r'destination_service=~"([^"]*)"', promql)
    assert found
    return found[1].replace("\\", "").split("|")


def answer(promql: str) -> Sequence[Row]:
    """Say 7 of every backend."""
    return [{"metric": {"destination_service": host}, "value": [NOW, "7"]} for host in hosts_in(promql)]


class Case:
    """A sampler on a function; ``ticks`` are the samples after each tick, ``results`` what came of each query."""

    def __init__(
        self,
        wanted: Mapping[Metric, int] = {},
        respond: Callable[[str], Sequence[Row]] = answer,
    ) -> None:
        self.respond = respond
        self.wanted = {metric: targets(count) for metric, count in wanted.items()}
        self.asked: list[str] = []
        self.results: list[str] = []
        self.seconds: list[float] = []
        self.ticks: list[Samples] = []
        self.sampler = Sampler(
            self,
            Schedule(15.0, 60, "cluster.local"),
            lambda: self.wanted,
            Reports(self.results.append, self.seconds.append, self.ticks.append),
            clock=lambda: NOW,
        )

    def ask(self, promql: str) -> Sequence[Row]:
        """Answer as the test says."""
        self.asked.append(promql)
        return self.respond(promql)

    def wait(self) -> None:
        """Let so much time pass that the breaker is closed."""
        self.sampler._breaker._until = 0.0

    def tick(self, times: int = 1) -> Samples:
        """Make ticks and return the samples of the last."""

        async def ticks() -> None:
            for _ in range(times):
                await self.sampler.tick()

        asyncio.run(ticks())
        return self.ticks[-1]


def unreachable(_: str) -> Sequence[Row]:
    """Be gone."""
    raise NoAnswer(Lack.UNREACHABLE, "connection refused")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param({}, 0, id="nothing in use"),
        pytest.param({P99: 0}, 0, id="no backend"),
        pytest.param({P99: 1}, 1, id="1 backend"),
        pytest.param({P99: 1, FAILURES: 1}, 2, id="1 backend, 2 metrics"),
        pytest.param({P99: 200, FAILURES: 200}, 2, id="200 backends"),
        pytest.param({P99: 201, FAILURES: 200}, 3, id="201 backends"),
        pytest.param({P99: 2000, FAILURES: 2000}, 20, id="2,000 backends"),
    ],
)
def test_how_much_is_asked(wanted: dict[Metric, int], expected: int) -> None:
    """A tick asks one query for each metric in use and 200 backends, and everybody gets a number."""
    case = Case(wanted)
    samples = case.tick()

    assert expected == len(case.asked)
    assert [ANSWERED] * expected == case.results
    assert sum(wanted.values()) == len(samples)
    assert {Sample(7.0, NOW)} >= set(samples.values())
    assert bool(expected) == bool(case.seconds)


def test_shards_hardly_change() -> None:
    """The order of backends does not depend on who asks, and one more moves one backend of each shard at most."""
    before, after = [set(shard) for shard in shards(targets(600))], [set(shard) for shard in shards(targets(601))]

    assert before == [set(shard) for shard in shards(reversed(targets(600)))]
    assert [200, 200, 200] == [len(shard) for shard in before]
    assert all(len(old - new) <= 1 for old, new in zip(before, after, strict=False))


def test_a_failing_shard_hurts_only_itself() -> None:
    """What one shard lacks, tick after tick, all others have."""
    bad = {f"m{target.service[1:]}.models.svc.cluster.local" for target in next(shards(targets(2000)))}

    def respond(promql: str) -> Sequence[Row]:
        if set(hosts_in(promql)) <= bad:
            raise NoAnswer(Lack.TIMED_OUT, "slow")
        return answer(promql)

    case = Case({P99: 2000}, respond)
    for _ in range(4):
        samples = case.tick()
        missing = {service for (_, service, _), sample in samples.items() if sample == NoData(Lack.TIMED_OUT)}
        assert {host.split(".")[0] for host in bad} == missing
        assert 200 == len(missing)


def test_an_outage_is_not_asked_about_for_long() -> None:
    """Without any answer a tick stops early, the next is left out, and everybody knows why there is nothing."""
    case = Case({P99: 2000}, unreachable)
    samples = case.tick()

    assert {NoData(Lack.UNREACHABLE)} == set(samples.values())
    assert 2000 == len(samples)
    assert 4 <= len(case.asked) < 10

    asked = len(case.asked)
    samples = case.tick()
    assert asked == len(case.asked)
    assert {NoData(Lack.UNREACHABLE)} == set(samples.values())


def test_a_probe_goes_first() -> None:
    """After a failed tick one question shows whether to ask the others; then all is as ever."""
    case = Case({P99: 2000}, unreachable)
    case.tick()
    asked = len(case.asked)
    case.wait()
    case.tick()
    assert asked + 1 == len(case.asked)

    case.respond = answer
    case.wait()
    assert {Sample(7.0, NOW)} == set(case.tick().values())
    assert asked + 1 + 10 == len(case.asked)


def test_what_is_missing_in_an_answer() -> None:
    """A backend that an answer leaves out has no data, and the answer still counts as one."""
    case = Case({P99: 1}, lambda _: [])

    assert {("models", "m0", P99): NoData(Lack.EMPTY)} == case.tick()
    assert [ANSWERED] == case.results


def test_an_answer_of_another_form() -> None:
    """Rows that are none leave their shard without data, for a reason of the closed set."""
    case = Case({P99: 1}, lambda _: [{"metric": {}}])

    assert {("models", "m0", P99): NoData(Lack.NOT_JSON)} == case.tick()
    assert ["NotJSON"] == case.results


def test_it_does_not_block_the_loop() -> None:
    """While Prometheus takes its time, everything else goes on, and never more than four wait for it."""
    going, most = 0, 0
    lock, release = threading.Lock(), threading.Event()

    def respond(promql: str) -> Sequence[Row]:
        nonlocal going, most
        with lock:
            going += 1
            most = max(most, going)
        assert release.wait(10)
        with lock:
            going -= 1
        return answer(promql)

    case = Case({P99: 2000}, respond)

    async def scenario() -> None:
        tick = asyncio.create_task(case.sampler.tick())
        async with asyncio.timeout(10):
            while most < 4:  # noqa: ASYNC110 (threads wake no loop)
                await asyncio.sleep(0.001)
        release.set()
        await tick

    asyncio.run(scenario())
    assert 4 == most


def run_for(case: Case, until: Callable[[], bool]) -> None:
    """Run the sampler until something is so."""

    async def scenario() -> None:
        running = asyncio.create_task(case.sampler.run())
        async with asyncio.timeout(10):
            while not until():  # noqa: ASYNC110 (what a test waits for wakes no loop)
                await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


def test_a_thread_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that not even the adapter cuts off costs its backends a tick, and nobody else."""
    monkeypatch.setattr(module, "_GIVE_UP_SECONDS", 0.05)
    release = threading.Event()

    def respond(promql: str) -> Sequence[Row]:
        if "duration" in promql:
            release.wait(10)
        return answer(promql)

    case = Case({P99: 1, RATE: 1}, respond)
    samples = case.tick()
    release.set()

    assert {("models", "m0", P99): NoData(Lack.TIMED_OUT), ("models", "m0", RATE): Sample(7.0, NOW)} == samples


def test_a_fault_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected failure is logged, and the next tick comes."""
    case = Case({P99: 1}, lambda _: (_ for _ in ()).throw(AssertionError("a fault")))
    case.sampler._schedule = Schedule(0.01, 60, "cluster.local")
    run_for(case, lambda: len(case.asked) > 2)

    assert "failed unexpectedly" in caplog.text


def test_what_comes_to_be_wanted_is_asked_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing is wanted nothing is asked, and the first policy that wants something waits for no interval."""
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.01)
    case = Case()
    run_for(case, lambda: len(case.ticks) > 3)
    assert [] == case.asked

    case = Case()

    def asked() -> bool:
        case.wanted = {P99: targets(1)}
        return bool(case.asked)

    run_for(case, asked)
    assert 1 == len(case.asked)


def test_the_log_tells_changes_only(caplog: pytest.LogCaptureFixture) -> None:
    """An outage is one line at its beginning and one at its end."""
    caplog.set_level("INFO")
    case = Case({P99: 1}, unreachable)
    for respond in (unreachable, unreachable, answer, answer):
        case.respond = respond
        case.wait()
        case.tick()

    assert ["WARNING", "INFO"] == [record.levelname for record in caplog.records]
    assert "connection refused" in caplog.text
