"""Requests through a proxy of the stack, and what came back.

Tests, the demo and benchmarks use it: a counted number as fast as asked, or a steady rate in the background.  It sends
to addresses in the namespace only, and leaves every judgement to the caller.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import io
import json
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp


@dataclass(frozen=True)
class Answer:
    """One request's outcome."""

    status: int
    """The HTTP status; 0 where none came."""
    seconds: float
    body: Any
    """The backend's JSON (see :class:`tests.stack.backend.Seen`), a proxy's own text, or the error."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """The pod that answered; empty where a proxy did."""
        return str(self.body.get("address", "")) if isinstance(self.body, dict) else ""


@dataclass(frozen=True)
class Answers:
    """What came back for all requests, in no particular order."""

    all: list[Answer]

    @property
    def statuses(self) -> dict[int, int]:
        """How many requests got each status."""
        return dict(collections.Counter(answer.status for answer in self.all))

    @property
    def addresses(self) -> dict[str, int]:
        """How many requests each pod answered."""
        return dict(collections.Counter(answer.address for answer in self.all if answer.address))

    def count(self, addresses: Collection[str]) -> int:
        """Return how many requests these pods answered, e.g. those of one model version."""
        return sum(answer.address in addresses for answer in self.all)


@dataclass(frozen=True)
class Request:
    """What to ask for; ``host`` is the Host header, the connection goes to the proxy."""

    host: str
    path: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True)
class Traffic:
    """Sends through one proxy: ``Traffic(stack.gateway.url).send("ai-gateway.example.com", n=1000)``."""

    url: str
    timeout: float = 30

    def get(self, host: str, path: str = "/", **headers: str) -> Answer:
        """Send one GET; an underscore in a header's name stands for a dash."""
        return self.send(
            host, 1, path=path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        ).all[0]

    def send(self, host: str, n: int, *, concurrency: int = 8, rate: float = 0, **request: Any) -> Answers:
        """Send ``n`` requests, ``concurrency`` at once or ``rate`` a second; keywords are :class:`Request`'s fields."""
        wanted = Request(host, **request)
        return asyncio.run(self._paced(wanted, n, rate) if rate else self._flat_out(wanted, n, concurrency))

    @contextlib.contextmanager
    def steady(self, host: str, rate: float, **request: Any) -> Iterator[list[Answer]]:
        """Send ``rate`` requests a second in the background until the block ends; yields the growing list."""
        answers: list[Answer] = []
        done = threading.Event()
        wanted = Request(host, **request)
        thread = threading.Thread(target=lambda: asyncio.run(self._until(wanted, rate, done, answers)), daemon=True)
        thread.start()
        try:
            yield answers
        finally:
            done.set()
            thread.join(self.timeout)

    async def _flat_out(self, request: Request, n: int, concurrency: int) -> Answers:
        turns = iter(range(n))

        async def client(session: aiohttp.ClientSession) -> list[Answer]:
            return [await self._ask(session, request) for _ in turns]

        async with self._session(concurrency) as session:
            parts = await asyncio.gather(*(client(session) for _ in range(min(concurrency, n))))
        return Answers([answer for part in parts for answer in part])

    async def _paced(self, request: Request, n: int, rate: float) -> Answers:
        async with self._session(0) as session:
            began = time.monotonic()
            tasks = []
            for number in range(n):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                tasks.append(asyncio.create_task(self._ask(session, request)))
            return Answers(await asyncio.gather(*tasks))

    async def _until(self, request: Request, rate: float, done: threading.Event, answers: list[Answer]) -> None:
        async with self._session(0) as session, asyncio.TaskGroup() as group:
            began, number = time.monotonic(), 0
            while not done.is_set():
                task = group.create_task(self._ask(session, request))
                task.add_done_callback(lambda finished: answers.append(finished.result()))
                number += 1
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))

    def _session(self, connections: int) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=connections, force_close=False)
        return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(self.timeout))

    async def _ask(self, session: aiohttp.ClientSession, request: Request) -> Answer:
        began = time.monotonic()
        try:
            async with session.request(
                request.method,
                self.url + request.path,
                headers={**request.headers, "Host": request.host},
                data=None if request.body is None else io.BytesIO(request.body),
            ) as answer:
                text = await answer.text()
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Answer(answer.status, time.monotonic() - began, _parsed(text), headers)
        except (aiohttp.ClientError, TimeoutError) as error:
            return Answer(0, time.monotonic() - began, repr(error))


def _parsed(text: str) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(text)
    return text
