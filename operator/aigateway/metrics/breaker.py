"""Leaves a Prometheus alone that does not answer: the longer it fails, the less often it is asked.

:mod:`aigateway.metrics.sampler` tells it how every tick went.  Time is handed in, in seconds of a clock that only goes
forward.
"""

from __future__ import annotations

from collections.abc import Callable

_FACTOR = 2.0
_MAX_TICKS = 4.0


class Breaker:
    """Open for one interval after a failed tick, for two and for four after more; ``jitter`` gives 0 to 1."""

    def __init__(self, interval: float, jitter: Callable[[], float]) -> None:
        self._interval = interval
        self._jitter = jitter
        self._failures = 0
        self._until = float("-inf")

    @property
    def probing(self) -> bool:
        """Whether the last tick failed, so that one question is to go first."""
        return self._failures > 0

    def is_open(self, now: float) -> bool:
        """Return whether nothing is to be asked now."""
        return now < self._until

    def failed(self, now: float) -> None:
        """Take over that nothing at all was answered."""
        ticks = min(_FACTOR**self._failures, _MAX_TICKS)
        self._failures += 1
        # A little less than whole intervals, or the tick that is meant would come too early by a hair.
        self._until = now + self._interval * (ticks - 0.2 - 0.3 * self._jitter())

    def succeeded(self) -> None:
        """Take over that something was answered."""
        self._failures = 0
        self._until = float("-inf")
