"""The model backend: one process that answers for every pod, and does to each address what a test asks for.

It runs as ``python -m tests.stack.backend`` inside the namespace.  Who it is in an answer is the address a connection
came in on: every pod address is local there.  Tests talk to it through :class:`Backend`; it knows no Kubernetes.
"""

from __future__ import annotations

import asyncio
import collections
import json
import random
import socket
import struct
import subprocess
import time
import weakref
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

import requests
from aiohttp import web

from tests.stack.addresses import BACKEND, BACKEND_CONTROL
from tests.stack.engine import Engine

EVERYWHERE = "*"
"""The address that stands for all pods without a behaviour of their own."""
_KEPT_REQUESTS = 200_000
_SECRET_HEADERS = frozenset({"authorization", "cookie"})


@dataclass(frozen=True)
class Behaviour:
    """What an address does with a request; the default is to answer 200 at once."""

    delay: float = 0
    """Seconds before the answer."""
    status: int = 200
    """The status of the share of requests that ``share`` picks; the rest get 200."""
    share: float = 1
    """The part of requests (0 to 1, picked at random) that get ``status`` or ``reset``."""
    reset: Literal["", "accept", "request"] = ""
    """Reset the connection: as soon as it is accepted (open ones at once), or once the request has been read."""
    headers: dict[str, str] = field(default_factory=dict)
    """Response headers that go with ``status``, e.g. ``{"retry-after": "1"}``."""
    slots: int = 0
    """How many requests are worked on at once, ``delay`` seconds each, while the others wait in line; 0: all."""
    cancels: bool = False
    """With ``slots``: drop the work of clients that are gone, which engines mostly do not."""
    stalled: bool = False
    """With ``slots``: begin no work, so that what arrives waits in line until this is taken back."""


@dataclass(frozen=True)
class Seen:
    """One request as it arrived: an attempt, not what the client asked for."""

    address: str
    status: int
    """What was answered; 0 where the connection was reset."""
    method: str
    host: str
    path: str
    request_id: str
    """``x-request-id``: the same for all attempts of one request."""
    attempt: int
    """``x-envoy-attempt-count``: 1 for the first try."""
    arrived: float
    """Seconds, on a clock that only differences mean something on."""
    key: str = ""
    """``idempotency-key``: the client's own name for the request."""


class Backend:
    """The test's side: ``behave("10.244.0.7", status=503, share=0.5)``, ``counts()``, ``reset()``."""

    _url = f"http://127.0.0.1:{BACKEND_CONTROL}"

    def __init__(self) -> None:
        self._session = requests.Session()
        self._cut_off: set[str] = set()

    def behave(self, *addresses: str, behaviour: Behaviour | None = None, **fields: Any) -> None:
        """Make these addresses (all pods where none is named) behave so; keywords are :class:`Behaviour`'s fields."""
        wanted = asdict(behaviour or Behaviour(**fields))
        self._call("POST", "/behaviours", dict.fromkeys(addresses or (EVERYWHERE,), wanted))

    def cut_off(self, *addresses: str) -> None:
        """Make connecting to these addresses fail at once, and reset what is connected."""
        # In this order: without a route back, the resets would be lost and open connections would hang.
        self._call("POST", "/disconnect", list(addresses))
        for address in addresses:
            _route("replace", address)
            self._cut_off.add(address)

    def reset(self) -> None:
        """Forget all behaviours and everything seen; every address can be reached again."""
        while self._cut_off:
            _route("delete", self._cut_off.pop())
        self._call("DELETE", "/")

    def seen(self) -> list[Seen]:
        """Return every attempt since the last reset, oldest first."""
        return [Seen(*row) for row in self._call("GET", "/seen")]

    def counts(self) -> collections.Counter[tuple[str, int]]:
        """Return how often each (address, status) was answered."""
        return collections.Counter((attempt.address, attempt.status) for attempt in self.seen())

    def waiting(self) -> dict[str, int]:
        """Return how many requests are in line or worked on at each address that has ``slots``."""
        waiting: dict[str, int] = self._call("GET", "/waiting")
        return waiting

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._session.request(method, self._url + path, json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()


def _route(change: str, address: str) -> None:
    # In the table that says which addresses are local, the longer prefix wins over the whole pod network's.
    subprocess.run(["ip", "route", change, "unreachable", f"{address}/32", "table", "local"], check=True)


class _Pods:
    """The serving side: behaviours by address, and what was seen."""

    def __init__(self) -> None:
        self.connected: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()
        self._behaviours: dict[str, Behaviour] = {}
        self._seen: collections.deque[tuple[Any, ...]] = collections.deque(maxlen=_KEPT_REQUESTS)
        self._nothing_special = Behaviour()
        self._engines: dict[str, Engine] = {}

    def behaviour(self, address: str) -> Behaviour:
        return self._behaviours.get(address) or self._behaviours.get(EVERYWHERE, self._nothing_special)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = cast("asyncio.Transport", request.transport)
        address = transport.get_extra_info("sockname")[0]
        behaviour = self.behaviour(address)
        size = await _size_of_body(request)
        picked = behaviour.share >= 1 or random.random() < behaviour.share  # noqa: S311 (no secret)
        status = behaviour.status if picked else 200
        row = self._note(request, address, 0 if picked and behaviour.reset else status)
        # A request may ask for its own delay, so that pods that a test has not met yet are slow as well.
        delay = behaviour.delay or float(request.headers.get("x-delay", 0))
        if behaviour.slots:
            await self._queue(address, behaviour, delay)
        elif delay:
            await asyncio.sleep(delay)
        if picked and behaviour.reset:
            _reset(transport)
            return web.Response()
        text = json.dumps(asdict(row) | {"headers": _shown(request), "body_bytes": size})
        extra = behaviour.headers if picked else {}
        return web.Response(status=status, text=text + "\n", content_type="application/json", headers=extra)

    async def _queue(self, address: str, behaviour: Behaviour, seconds: float) -> None:
        engine = self._engines.get(address)
        if engine is None or engine.slots != behaviour.slots:
            engine = self._engines[address] = Engine(behaviour.slots)
            engine.stall(behaviour.stalled)
        work = asyncio.ensure_future(engine.work(seconds))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:  # the client is gone
            if behaviour.cancels:
                work.cancel()
            raise

    def _note(self, request: web.BaseRequest, address: str, status: int) -> Seen:
        seen = Seen(
            address,
            status,
            request.method,
            request.host,
            request.path_qs,
            request.headers.get("x-request-id", ""),
            int(request.headers.get("x-envoy-attempt-count", 0)),
            time.monotonic(),
            request.headers.get("idempotency-key", ""),
        )
        self._seen.append(tuple(vars(seen).values()))
        return seen

    async def control(self, request: web.BaseRequest) -> web.Response:
        if request.path == "/behaviours":
            self._change({address: Behaviour(**fields) for address, fields in (await request.json()).items()})
        elif request.path == "/disconnect":
            self._disconnect(set(await request.json()))
        elif request.method == "DELETE":
            self._behaviours.clear()
            self._seen.clear()
            self._stall_engines()
            self._engines.clear()
        return web.json_response(self._shown_at(request.path))

    def _shown_at(self, path: str) -> Any:
        if path == "/waiting":
            return {address: engine.waiting for address, engine in self._engines.items()}
        return list(self._seen) if path == "/seen" else {}

    def _stall_engines(self) -> None:
        for address, engine in self._engines.items():
            engine.stall(self.behaviour(address).stalled)

    def _change(self, behaviours: dict[str, Behaviour]) -> None:
        self._behaviours |= behaviours
        self._stall_engines()
        self._disconnect({address for address, behaviour in behaviours.items() if behaviour.reset == "accept"})

    def _disconnect(self, addresses: set[str]) -> None:
        for transport in list(self.connected):
            if not transport.is_closing() and addresses & {EVERYWHERE, transport.get_extra_info("sockname")[0]}:
                _reset(transport)


async def _size_of_body(request: web.BaseRequest) -> int:
    """Read the whole body, however large; ``request.read()`` refuses more than a megabyte."""
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
    return size


class _Door(asyncio.Protocol):
    """Decides at accept time whether a connection is served at all."""

    def __init__(self, pods: _Pods, server: web.Server) -> None:
        self._pods = pods
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        accepted = cast("asyncio.Transport", transport)
        behaviour = self._pods.behaviour(accepted.get_extra_info("sockname")[0])
        if behaviour.reset == "accept" and random.random() < behaviour.share:  # noqa: S311 (no secret)
            _reset(accepted)
            return
        self._pods.connected.add(accepted)
        handler = self._server()
        accepted.set_protocol(handler)
        handler.connection_made(accepted)


def _reset(transport: asyncio.Transport) -> None:
    """Close so that the peer gets a reset, not an orderly end."""
    linger_zero = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
    transport.abort()


def _shown(request: web.BaseRequest) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items() if name.lower() not in _SECRET_HEADERS}


async def serve() -> None:
    """Serve all pod addresses and the control port until the process ends."""
    pods = _Pods()
    # Longer than the idle timeout of any proxy in front: the proxy, not the backend, ends an idle connection.
    # A handler is told when its client has gone, so that an engine can drop the work.
    server = web.Server(pods.answer, keepalive_timeout=3600, access_log=None, handler_cancellation=True)
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: _Door(pods, server), "0.0.0.0", BACKEND, backlog=1024)  # noqa: S104 (all pods)
    control = web.Server(pods.control, access_log=None)
    await loop.create_server(control, "127.0.0.1", BACKEND_CONTROL)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
