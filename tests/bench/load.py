"""Requests in bulk as the administrator: the load that every side of a comparison gets from the same hand."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.bare import Access, read_access
from tests.stack.cluster import Manifest

USER = "admin"
"""The account in the audit log."""
_TURN_SECONDS = 30
_LOOK_SECONDS = 0.005
_MOMENT_SECONDS = 0.03
_PATHS = {
    "AIGatewayPolicy": "apis/aigateway.dev/v1alpha1/namespaces/{}/aigatewaypolicies",
    "Service": "api/v1/namespaces/{}/services",
    "EndpointSlice": "apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request; its body is encoded before the clock runs."""

    method: str
    path: str
    body: bytes = b""


def create(manifest: Manifest) -> Call:
    """Return the request that creates an object."""
    path = _PATHS[manifest["kind"]].format(manifest["metadata"]["namespace"])
    return Call("POST", path, json.dumps(manifest).encode())


def patch(kind: str, namespace: str, name: str, change: Manifest) -> Call:
    """Return the request that merge-patches an object."""
    return Call("PATCH", f"{_PATHS[kind].format(namespace)}/{name}", json.dumps(change).encode())


def delete(kind: str, namespace: str, name: str) -> Call:
    """Return the request that deletes an object."""
    return Call("DELETE", f"{_PATHS[kind].format(namespace)}/{name}")


@dataclass(frozen=True)
class Load:
    """Sends calls with the rights of a kubeconfig; each method returns when every answer is there.

    A refused request raises ``aiohttp.ClientResponseError``: figures of half a load would say nothing.
    """

    kubeconfig: Path

    def send(self, calls: Iterable[Call], concurrency: int = 16) -> None:
        """Send calls as fast as they are answered, ``concurrency`` at once."""
        turns = iter(calls)

        async def all_at_once(ask: Callable[[Call], Awaitable[None]]) -> None:
            async def one() -> None:
                for call in turns:
                    await ask(call)

            await asyncio.gather(*(one() for _ in range(concurrency)))

        asyncio.run(self._with_session(all_at_once))

    def pace(self, calls: Sequence[Call], rate: float) -> None:
        """Send ``rate`` calls a second, whether or not the one before was answered."""

        async def one_by_one(ask: Callable[[Call], Awaitable[None]]) -> None:
            began = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for number, call in enumerate(calls):
                    await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                    group.create_task(ask(call))  # type: ignore[arg-type]

        asyncio.run(self._with_session(one_by_one))

    def in_turn(self, calls: Sequence[Call], done: Callable[[int], bool]) -> None:
        """Send one call after the other, each a moment after ``done`` says of the one before (by number) that it is.

        The moment is for what a side does when the user is served already: it must not be in the other side's way.
        """

        async def one_by_one(ask: Callable[[Call], Awaitable[None]]) -> None:
            for number, call in enumerate(calls):
                await ask(call)
                deadline = time.monotonic() + _TURN_SECONDS
                while not done(number):
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"{call.path} had no effect within {_TURN_SECONDS} s")
                    await asyncio.sleep(_LOOK_SECONDS)
                await asyncio.sleep(_MOMENT_SECONDS)

        asyncio.run(self._with_session(one_by_one))

    async def _with_session(self, work: Callable[[Callable[[Call], Awaitable[None]]], Awaitable[None]]) -> None:
        access = read_access(self.kubeconfig)
        async with access.session() as session:
            await work(lambda call: _ask(session, access, call))


async def _ask(session: aiohttp.ClientSession, access: Access, call: Call) -> None:
    kind = "application/merge-patch+json" if call.method == "PATCH" else "application/json"
    headers: dict[str, Any] = {"Content-Type": kind}
    async with session.request(call.method, f"{access.server}/{call.path}", data=call.body, headers=headers) as answer:
        answer.raise_for_status()
        await answer.read()
