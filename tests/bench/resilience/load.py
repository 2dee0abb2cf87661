"""The clients of the benchmark: a rate that waits for nobody, and a number of clients that each wait for their answer.

Every figure sends its requests through here, so that each side of a comparison gets the same load.  It judges nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import operator
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import aiohttp

OK = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one request of a client came to; times in seconds, ``sent`` on the machine's monotonic clock."""

    sent: float
    seconds: float
    status: int
    """The HTTP status; 0 where the client gave up or its connection broke."""

    @property
    def ended(self) -> float:
        """When the answer was there, or the client gave up."""
        return self.sent + self.seconds


@dataclass(frozen=True)
class Client:
    """Sends POSTs for one host through a proxy, each with headers of its own."""

    url: str
    host: str
    headers: Callable[[], Mapping[str, str]] = dict
    patience: float = 30
    """Seconds after which the client gives up and closes its connection."""

    async def open_loop(self, rate: float, seconds: float) -> list[Outcome]:
        """Send ``rate`` requests a second for so long, however many are unanswered."""
        async with self._session() as session:
            began, asked = time.monotonic(), []
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                asked.append(asyncio.create_task(self._ask(session)))
            return await asyncio.gather(*asked)  # in the order in which they were sent

    async def closed_loop(self, clients: int, requests: int) -> list[Outcome]:
        """Send so many requests in all, ``clients`` at any time."""
        turns: Iterator[int] = iter(range(requests))

        async def one(session: aiohttp.ClientSession) -> list[Outcome]:
            return [await self._ask(session) for _ in turns]

        async with self._session() as session:
            parts = await asyncio.gather(*(one(session) for _ in range(clients)))
        return sorted(itertools.chain.from_iterable(parts), key=operator.attrgetter("sent"))

    def _session(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(self.patience)
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)

    async def _ask(self, session: aiohttp.ClientSession) -> Outcome:
        began = time.monotonic()
        try:
            headers = {"Host": self.host, **self.headers()}
            async with session.post(self.url, headers=headers, data=b"{}") as answer:
                await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError):
            status = 0
        return Outcome(began, time.monotonic() - began, status)


def share_ok(outcomes: list[Outcome]) -> float:
    """Return the share of requests that were answered with 200."""
    return sum(outcome.status == OK for outcome in outcomes) / len(outcomes)
