"""The one task that asks Prometheus: at every tick each metric in use, for all backends at once, in shards.

:mod:`aigateway.process` runs it on the leader.  It decides nothing and knows no policy: it is told what is wanted and
hands over what there is.  A shard that fails hurts only its own backends; a Prometheus that fails altogether is asked
less often.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from aigateway.core.observation import Lack, Metric, NoData, Sample
from aigateway.core.signals import Target
from aigateway.metrics.answers import NoAnswer, Row, read
from aigateway.metrics.breaker import Breaker
from aigateway.metrics.queries import host_of, query

log = logging.getLogger(__name__)

SHARD = 200
"""How many backends one query is about."""
ANSWERED = "Answered"
_AT_ONCE = 4
_ONE = 1
_GIVE_UP_SECONDS = 15.0
"""A last resort: a thread that hangs longer is left behind."""
_IDLE_SECONDS = 1.0
_JITTER = 0.1
_INTERVALS_TO_STALE = 3

Samples = Mapping[tuple[str, str, Metric], Sample | NoData]
"""What there is by namespace, Service and metric."""
Wanted = Mapping[Metric, Iterable[Target]]


class Source(Protocol):
    """What can be asked; see :class:`aigateway.metrics.prometheus.Prometheus`."""

    def ask(self, promql: str) -> Sequence[Row]:
        """Return the rows of an instant query."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often is asked, and over which range rates are taken, in seconds."""

    interval: float
    window: int
    cluster_domain: str


@dataclass(frozen=True, slots=True)
class Reports:
    """Whom the sampler tells: each query's result, each tick's seconds, and all samples after each tick."""

    queried: Callable[[str], None]
    ticked: Callable[[float], None]
    sampled: Callable[[Samples], None]


@dataclass(frozen=True, slots=True)
class Question:
    """One query: a metric of the backends of one shard."""

    metric: Metric
    targets: tuple[Target, ...]

    def without(self, lack: Lack) -> Samples:
        """Return that there is nothing of any of them."""
        return {(target.namespace, target.service, self.metric): NoData(lack) for target in self.targets}


class Sampler:
    """Asks ``source`` for what ``wanted`` says at each tick; nothing where that is nothing."""

    def __init__(
        self,
        source: Source,
        schedule: Schedule,
        wanted: Callable[[], Wanted],
        reports: Reports,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._schedule = schedule
        self._wanted = wanted
        self._reports = reports
        self._clock = clock
        self._breaker = Breaker(schedule.interval, random.random)
        self._threads = ThreadPoolExecutor(_AT_ONCE, "prometheus")
        self._turn = 0
        self._last = _Look(_AT_ONCE)

    async def run(self) -> None:
        """Tick until cancelled."""
        try:
            while True:
                pause = await self._tick_safely()
                await asyncio.sleep(pause)
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _tick_safely(self) -> float:
        """Make one tick and return the seconds until the next.  A fault in it ages the samples and ends nothing."""
        started = time.monotonic()
        try:
            asked = await self.tick()
        except Exception:
            log.exception("a look at Prometheus failed unexpectedly; what it showed before gets old")
            asked = True
        if not asked:
            return min(_IDLE_SECONDS, self._schedule.interval)
        interval = self._schedule.interval * (1 + _JITTER * (random.random() - 0.5))  # noqa: S311 (no secret)
        return max(0.0, interval - (time.monotonic() - started))

    async def tick(self) -> bool:
        """Ask for everything that is wanted now; return whether there was anything."""
        started = time.monotonic()
        questions = list(self._questions())
        samples: dict[tuple[str, str, Metric], Sample | NoData] = {}
        for answer in await self._ask_all(questions):
            samples |= answer
        self._reports.sampled(samples)
        if questions:
            self._reports.ticked(time.monotonic() - started)
        return bool(questions)

    def _questions(self) -> Iterator[Question]:
        for metric, targets in self._wanted().items():
            yield from (Question(metric, shard) for shard in shards(targets))

    async def _ask_all(self, questions: Sequence[Question]) -> list[Samples]:
        """Ask all questions, or none while the breaker is open."""
        if not questions:
            return []
        if self._breaker.is_open(time.monotonic()):
            return [question.without(self._last.lack) for question in questions]
        look = _Look(_ONE if self._breaker.probing else _AT_ONCE)
        self._turn += 1
        first = self._turn % len(questions)  # so that a bad shard is not the probe for ever
        answers = await asyncio.gather(*(self._ask(each, look) for each in (*questions[first:], *questions[:first])))
        self._close(look)
        return answers

    async def _ask(self, question: Question, look: _Look) -> Samples:
        """Ask one question, unless there is no hope of an answer any more."""
        async with look.slots:
            if look.hopeless:
                return question.without(look.lack)
            try:
                rows = await self._rows(question)
                samples = self._read(question, rows)
            except NoAnswer as finding:
                self._reports.queried(finding.lack)
                look.failed(finding)
                return question.without(finding.lack)
        self._reports.queried(ANSWERED)
        look.answered += 1
        return samples

    async def _rows(self, question: Question) -> Sequence[Row]:
        schedule = self._schedule
        promql = query(question.metric, question.targets, schedule.window, schedule.cluster_domain)
        asking = asyncio.get_running_loop().run_in_executor(self._threads, self._source.ask, promql)
        try:
            async with asyncio.timeout(_GIVE_UP_SECONDS):
                return await asking
        except TimeoutError as error:
            raise NoAnswer(Lack.TIMED_OUT, f"not even cut off after {_GIVE_UP_SECONDS:g} s") from error

    def _read(self, question: Question, rows: Sequence[Row]) -> Samples:
        hosts = {host_of(target, self._schedule.cluster_domain): target for target in question.targets}
        found = read(rows, hosts, self._clock(), _INTERVALS_TO_STALE * self._schedule.interval)
        return {(hosts[host].namespace, hosts[host].service, question.metric): found[host] for host in found}

    def _close(self, look: _Look) -> None:
        """Take over how a look went, and log when that is news."""
        if look.answered:
            self._breaker.succeeded()
        else:
            self._breaker.failed(time.monotonic())
        if look.finding and look.finding != self._last.finding:
            log.warning("no usable answer of Prometheus (%s), what depends on it holds: %s", look.finding, look.text)
        elif self._last.finding and not look.finding:
            log.info("Prometheus answers everything again")
        self._last = look


class _Look:
    """How one tick goes.  With ``at_once`` failures and no answer there is no hope; with 1, the first is a probe."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self.slots = asyncio.Semaphore(at_once)
        self.answered = 0
        self._failures = 0
        self.finding: Lack | None = None
        self.text = ""

    @property
    def lack(self) -> Lack:
        """Why there is nothing of what was not asked."""
        return self.finding or Lack.UNREACHABLE

    @property
    def hopeless(self) -> bool:
        """Whether nothing more is to be asked."""
        return self._failures >= self._at_once and not self.answered

    def failed(self, finding: NoAnswer) -> None:
        """Take over that a question was not answered."""
        self._failures += 1
        self.finding, self.text = finding.lack, str(finding)


def shards(targets: Iterable[Target]) -> Iterator[tuple[Target, ...]]:
    """Yield the targets by at most :data:`SHARD`, in an order that one more or less hardly changes."""
    ordered = sorted(targets, key=lambda target: blake2b(f"{target.namespace}/{target.service}".encode()).digest())
    for start in range(0, len(ordered), SHARD):
        yield tuple(ordered[start : start + SHARD])
