"""Observe, reconcile, execute, report: one pass over one policy, and the workers that make passes.

:mod:`aigateway.process` runs it on the caches of :mod:`aigateway.cluster`.  What should be so is decided by
:mod:`aigateway.core`; the engine carries it out in an order that survives being killed between any two writes: what
must be remembered is written to status first, then the children, then the result.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aigateway.api.administrator import Administrator
from aigateway.api.reasons import DEEDS
from aigateway.api.resolved import PolicyKey
from aigateway.cluster.client import ApiError
from aigateway.cluster.events import Recorder
from aigateway.cluster.orphans import remove_orphans
from aigateway.cluster.queue import WorkQueue
from aigateway.cluster.store import Entry
from aigateway.cluster.world import World
from aigateway.cluster.writer import Conflict, Writer, shown
from aigateway.core.decide.contention import REPAIRS
from aigateway.core.observation import ChildRef, Json, Observation
from aigateway.core.outcome import Apply, Outcome, Step, StepResult, Taken
from aigateway.core.reconcile import reconcile
from aigateway.core.status import report, unchanged

log = logging.getLogger(__name__)

FAST_FIELDS = ("replicas",)
FAST_EFFECTIVE_FIELDS = ("rateLimits",)
"""Fields of the status, and of its ``effective``, that move by themselves, the latter with the gateways' proxies.

A status that differs in nothing else waits for its turn; after a start, until the caches have told all they know.
"""
FAST_FIELDS_SECONDS = 10.0
_TAKEN_RETRY_SECONDS = 60.0
_SOON_SECONDS = 0.05
"""A time that has come while the pass was on its way."""


@dataclass(frozen=True, slots=True)
class Next:
    """What is to come for a key: how the pass went, and in how many seconds to look again (None: on a change).

    ``result`` is ``unchanged``, ``changed``, ``failed``, ``conflict``, ``waiting`` (caches not filled) or ``gone``.
    A failed pass is tried again with backoff, after at least ``at_least`` and at most ``at_most`` seconds.
    """

    result: str
    wake_after: float | None = None
    at_least: float = 0.0
    at_most: float = float("inf")


@dataclass(frozen=True, slots=True)
class _Executed:
    """What became of a plan."""

    results: tuple[StepResult, ...] = ()
    retry_after: float = 0.0

    @property
    def failures(self) -> list[StepResult]:
        return [result for result in self.results if result.failure is not None]


class Engine:
    """Makes passes.  ``clock`` gives wall-clock seconds."""

    def __init__(
        self,
        world: World,
        writer: Writer,
        recorder: Recorder,
        administrator: Administrator,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._world = world
        self._writer = writer
        self._recorder = recorder
        self._administrator = administrator
        self._clock = clock
        self._started = clock()
        self._status_written: dict[PolicyKey, float] = {}
        self._repairs: dict[PolicyKey, dict[ChildRef, list[float]]] = {}
        self._clean_since: dict[PolicyKey, float] = {}

    async def reconcile(self, key: PolicyKey) -> Next:
        """Make one pass over a policy."""
        try:
            trouble = await remove_orphans(self._world, self._writer, key)
            policy = self._world.policy(key)
            if policy is not None:
                coming = await self._pass(key, policy) if self._world.complete(key.namespace) else Next("waiting")
            else:
                self._status_written.pop(key, None)
                self._repairs.pop(key, None)
                self._clean_since.pop(key, None)
                coming = Next("gone")
            return coming if trouble is None else Next("failed", coming.wake_after, trouble.retry_after)
        except Conflict as conflict:
            log.debug("policy %s changed during its pass and is looked at again: %s", key, conflict)
            return Next("conflict")
        except ApiError as error:
            log.warning("the status of policy %s was not written, it is tried again: %s", key, shown(str(error)))
            return Next("failed", at_least=error.retry_after or 0.0)

    async def _pass(self, key: PolicyKey, policy: Entry[Json]) -> Next:
        resolved = self._world.index.resolved(key)
        seen = self._world.observe(key, resolved, policy.value.get("status") or {})
        observation = replace(seen, repairs=self._repairs.get(key, {}), clean_since=self._clean_since.get(key))
        outcome = reconcile(resolved, observation, self._administrator, self._clock())
        policy = await self._remember(policy, observation, outcome)
        self._note_clean(key, outcome)
        executed = await self._execute(key, policy.uid, outcome)
        return await self._report(key, policy, observation, outcome, executed)

    async def _remember(self, policy: Entry[Json], observation: Observation, outcome: Outcome) -> Entry[Json]:
        """Write what must survive before any child moves; the rest of the status stays as it is."""
        if outcome.memory is None:
            return policy
        return await self._writer.write_status(policy, {**observation.status, **outcome.memory})

    async def _execute(self, key: PolicyKey, uid: str, outcome: Outcome) -> _Executed:
        """Take the steps in order; a failed required one is the last.

        Raises:
            Conflict: an object has changed since the decision; where nothing depends on it, after the other steps.
        """
        results: list[StepResult] = []
        retry_after = 0.0
        overtaken: Conflict | None = None
        for step in outcome.plan:
            try:
                trouble = await self._writer.take(key, uid, step)
            except Conflict as conflict:
                if step.required:
                    raise
                overtaken = conflict
                continue
            results.append(StepResult(step, trouble.failure if trouble else None))
            if trouble is None:
                self._note_repair(key, step)
            retry_after = max(retry_after, trouble.retry_after if trouble else 0.0)
            if trouble and step.required:
                break
        if overtaken is not None:
            raise overtaken
        return _Executed(tuple(results), retry_after)

    def _note_clean(self, key: PolicyKey, outcome: Outcome) -> None:
        """Remember since when a policy could have more retries; too fast for a status, and safe to forget."""
        level = outcome.decision.retries
        if level is None or level.clean_since is None:
            self._clean_since.pop(key, None)
        else:
            self._clean_since[key] = level.clean_since

    def _note_repair(self, key: PolicyKey, step: Step) -> None:
        """Remember when a child was put back; a try that failed changed nothing that anyone could contend over."""
        if isinstance(step, Apply) and step.drift:
            times = self._repairs.setdefault(key, {}).setdefault(step.ref, [])
            times[:] = [*times[1 - REPAIRS :], self._clock()]

    async def _report(
        self, key: PolicyKey, policy: Entry[Json], observation: Observation, outcome: Outcome, executed: _Executed
    ) -> Next:
        now = self._clock()
        generation = int(policy.value["metadata"].get("generation", 0))
        told = report(generation, outcome, executed.results, observation, now)
        wait = self._status_wait(key, policy.value.get("status") or {}, told.status)
        # What was done is news now; the next pass would no longer know of it if the status cannot be written.
        self._recorder.post(policy, tuple(event for event in told.events if event.reason in DEEDS))
        if wait == 0:
            policy = await self._writer.write_status(policy, told.status)
            self._status_written[key] = now
            log.info("policy %s: %s", key, _summary(told.status))
        self._recorder.post(policy, tuple(event for event in told.events if event.reason not in DEEDS))
        wakes = [wait or None, None if outcome.wake_at is None else max(_SOON_SECONDS, outcome.wake_at - now)]
        return _next(executed, min((at for at in wakes if at is not None), default=None), changed=wait == 0)

    def _status_wait(self, key: PolicyKey, old: Json, new: Json) -> float | None:
        """Return in how many seconds the status is to be written: 0 now, None not at all."""
        if unchanged(old, new):
            return None
        if not unchanged(_slow(old), _slow(new)):
            return 0.0
        since = self._clock() - self._status_written.get(key, self._started)
        return max(0.0, FAST_FIELDS_SECONDS - since) if since >= 0 else FAST_FIELDS_SECONDS


def _slow(status: Json) -> Mapping[str, Any]:
    effective = status.get("effective") or {}
    slow = {name: value for name, value in status.items() if name not in FAST_FIELDS}
    return slow | {"effective": {name: effective[name] for name in effective if name not in FAST_EFFECTIVE_FIELDS}}


def _summary(status: Json) -> str:
    """Say in one line what a status says."""
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    state = "ready" if ready.get("status") == "True" else f"not ready ({ready.get('reason')})"
    return f"{state}, weights {status.get('weights') or 'none'}"


def _next(executed: _Executed, wake_after: float | None, *, changed: bool) -> Next:
    if not executed.failures:
        return Next("changed" if changed or executed.results else "unchanged", wake_after)
    only_taken = all(isinstance(result.failure, Taken) for result in executed.failures)
    at_most = _TAKEN_RETRY_SECONDS if only_taken else float("inf")
    return Next("failed", wake_after, executed.retry_after, at_most)


class Workers:
    """Take keys from the queue and make passes, several at once, but never two over one key.

    ``observe`` is told how each pass went and how many seconds it took.
    """

    def __init__(
        self,
        engine: Engine,
        queue: WorkQueue[PolicyKey],
        concurrency: int,
        observe: Callable[[str, float], None] = lambda *_: None,
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._concurrency = concurrency
        self._observe = observe
        self._busy: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Work until cancelled; a pass in flight when that happens goes on, see :meth:`drain`."""
        free = asyncio.Semaphore(self._concurrency)
        while True:
            await free.acquire()
            try:
                key = await self._queue.get()
            except asyncio.CancelledError:
                free.release()
                raise
            task = asyncio.create_task(self._work(key), name=f"reconcile {key}")
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)
            task.add_done_callback(lambda _: free.release())

    async def drain(self, seconds: float) -> int:
        """Wait for the passes in flight; return how many were cut off after ``seconds``."""
        if not self._busy:
            return 0
        _, late = await asyncio.wait(self._busy, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)

    async def _work(self, key: PolicyKey) -> None:
        started = time.monotonic()
        result = "error"
        try:
            coming = await self._engine.reconcile(key)
            result = coming.result
            self._plan(key, coming)
        except Exception:  # a fault in one pass must not end the work on all other policies
            wait = self._queue.failed(key)
            log.exception("the pass over policy %s failed unexpectedly and is tried again in %.0f s", key, wait)
        finally:
            self._observe(result, time.monotonic() - started)
            self._queue.done(key)

    def _plan(self, key: PolicyKey, coming: Next) -> None:
        if coming.result == "gone":
            self._queue.forget(key)
        elif coming.result in ("failed", "conflict"):
            self._queue.failed(key, coming.at_least, coming.at_most)
        else:
            self._queue.succeeded(key)
        if coming.wake_after is not None:
            # Also beside a backoff: a debounce that ends must not wait for an object that cannot be written.
            self._queue.add_after(key, coming.wake_after)
