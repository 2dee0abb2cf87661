"""From lines of a gateway's log, in any order, to requests with their attempts.  Nothing is read or printed here.

:mod:`aigateway.cli.retries` puts lines in and takes requests out as soon as they are whole, so that a log of any length
needs the memory of the requests in flight.  What is whole: a request line names its retries, so it is known how many
attempts there should be.  There may be fewer for ever: what the gateway answers by itself has none, with
``accessLog: Requests`` nothing has, and logs are cut.  Such requests stay until the end, or until there are too many.

Lines belong together by policy, route and request id.  An id is unique only as far as clients let it be, so an attempt
must have begun while its request was under way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from aigateway.cli.gateway_log import AttemptLine, RequestLine

HELD_LINES = 100_000
"""As many lines wait for others that belong to them, which needs about 100 MB; beyond, the oldest go as they are."""

_LINES_OF_ONE = 100
"""As many lines wait under one id: policies allow eleven attempts."""

_ROUNDING = 2
"""Milliseconds: begin and duration of a request are both rounded down."""

_Key = tuple[str, str | None, str]


@dataclass(frozen=True, slots=True)
class Joined:
    """A request and its attempts by their begin; ``request`` is None as long as there is no line of it."""

    request: RequestLine | None
    attempts: tuple[AttemptLine, ...] = ()


@dataclass(slots=True)
class _Pending:
    """Lines under one id that are not a whole request."""

    requests: list[RequestLine] = field(default_factory=list)
    attempts: list[AttemptLine] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.requests) + len(self.attempts)

    def add(self, line: RequestLine | AttemptLine) -> None:
        """Take a line in."""
        if isinstance(line, RequestLine):
            self.requests.append(line)
        else:
            self.attempts.append(line)

    def take_whole(self) -> Iterator[Joined]:
        """Take out each request of which all attempts are there."""
        for request in tuple(self.requests):
            if request.retry_count is not None and len(_within(request, self.attempts)) > request.retry_count:
                yield self._take(request)

    def take_all(self) -> Iterator[Joined]:
        """Take out what is there: requests with what attempts they have, and attempts without a request."""
        for request in sorted(self.requests, key=lambda request: (request.began or 0, request.time or "")):
            yield self._take(request)
        if self.attempts:
            yield Joined(None, tuple(_by_begin(self.attempts)))

    def _take(self, request: RequestLine) -> Joined:
        count = None if request.retry_count is None else request.retry_count + 1
        own = tuple(_within(request, self.attempts)[:count])
        self.requests.remove(request)
        for attempt in own:
            self.attempts.remove(attempt)
        return Joined(request, own)


class Joiner:
    """Takes lines in, gives requests out, and holds no more than ``most`` lines."""

    def __init__(self, most: int = HELD_LINES) -> None:
        self.given_up = 0
        """Requests that were given out as they were to make room for others."""
        self._most = most
        self._held = 0
        self._open: OrderedDict[_Key, _Pending] = OrderedDict()  # a dict is slow to say which of many came first

    def join(self, lines: Iterable[RequestLine | AttemptLine]) -> Iterator[Joined]:
        """Yield each request once it is whole, and at the end of the lines what is left."""
        for line in lines:
            yield from self._add(line)
        for key in tuple(self._open):
            yield from self._pop(key)

    def _add(self, line: RequestLine | AttemptLine) -> Iterator[Joined]:
        if line.request_id is None:
            yield Joined(line) if isinstance(line, RequestLine) else Joined(None, (line,))
            return
        key = (line.policy, line.route, line.request_id)
        pending = self._open.setdefault(key, _Pending())
        before = len(pending)
        pending.add(line)
        yield from pending.take_whole()
        self._held += len(pending) - before
        if not len(pending):
            del self._open[key]
        elif len(pending) > _LINES_OF_ONE:
            yield from self._give_up(key)
        while self._held > self._most:
            yield from self._give_up(next(iter(self._open)))

    def _give_up(self, key: _Key) -> Iterator[Joined]:
        for joined in self._pop(key):
            self.given_up += 1
            yield joined

    def _pop(self, key: _Key) -> Iterator[Joined]:
        pending = self._open.pop(key)
        self._held -= len(pending)
        yield from pending.take_all()


def _within(request: RequestLine, attempts: Iterable[AttemptLine]) -> list[AttemptLine]:
    return _by_begin(attempt for attempt in attempts if _began_during(request, attempt))


def _began_during(request: RequestLine, attempt: AttemptLine) -> bool:
    if request.began is None or attempt.began is None:
        return True
    if request.duration_ms is None:
        return request.began <= attempt.began
    return request.began <= attempt.began <= request.began + request.duration_ms + _ROUNDING


def _by_begin(attempts: Iterable[AttemptLine]) -> list[AttemptLine]:
    return sorted(attempts, key=lambda line: (line.began or 0, line.attempt or 0, line.ended or 0, line.host or ""))
