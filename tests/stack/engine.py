"""A model engine as far as queues are concerned: it works on so many requests at once, and the others wait in line.

:mod:`tests.stack.backend` has one for each address that a test gives ``slots``.  It knows neither HTTP nor who asks.
"""

from __future__ import annotations

import asyncio
import heapq
import time


class Engine:
    """``slots`` requests at once, first come first served: a capacity of ``slots`` / seconds of work each.

    The capacity is exact also where the process is late now and then: work that waited counts from when its slot was
    free, not from when the event loop got to it.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.waiting = 0
        """How many requests are in line or worked on, those that nobody waits for included."""
        self._slot = asyncio.Semaphore(slots)
        self._free_since = [0.0] * slots
        self._runs = asyncio.Event()
        self._runs.set()
        self._resumed = 0.0

    def stall(self, stalled: bool) -> None:
        """Begin nothing more, or go on; what stands in line stays there."""
        if stalled:
            self._runs.clear()
        elif not self._runs.is_set():
            self._resumed = time.monotonic()
            self._runs.set()

    async def work(self, seconds: float) -> None:
        """Return when a request that comes now has been worked on; cancelling gives its place or slot to the next."""
        arrived = time.monotonic()
        self.waiting += 1
        try:
            async with self._slot:
                await self._runs.wait()
                await self._use(max(heapq.heappop(self._free_since), arrived, self._resumed) + seconds)
        finally:
            self.waiting -= 1

    async def _use(self, until: float) -> None:
        try:
            await asyncio.sleep(max(0.0, until - time.monotonic()))
        finally:
            heapq.heappush(self._free_since, min(until, time.monotonic()))
