"""What the attempts of requests did, with the waits between them, which the gateway does not log.

Fields have the names that they have in the gateway's log, also in ``-o json``, so that one query fits both.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from aigateway.cli.gateway_log import AttemptLine, Line
from aigateway.cli.joining import HELD_LINES, Joined


class Logged(StrEnum):
    """Which lines of a request there are: what is not there is still to come, was not logged, or is cut off."""

    BOTH = "both"
    REQUEST = "request"
    ATTEMPTS = "attempts"


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One attempt; ``attempt`` counts from 1 and may be unknown in a damaged line.

    ``backoff_delay`` is in milliseconds from the end of the attempt before to the begin of this one; None for the
    first, where there is no line of the one before, and where that one was still under way (hedging).
    """

    attempt: int | None
    time: str | None
    host: str | None
    status: int | None
    error_type: str | None
    backoff_delay: int | None
    duration_ms: int | None


@dataclass(frozen=True, slots=True)
class RequestView:
    """One request; without a line of its own it has the time of its first attempt and as many retries as are seen.

    ``missing_attempts`` are those that have no line although others have: the log is cut.
    """

    time: str | None
    request_id: str | None
    trace_id: str | None
    policy: str
    route: str | None
    method: str | None
    path: str | None
    status: int | None
    retry_count: int | None
    error_type: str | None
    duration_ms: int | None
    logged: Logged
    missing_attempts: tuple[int, ...]
    attempts: tuple[AttemptView, ...]

    @property
    def retried(self) -> bool:
        """Whether there was a second attempt."""
        return bool(self.retry_count)

    @property
    def failed(self) -> bool:
        """Whether the client got an error; without a line of the request, whether its last known attempt failed."""
        return bool(self.error_type if self.logged is not Logged.ATTEMPTS else self.attempts[-1].error_type)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which requests are meant; None: all of them."""

    policy: str | None = None
    trace_id: str | None = None
    request_id: str | None = None
    retried: bool = False
    failed: bool = False

    def line(self, line: Line) -> bool:
        """Return whether a line can be of such a request: what all its lines say alike."""
        return self.policy in (None, line.policy) and self.request_id in (None, line.request_id)

    def request(self, view: RequestView) -> bool:
        """Return whether it is such a request; with both ``retried`` and ``failed``, one of them is enough."""
        if self.trace_id not in (None, view.trace_id):
            return False
        any_will_do = not (self.retried or self.failed)
        return any_will_do or (self.retried and view.retried) or (self.failed and view.failed)


def request_view(joined: Joined) -> RequestView:
    """Return the view of a request, whatever there is of it."""
    request, attempts = joined.request, _attempts(joined.attempts)
    first: Line = request or joined.attempts[0]
    known = [attempt.attempt for attempt in attempts if attempt.attempt is not None]
    retries = request.retry_count if request else None
    retries = max(known, default=1) - 1 if retries is None and known else retries
    return RequestView(
        time=first.time,
        request_id=first.request_id,
        trace_id=first.trace_id,
        policy=first.policy,
        route=first.route,
        method=request.method if request else None,
        path=request.path if request else None,
        status=request.status if request else None,
        retry_count=retries,
        error_type=request.error_type if request else None,
        duration_ms=request.duration_ms if request else None,
        logged=Logged.ATTEMPTS if not request else Logged.BOTH if attempts else Logged.REQUEST,
        missing_attempts=_missing(known, retries),
        attempts=attempts,
    )


def by_time(views: Iterable[RequestView], most: int = HELD_LINES) -> Iterator[RequestView]:
    """Yield requests by their time, those without one first.

    No more than ``most`` lines are held: what comes later than that many others is not sorted in before them.
    """
    heap: list[tuple[str, str, int, RequestView]] = []
    held, number = 0, count()
    for view in views:
        heapq.heappush(heap, (view.time or "", view.request_id or "", next(number), view))
        held += 1 + len(view.attempts)
        while held > most:
            first = heapq.heappop(heap)[-1]
            held -= 1 + len(first.attempts)
            yield first
    while heap:
        yield heapq.heappop(heap)[-1]


def _attempts(lines: Sequence[AttemptLine]) -> tuple[AttemptView, ...]:
    numbers = _numbers(lines)
    by_number = dict(zip(numbers, lines, strict=True))
    views = [
        AttemptView(
            attempt=number,
            time=line.time,
            host=line.host,
            status=line.status,
            error_type=line.error_type,
            backoff_delay=_wait(by_number.get(number - 1), line) if number is not None else None,
            duration_ms=line.duration_ms,
        )
        for number, line in zip(numbers, lines, strict=True)
    ]
    return tuple(sorted(views, key=lambda view: view.attempt or 0))


def _numbers(lines: Sequence[AttemptLine]) -> list[int | None]:
    """Return the attempts' numbers.

    While a hedged attempt goes on, the next one counts up the number that both of them log.  Where all of them are
    there, which the last number tells, they are numbered by their begin instead.
    """
    logged = [line.attempt for line in lines]
    known = {number for number in logged if number is not None}
    whole = max(known, default=len(logged)) == len(logged)
    return list(range(1, len(logged) + 1)) if whole and len(known) < len(logged) else logged


def _wait(before: AttemptLine | None, after: AttemptLine) -> int | None:
    if before is None or after.began is None:
        return None
    end = before.ended
    if end is None and before.began is not None and before.duration_ms is not None:
        end = before.began + before.duration_ms
    return after.began - end if end is not None and after.began >= end else None


def _missing(known: Sequence[int], retries: int | None) -> tuple[int, ...]:
    if not known or retries is None:
        return ()
    most = min(retries, 100)  # a damaged line may name any number
    return tuple(number for number in range(1, most + 2) if number not in known)
