"""A small API server on the loopback address: resource versions, pages, watches with bookmarks, expiry, apply, faults.

Tests of the client and of everything above it use it where a real one could not be made to fail on demand.  It has no
schema, no admission and no field ownership; what depends on those is tested on the real one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from aigateway.cluster.client import Client
from aigateway.cluster.connection import Source
from aigateway.cluster.resources import Resource

Object = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """What a path names."""

    group_path: str
    namespace: str
    plural: str
    name: str
    subresource: str

    @classmethod
    def parse(cls, path: str) -> Self:
        """Parse a path of the API, core group or not."""
        words = path.strip("/").split("/")
        depth = 2 if words[0] == "api" else 3
        group_path, rest = "/" + "/".join(words[:depth]), words[depth:]
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural, name, subresource = (*rest, "", "", "")[:3]
        return cls(group_path, namespace, plural, name, subresource)


Fault = Callable[[web.Request], Awaitable[web.StreamResponse] | None]


@dataclass
class FakeApiserver:
    """Holds objects; tests change them with :meth:`put` and :meth:`remove`."""

    version: int = 100
    url: str = ""
    """Where it listens."""
    page_size: int = 500
    served: set[str] = field(default_factory=set)
    """Plurals that discovery tells of."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method (WATCH for watches) and path of every request."""
    faults: list[tuple[str, web.Response]] = field(default_factory=list)
    """Answers to the next requests whose method and path begin with the text."""
    _objects: dict[tuple[str, str, str, str], Object] = field(default_factory=dict)
    _history: list[tuple[int, tuple[str, str], Object]] = field(default_factory=list)
    _oldest: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _cut: int = 0

    # What a test does ---------------------------------------------------------------------------------------------

    def put(self, resource: Resource, name: str, namespace: str = "models", **body: Any) -> Object:
        """Create or change an object; ``metadata`` is merged into what it has."""
        key = (resource.group_path, resource.plural, namespace, name)
        old = self._objects.get(key)
        self.version += 1
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": old["metadata"]["uid"] if old else f"uid-{self.version}",
            **(body.pop("metadata", None) or {}),
            "resourceVersion": str(self.version),
        }
        self._objects[key] = {"metadata": metadata, **body}
        self._tell(key, "MODIFIED" if old else "ADDED", self._objects[key])
        return self._objects[key]

    def remove(self, resource: Resource, name: str, namespace: str = "models") -> None:
        """Delete an object."""
        self._remove((resource.group_path, resource.plural, namespace, name))

    def bookmark(self, resource: Resource) -> None:
        """Tell watches of the present version."""
        self.version += 1
        key = (resource.group_path, resource.plural, "", "")
        self._tell(key, "BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    def send_error(self, resource: Resource, code: int) -> None:
        """Send an error inside every open watch of a resource."""
        key = (resource.group_path, resource.plural, "", "")
        self._tell(key, "ERROR", {"kind": "Status", "code": code, "reason": "Broken", "message": "on purpose"})

    def forget_history(self) -> None:
        """Let every version before now be too old for a watch, and end the open ones."""
        self.version += 1
        self._oldest = self.version
        self._history.clear()
        self.cut_watches()

    def cut_watches(self) -> None:
        """End every open watch."""
        self._cut += 1
        self._wake()

    def count(self, beginning: str) -> int:
        """Return how many requests began with this text, as ``GET /api/v1``."""
        return sum(f"{method} {path}".startswith(beginning) for method, path in self.requests)

    # What it does -------------------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        watching = "watch" in request.query
        self.requests.append(("WATCH" if watching else request.method, request.path))
        for number, (beginning, answer) in enumerate(self.faults):
            if f"{self.requests[-1][0]} {request.path}".startswith(beginning):
                del self.faults[number]
                return answer
        target = Target.parse(request.path)
        if watching:
            return await self._watch(request, target)
        body = json.loads(await request.read() or b"null")
        return self._answer(request, target, body)

    def _answer(self, request: web.Request, target: Target, body: Any) -> web.Response:
        key = (target.group_path, target.plural, target.namespace, target.name)
        if not target.plural:
            found = [{"name": plural} for plural in sorted(self.served)]
            return web.json_response({"resources": found}) if found else refusal(404, "NotFound")
        if request.method == "GET" and not target.name:
            return self._list(request, target)
        if request.method == "POST":
            return web.json_response(self._store(target, body["metadata"]["name"], body), status=201)
        if request.method in ("PATCH", "PUT"):
            return self._apply(target, key, body)
        if key not in self._objects:
            return refusal(404, "NotFound")
        return self._delete(key, body) if request.method == "DELETE" else web.json_response(self._objects[key])

    def _list(self, request: web.Request, target: Target) -> web.Response:
        name = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
        mine = [
            item
            for key, item in sorted(self._objects.items())
            if self._is_in(key, target) and name in ("", item["metadata"]["name"])
        ]
        start = int(request.query.get("continue", 0))
        page = mine[start : start + self.page_size]
        metadata = {"resourceVersion": str(self.version)}
        if start + self.page_size < len(mine):
            metadata["continue"] = str(start + self.page_size)
        return web.json_response({"metadata": metadata, "items": page})

    def _apply(self, target: Target, key: tuple[str, str, str, str], body: Object) -> web.Response:
        old = self._objects.get(key)
        wanted = body["metadata"].get("resourceVersion")
        if target.subresource and old is None:
            return refusal(404, "NotFound")
        if wanted is not None and (old is None or old["metadata"]["resourceVersion"] != wanted):
            return refusal(409, "Conflict")
        changed = {**old, "status": body["status"]} if target.subresource and old else body
        return web.json_response(self._store(target, target.name, changed), status=200 if old else 201)

    def _store(self, target: Target, name: str, body: Object) -> Object:
        version, _, kind = target.group_path.rpartition("/")
        resource = Resource(version.removeprefix("/apis/"), kind, target.plural, "")
        return self.put(resource, name, target.namespace, **body)

    def _delete(self, key: tuple[str, str, str, str], body: Object) -> web.Response:
        metadata = self._objects[key]["metadata"]
        for field_, wanted in (body.get("preconditions") or {}).items():
            if metadata[field_] != wanted:
                return refusal(409, "Conflict")
        if metadata.get("finalizers"):
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self.version += 1
            metadata["resourceVersion"] = str(self.version)
            self._tell(key, "MODIFIED", self._objects[key])
            return web.json_response(self._objects[key])
        self._remove(key)
        return web.json_response({"kind": "Status", "status": "Success"})

    def _remove(self, key: tuple[str, str, str, str]) -> None:
        gone = self._objects.pop(key)
        self.version += 1
        last = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}
        self._tell(key, "DELETED", last)

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        since, cut = int(request.query["resourceVersion"]), self._cut
        response = web.StreamResponse()
        await response.prepare(request)
        if since < self._oldest:
            await _send(response, "ERROR", {"code": 410, "reason": "Expired", "message": "too old"})
            return response
        while self._cut == cut:
            news = self._news
            for version, (kind, name), item in [entry for entry in self._history if entry[0] > since]:
                since = version
                if name == f"{target.group_path}/{target.plural}" and _in_namespace(item, target):
                    await _send(response, kind, item)
            await news.wait()
        return response

    def _tell(self, key: tuple[str, str, str, str], kind: str, item: Object) -> None:
        self._history.append((self.version, (kind, f"{key[0]}/{key[1]}"), json.loads(json.dumps(item))))
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    @staticmethod
    def _is_in(key: tuple[str, str, str, str], target: Target) -> bool:
        return key[:2] == (target.group_path, target.plural) and target.namespace in ("", key[2])


def _in_namespace(item: Object, target: Target) -> bool:
    return target.namespace in ("", item.get("metadata", {}).get("namespace", target.namespace))


async def _send(response: web.StreamResponse, kind: str, item: Object) -> None:
    await response.write(json.dumps({"type": kind, "object": item}).encode() + b"\n")


def refusal(status: int, reason: str, message: str = "on purpose", **headers: str) -> web.Response:
    """Return an answer with a Status object."""
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status}
    return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[FakeApiserver, Client]]:
    """Run a server, and a client that is connected to it by a kubeconfig in ``folder``."""
    fake = FakeApiserver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    async with TestServer(app) as server:
        fake.url = str(server.make_url("/")).rstrip("/")
        source = Source(write_kubeconfig(folder, fake.url))
        async with Client(source) as client:
            yield fake, client
        fake.cut_watches()


def write_kubeconfig(folder: Path, server: str, token: str = "t0ken") -> Path:  # noqa: S107 (opens nothing)
    """Write a kubeconfig for a server and return its path."""
    path = folder / "kubeconfig"
    named = {"name": "fake"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fake",
        "clusters": [named | {"cluster": {"server": server}}],
        "users": [named | {"user": {"token": token}}],
        "contexts": [named | {"context": {"cluster": "fake", "user": "fake"}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


async def until(check: Callable[[], object], within: float = 10.0) -> None:
    """Wait until ``check`` returns something true."""
    async with asyncio.timeout(within):
        while not check():  # noqa: ASYNC110 (what is waited for is any state, not an event)
            await asyncio.sleep(0.01)
