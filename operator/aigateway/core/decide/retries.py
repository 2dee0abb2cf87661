"""How many retries requests get: as many as the policy says, or fewer while its backends are slow or failing.

The level goes from the policy's attempts down to 0.  The first row that holds decides:

| the backends that get traffic                                     | level                           | clean time |
|-------------------------------------------------------------------|---------------------------------|------------|
| one fails ``failure_percent`` of its attempts, or more            | 0, at once                      | ends       |
| one has a P99 above ``latency_above``, in a sample not judged yet | one less at once, but not to 0  | ends       |
| one has such a P99, in a sample that was judged before            | as it is                        | ends       |
| of one there is no sample, or an old one                          | as it is                        | ends       |
| none had a request                                                | as it is                        | ends       |
| all are below :data:`CLEAN_SHARE` of both thresholds, for 60 s    | one more                        | begins anew|
| the same, for less                                                | as it is                        | goes on    |
| otherwise                                                         | as it is                        | ends       |

So missing data never raises the level, a level that is lost in noise stays down, and there is at most one step up a
minute.  A backend without requests is not judged; nor is one that only named routes lead to while nothing is known of
it, since nobody may ever use them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from aigateway.api.reasons import FAILURES_HIGH, LATENCY_HIGH, RECOVERED, RETRIES_OFF, Reason
from aigateway.api.resolved import Adaptive, ResolvedPolicy
from aigateway.core.decision import Because, Finding, Judged, RetryLevel, Target
from aigateway.core.observation import Lack, Metric, NoData, Sample

CLEAN_SECONDS = 60.0
CLEAN_SHARE = 0.8
"""Part of a threshold below which a backend is clean; in between nothing moves."""
STALE_INTERVALS = 3
"""Age of a sample, in sampling intervals, from which on it says nothing about now."""


@dataclass(frozen=True, slots=True)
class Look:
    """What Prometheus said, by Service and metric, as it looks ``now``; it is asked every ``interval`` seconds."""

    samples: Mapping[tuple[str, Metric], Sample | NoData]
    now: float
    interval: float

    @property
    def fresh_for(self) -> float:
        """For how many seconds a sample says something."""
        return STALE_INTERVALS * self.interval

    def at(self, service: str, metric: Metric) -> Sample | NoData:
        """Return a sample that says something, or why there is none."""
        found = self.samples.get((service, metric), NoData(Lack.NOT_ASKED_YET))
        stale = isinstance(found, Sample) and found.at + self.fresh_for <= self.now
        return NoData(Lack.STALE) if stale else found

    def idle(self, service: str) -> bool:
        """Whether a Service is known to get no requests."""
        rate = self.at(service, Metric.REQUEST_RATE)
        return isinstance(rate, Sample) and rate.value == 0


@dataclass(frozen=True, slots=True)
class RetryMemory:
    """What is known from before.

    ``level`` of ``asked``: retries in effect, and what the policy asked for then.  ``judged``: the whole second of the
    newest sample that a step down was made on.  ``clean_since`` is not in the status, since it moves with every
    noise: who forgets it begins a new minute.  ``since``: when the level last moved.
    """

    level: int
    asked: int
    since: float
    judged: int | None = None
    clean_since: float | None = None


def decide_retries(
    policy: ResolvedPolicy, targets: Sequence[Target], memory: RetryMemory, look: Look
) -> RetryLevel | None:
    """Return how many retries are in effect, None where the policy leaves that to nobody."""
    asked, adaptive, now = policy.retries.attempts, policy.retries.adaptive, look.now
    if adaptive is None or asked == 0:
        return None
    inputs = tuple(_judge(policy, adaptive, targets, look))
    before = asked if memory.level >= memory.asked else min(memory.level, asked)
    step = _step(before, inputs, replace(memory, asked=asked), now)
    wakes = [step.clean_since + CLEAN_SECONDS] if step.clean_since is not None and step.level < asked else []
    wakes += [item.at + look.fresh_for for item in inputs if item.at is not None]
    return RetryLevel(
        asked=asked,
        before=before,
        level=step.level,
        reason=step.reason,
        message=step.message,
        since=memory.since if step.reason is None else now,
        judged=step.judged,
        inputs=inputs,
        clean_since=step.clean_since,
        wake_at=min((at for at in wakes if at > now), default=None),
    )


def at_level(policy: ResolvedPolicy, level: RetryLevel | None) -> ResolvedPolicy:
    """Return the policy as it is in effect; without retries there is nothing to hedge, and Istio bounds no attempt."""
    if level is None or level.level == policy.retries.attempts:
        return policy
    changed = replace(policy, retries=replace(policy.retries, attempts=level.level))
    if level.level > 0:
        return changed
    return replace(
        changed, timeouts=replace(policy.timeouts, per_try=None), retries=replace(changed.retries, hedge=False)
    )


def without_effect(policy: ResolvedPolicy, level: RetryLevel | None) -> tuple[Because, ...]:
    """Return what of the policy has no effect at a level."""
    if level is None or level.level > 0 or policy.timeouts.per_try is None:
        return ()
    message = "Istio bounds an attempt only where it may be retried, and now nothing is; timeouts.request still holds"
    return (Because("timeouts.perTry", RETRIES_OFF, message),)


@dataclass(frozen=True, slots=True)
class _Step:
    """Where the level goes; ``reason`` None: it stays."""

    level: int
    judged: int | None
    clean_since: float | None = None
    reason: Reason | None = None
    message: str = ""


def _step(before: int, inputs: Sequence[Judged], memory: RetryMemory, now: float) -> _Step:
    failing = [item for item in inputs if item.finding is Finding.FAILING]
    slow = [item for item in inputs if item.finding is Finding.SLOW]
    if failing:
        return _down(before, 0, failing, FAILURES_HIGH, memory)
    if slow:
        newest = max(_second(item) for item in slow)
        seen = memory.judged is not None and newest <= memory.judged
        return _down(before, before if seen else max(min(before, 1), before - 1), slow, LATENCY_HIGH, memory)
    findings = {item.finding for item in inputs} - {Finding.IDLE}
    if findings != {Finding.CLEAN}:
        return _Step(before, memory.judged)
    return _up(before, memory, now)


def _down(before: int, level: int, worst: Sequence[Judged], reason: Reason, memory: RetryMemory) -> _Step:
    if level == before:
        return _Step(before, memory.judged)
    newest = max(memory.judged or 0, *map(_second, worst))
    return _Step(level, newest, reason=reason, message="; ".join(map(_told, worst)))


def _up(before: int, memory: RetryMemory, now: float) -> _Step:
    """Return one more after a clean minute.  A clock that was set back begins the minute anew."""
    since = memory.clean_since if memory.clean_since is not None and memory.clean_since <= now else now
    if before >= memory.asked or now - since < CLEAN_SECONDS:
        return _Step(before, memory.judged, since)
    message = f"for {CLEAN_SECONDS:.0f} s every backend was below {CLEAN_SHARE:.0%} of the thresholds"
    return _Step(before + 1, memory.judged, now, RECOVERED, message)


def _second(item: Judged) -> int:
    """Return when a sample was taken, as exactly as a status remembers it."""
    return int(item.at or 0)


def _told(item: Judged) -> str:
    if item.finding is Finding.FAILING:
        return f"{item.backend} fails {item.value:.1f} % of its {item.counted}, the bound is {item.threshold} %"
    return f"the P99 of {item.backend} is {item.value:.0f}ms, the bound is {item.threshold}ms"


def _judge(policy: ResolvedPolicy, adaptive: Adaptive, targets: Sequence[Target], look: Look) -> Iterator[Judged]:
    """Yield one entry for each backend that gets traffic and each metric that the policy bounds."""
    bounds = {Metric.FAILURE_PERCENT: adaptive.failure_percent, Metric.LATENCY_P99: adaptive.latency_above}
    pinned = {route.backend for route in policy.routes}
    for target in targets:
        if target.port is None or not (target.weight or target.backend.name in pinned):
            continue
        for metric, bound in bounds.items():
            item = None if bound is None else _judge_one(target, metric, bound, look)
            if item is not None and (target.weight or item.finding is not Finding.NO_DATA):
                yield item


def _judge_one(target: Target, metric: Metric, bound: int, look: Look) -> Judged:
    name, found = target.backend.name, look.at(target.backend.service, metric)
    if isinstance(found, Sample):
        finding = _find(metric, found.value, bound)
        return Judged(name, metric, bound, finding, found.value, found.at, found.counted)
    if look.idle(target.backend.service):
        return Judged(name, metric, bound, Finding.IDLE)
    return Judged(name, metric, bound, Finding.NO_DATA, lack=found.reason)


def _find(metric: Metric, value: float, bound: int) -> Finding:
    if metric is Metric.FAILURE_PERCENT and value >= bound:
        return Finding.FAILING
    if metric is Metric.LATENCY_P99 and value > bound:
        return Finding.SLOW
    return Finding.CLEAN if value < CLEAN_SHARE * bound else Finding.BETWEEN
