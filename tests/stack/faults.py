"""A proxy between one process and the apiserver that breaks, on a test's word, what a network or a server can break.

It ends TLS with the stack's own authority, so it sees single requests: it can answer them itself, keep silent, cut
connections, shorten answers, or put an error into a watch.  What it does not break it forwards untouched, and
it remembers every request.  Tests put one before each process that they want to see in trouble.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import yaml
from aiohttp import web
from yarl import URL

from tests.stack.pki import SERVER, Pki

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "upgrade"}
_T = TypeVar("_T")


@dataclass(frozen=True)
class Asked:
    """One request as it came in; ``at`` is when, by the monotonic clock."""

    method: str
    path: str
    query: Mapping[str, str]
    at: float

    @property
    def is_watch(self) -> bool:
        """Whether it asks for a stream of events."""
        return self.query.get("watch") == "true"

    @property
    def is_write(self) -> bool:
        """Whether it changes something."""
        return self.method not in ("GET", "HEAD")

    def concerns(self, resource: str, namespace: str | None = None) -> bool:
        """Whether it is about a resource (by its plural), in this namespace or in any."""
        parts = self.path.split("/")
        return resource in parts and (namespace is None or namespace in parts)


When = Callable[[Asked], bool]
Forward = Callable[[], Awaitable[aiohttp.ClientResponse]]


@dataclass
class Exchange:
    """One request under way, in the hands of a :class:`Fault`."""

    asked: Asked
    request: web.BaseRequest
    forward: Forward
    """Sends the request on; returns the apiserver's answer, its body unread."""

    def cut(self) -> None:
        """Drop the client's connection without a word."""
        if self.request.transport is not None:
            self.request.transport.abort()

    async def relay(self, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """Pass an answer on as it comes in."""
        response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
        if answer.content_length is not None:
            response.content_length = answer.content_length
        async with answer:
            await response.prepare(self.request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
        return response


Fault = Callable[[Exchange], Coroutine[Any, Any, web.StreamResponse]]
"""Answers in the apiserver's place, or does something to its answer."""


def everything(_: Asked) -> bool:
    """Match every request."""
    return True


def writes(asked: Asked) -> bool:
    """Match requests that change something."""
    return asked.is_write


def watches(asked: Asked) -> bool:
    """Match watches."""
    return asked.is_watch


def refusal(status: int, message: str = "made up by a test", retry_after: int | None = None) -> Fault:
    """Refuse as an apiserver does, with a Status object."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status}
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}

    async def answer(_: Exchange) -> web.StreamResponse:
        return web.json_response(body | {"reason": "MadeUp"}, status=status, headers=headers)

    return answer


def page(status: int) -> Fault:
    """Answer with HTML, as a proxy on the way does."""

    async def answer(_: Exchange) -> web.StreamResponse:
        return web.Response(status=status, text="<html><body>Welcome</body></html>", content_type="text/html")

    return answer


def error_event(code: int, message: str = "made up by a test") -> Fault:
    """Open a watch and end it with an error inside the stream."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
    event = {"type": "ERROR", "object": status | {"reason": "Expired" if code == 410 else "InternalError"}}

    async def answer(_: Exchange) -> web.StreamResponse:
        return web.Response(text=json.dumps(event) + "\n", content_type="application/json")

    return answer


async def silence(exchange: Exchange) -> web.StreamResponse:
    """Never answer, as a black hole does."""
    await asyncio.Event().wait()
    return await exchange.relay(await exchange.forward())


async def no_connection(exchange: Exchange) -> web.StreamResponse:
    """Drop the connection at once; the request does not reach the apiserver."""
    exchange.cut()
    return web.Response()


async def nothing(_: Exchange) -> web.StreamResponse:
    """Agree, and say nothing: a watch that ends at once."""
    return web.Response()


async def half_an_answer(exchange: Exchange) -> web.StreamResponse:
    """Let the apiserver do it, and pass on the first half of what it says (of a watch: of the first event)."""
    answer = await exchange.forward()
    if exchange.asked.is_watch:
        return web.Response(text='{"type": "MODIFIED", "object": {"kind": "AIGate', content_type="application/json")
    whole = await answer.read()
    return web.Response(status=answer.status, body=whole[: len(whole) // 2], content_type="application/json")


def after(act: Callable[[], None]) -> Fault:
    """Let the apiserver answer, do something, and drop the connection: the client never hears of the answer."""

    async def answer(exchange: Exchange) -> web.StreamResponse:
        answer = await exchange.forward()
        await answer.read()
        act()
        exchange.cut()
        return web.Response()

    return answer


@dataclass
class Rule:
    """A fault in force: what it is done to, and how often it still is (None: until it is lifted)."""

    fault: Fault
    when: When
    times: int | None = None
    hits: int = 0

    def takes(self, asked: Asked) -> bool:
        """Whether the fault is done to this request; counts it."""
        if not self.when(asked) or self.hits == self.times:
            return False
        self.hits += 1
        return True


@dataclass
class FaultProxy:
    """``with FaultProxy(stack.pki) as faults``: what uses ``faults.kubeconfig(path)`` reaches the apiserver through it.

    ``with faults.inject(refusal(503), writes)``: so it is inside the block.  Of several faults the last one counts.
    """

    pki: Pki
    server: str = SERVER
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    """Every request so far, oldest first."""
    _rules: list[Rule] = field(default_factory=list)
    _open: dict[int, Exchange] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def __enter__(self) -> Self:
        """Listen."""
        self._thread = threading.Thread(target=self._loop.run_forever, name="faults", daemon=True)
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        self.cut()
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # What a test does ---------------------------------------------------------------------------------------------

    def kubeconfig(self, original: Path) -> Path:
        """Write a kubeconfig that differs from the original in where the server is; return its path."""
        config = yaml.safe_load(original.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self.port}"
        path = original.with_name(f"{original.stem}-through-{self.port}.kubeconfig")
        path.write_text(yaml.safe_dump(config))
        return path

    @contextlib.contextmanager
    def inject(self, fault: Fault, when: When = everything, times: int | None = None) -> Iterator[Rule]:
        """Do this to requests that match, ``times`` of them at the most; undone at the end, and what waits is cut."""
        rule = Rule(fault, when, times)
        self._rules.append(rule)
        try:
            yield rule
        finally:
            self._rules.remove(rule)
            if fault is silence:
                self.cut(when)

    def cut(self, when: When = everything) -> None:
        """Drop the connections of requests under way that match."""
        self._run(self._cut(when))

    def since(self, moment: float) -> list[Asked]:
        """Return the requests that came after a moment of the monotonic clock."""
        return [asked for asked in list(self.asked) if asked.at > moment]

    # In the proxy's thread ----------------------------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _listen(self) -> None:
        trusted = ssl.create_default_context(cafile=str(self.pki.ca_cert))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=trusted),
            timeout=aiohttp.ClientTimeout(),
            auto_decompress=False,
        )
        mine = self.pki.issue("faults", "127.0.0.1", "localhost")
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(mine.cert, mine.key)
        # Cancelled with their client: a watch that nobody reads must not stay open at the apiserver.
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=serving)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _cut(self, when: When) -> None:
        for exchange in list(self._open.values()):
            if when(exchange.asked):
                exchange.cut()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = Asked(request.method, request.path, dict(request.query), time.monotonic())
        self.asked.append(asked)
        body = await request.read()
        exchange = Exchange(asked, request, lambda: self._forward(request, body))
        self._open[id(exchange)] = exchange
        try:
            rule = next((rule for rule in reversed(self._rules) if rule.takes(asked)), None)
            if rule is not None:
                return await rule.fault(exchange)
            return await exchange.relay(await exchange.forward())
        except (aiohttp.ClientError, OSError):
            exchange.cut()
            return web.Response()
        finally:
            del self._open[id(exchange)]

    async def _forward(self, request: web.BaseRequest, body: bytes) -> aiohttp.ClientResponse:
        url = URL(self.server + request.raw_path, encoded=True)
        return await self._session.request(
            request.method, url, headers=_end_to_end(request.headers), data=body or None, allow_redirects=False
        )


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
