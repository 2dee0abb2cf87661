"""Which key is worked on next: coalescing, fair between namespaces, with backoff per key and work for later.

The engine's workers take keys from it; watches and the engine add them.  It knows neither Kubernetes nor policies, and
its :class:`Schedule` is pure: time comes in as an argument.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Key(Hashable, Protocol):
    """A key belongs to a namespace; namespaces take turns."""

    @property
    def namespace(self) -> str:
        """The namespace."""


K = TypeVar("K", bound=Key)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds: the first retry, the longest wait, and how long a failing key ignores being asked for again."""

    first: float = 0.5
    most: float = 300.0
    deaf: float = 5.0


class Schedule(Generic[K]):
    """The state of a work queue.  A key is at most once waiting and at most once in work.

    A key added while it is in work is handed out again after :meth:`done`.  A key that failed is not handed out before
    its backoff, or ``Backoff.deaf`` where that is shorter, has passed: endless noise around a broken object can't
    turn into endless work.  What may be the cure is no noise, see :meth:`renew`.

    Of one namespace at most ``at_once`` keys are in work, so that one whose requests hang leaves room for others.
    """

    def __init__(
        self, backoff: Backoff, jitter: Callable[[], float] = lambda: 1.0, at_once: float = float("inf")
    ) -> None:
        self._backoff = backoff
        self._jitter = jitter
        self._at_once = at_once
        self._waiting: OrderedDict[str, OrderedDict[K, None]] = OrderedDict()
        self._working: set[K] = set()
        self._in_work: Counter[str] = Counter()
        self._again: set[K] = set()
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._deaf_until: dict[K, float] = {}
        self._refused_until: dict[K, float] = {}
        self._renewed: set[K] = set()
        self._count = 0

    def __len__(self) -> int:
        """How many keys are waiting for their turn now (those for later not counted)."""
        return sum(len(keys) for keys in self._waiting.values())

    def add(self, key: K, now: float) -> None:
        """Ask for a key to be worked on."""
        deaf_until = self._deaf_until.get(key, now)
        if deaf_until > now:
            self.add_at(key, deaf_until)
        elif key in self._working:
            self._again.add(key)
        else:
            self._waiting.setdefault(key.namespace, OrderedDict())[key] = None

    def renew(self, key: K) -> None:
        """Take over that what a key failed on may be cured: it is heard at once, and its backoff begins anew.

        The time that the server has asked to be left alone for is kept.
        """
        self._failures.pop(key, None)
        if key in self._working:
            self._renewed.add(key)
        self._deaf_until.pop(key, None)
        if key in self._refused_until:
            self._deaf_until[key] = self._refused_until[key]

    def add_at(self, key: K, when: float) -> None:
        """Ask for a key to be worked on at a time; of several times for one key the earliest counts."""
        if when < self._due.get(key, float("inf")):
            self._due[key] = when
            self._count += 1
            heapq.heappush(self._later, (when, self._count, key))

    def take(self, now: float) -> K | None:
        """Hand out the next key, None if there is none now.  Every key taken needs :meth:`done`."""
        self._ripen(now)
        namespace = next((name for name in self._waiting if self._in_work[name] < self._at_once), None)
        if namespace is None:
            return None
        keys = self._waiting.pop(namespace)
        key, _ = keys.popitem(last=False)
        if keys:
            self._waiting[namespace] = keys  # to the end of the line
        self._working.add(key)
        self._in_work[namespace] += 1
        self._due.pop(key, None)
        return key

    def done(self, key: K, now: float) -> None:
        """Give a key back; if it was asked for meanwhile, it waits again."""
        self._working.discard(key)
        self._in_work[key.namespace] -= 1
        if not self._in_work[key.namespace]:
            del self._in_work[key.namespace]
        if key in self._renewed:
            self._renewed.discard(key)
            self.renew(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key, now)

    def failed(self, key: K, now: float, at_least: float = 0.0, at_most: float = float("inf")) -> float:
        """Ask for another try after the key's backoff, which doubles each time; return the wait in seconds."""
        failures = self._failures.get(key, 0)
        wait: float = min(self._backoff.first * 2.0 ** min(failures, 32), self._backoff.most, at_most) * self._jitter()
        wait = max(wait, at_least)
        self._failures[key] = failures + 1
        self._refused_until[key] = now + at_least
        self._deaf_until[key] = now + max(at_least, min(wait, self._backoff.deaf))
        self.add_at(key, now + wait)
        return wait

    def succeeded(self, key: K) -> None:
        """Forget earlier failures of a key."""
        self._failures.pop(key, None)
        self._deaf_until.pop(key, None)
        self._refused_until.pop(key, None)

    def forget(self, key: K) -> None:
        """Drop everything planned for a key that is no more."""
        self.succeeded(key)
        self._due.pop(key, None)
        self._again.discard(key)
        self._renewed.discard(key)
        keys = self._waiting.get(key.namespace, OrderedDict())
        keys.pop(key, None)
        if not keys:
            self._waiting.pop(key.namespace, None)

    def next_at(self) -> float | None:
        """Return when the next key for later is due, None if there is none."""
        while self._later and self._due.get(self._later[0][2]) != self._later[0][0]:
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    def _ripen(self, now: float) -> None:
        while (due := self.next_at()) is not None and due <= now:
            _, _, key = heapq.heappop(self._later)
            del self._due[key]
            self.add(key, now)


class WorkQueue(Generic[K]):
    """A :class:`Schedule` on the clock of the running event loop, to wait on.  Not safe to use from other threads."""

    def __init__(self, backoff: Backoff | None = None, at_once: float = float("inf")) -> None:
        self._loop = asyncio.get_running_loop()
        self._schedule: Schedule[K] = Schedule(backoff or Backoff(), lambda: random.uniform(0.75, 1.0), at_once)  # noqa: S311
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._schedule)

    def add(self, key: K) -> None:
        """Ask for a key to be worked on."""
        self._schedule.add(key, self._loop.time())
        self._news.set()

    def renew(self, key: K) -> None:
        """Take over that what a key failed on may be cured; adding it is the caller's."""
        self._schedule.renew(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for a key to be worked on after a while."""
        self._schedule.add_at(key, self._loop.time() + max(0.0, seconds))
        self._news.set()

    def failed(self, key: K, at_least: float = 0.0, at_most: float = float("inf")) -> float:
        """Ask for another try with backoff; return the wait in seconds."""
        self._news.set()
        return self._schedule.failed(key, self._loop.time(), at_least, at_most)

    def succeeded(self, key: K) -> None:
        """Forget earlier failures of a key."""
        self._schedule.succeeded(key)

    def forget(self, key: K) -> None:
        """Drop everything planned for a key that is no more."""
        self._schedule.forget(key)

    def done(self, key: K) -> None:
        """Give back a key from :meth:`get`."""
        self._schedule.done(key, self._loop.time())
        self._news.set()

    async def get(self) -> K:
        """Wait for the next key and take it."""
        while True:
            key = self._schedule.take(self._loop.time())
            if key is not None:
                return key
            self._news.clear()
            await self._wait()

    async def _wait(self) -> None:
        due = self._schedule.next_at()
        timeout = None if due is None else max(0.0, due - self._loop.time())
        try:
            async with asyncio.timeout(timeout):
                await self._news.wait()
        except TimeoutError:
            return
