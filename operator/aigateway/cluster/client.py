"""A thin client of the Kubernetes API: raw paths in, plain JSON out, every request with a deadline.

Reflectors, the writer and the event recorder use it.  It knows paths, verbs, errors and streams, and nothing of
policies.  It talks over ``aiohttp`` because the typed classes of the Kubernetes library cost 25 MB, and its default
deadline of five minutes is longer than any lease.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

import aiohttp

from aigateway import __version__
from aigateway.cluster.connection import Access, AccessError, Source, read_access
from aigateway.cluster.resources import FIELD_MANAGER, Resource

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 15.0
WATCH_SILENCE_SECONDS = 75.0
"""The API server sends a bookmark about once a minute: after a longer silence the connection is not trusted."""
PAGE_SIZE = 500
_LINE_LIMIT = 16 * 2**20
"""Far over the largest object that etcd stores (1.5 MB): a longer line is no watch event."""
_RELOGIN_SECONDS = 5.0
_WARNINGS_REMEMBERED = 100
_TOKEN_SECONDS = 300.0
"""Tokens of a pod live for an hour or less and are renewed in the file: read again this often."""

JsonObject = dict[str, Any]
Observe = Callable[[str, str, int, float], None]
"""Told of every finished request: verb, resource, HTTP code (0: none came), seconds."""
Fence = Callable[[], float]
"""Asked before each write for how many seconds from now a write may begin; not above 0: none may."""


class ApiError(Exception):
    """The API server refused, or did not answer (``status`` 0).  ``retry_after`` in seconds, where it said so."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{message} ({status or 'no answer'} {reason})")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @property
    def conflict(self) -> bool:
        """Whether the object is not in the state that the request was meant for."""
        return self.status == HTTPStatus.CONFLICT

    @property
    def missing(self) -> bool:
        """Whether the object, or its whole kind, does not exist."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def gone(self) -> bool:
        """Whether a resource version or a continue token has expired."""
        return self.status == HTTPStatus.GONE


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a value.  ``verb`` and ``resource`` are its names in metrics.

    ``fenced`` False: it may be sent without the lead, as what takes the lead must be.
    """

    verb: str
    resource: str
    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    content_type: str = "application/json"
    fenced: bool = True


@dataclass(frozen=True, slots=True)
class Listing:
    """A collection at one moment."""

    items: list[JsonObject]
    resource_version: str


class Client:
    """One connection pool to one API server; use it inside one event loop, as a context manager.

    No write is sent that ``fence`` does not let through.  ``identity`` tells replicas apart in the server's audit log.
    """

    def __init__(
        self,
        source: Source,
        observe: Observe = lambda *_: None,
        fence: Fence = lambda: math.inf,
        identity: str = "",
    ) -> None:
        self._source = source
        self._observe = observe
        self._fence = fence
        self._user_agent = f"aigateway-operator/{__version__}" + (f" ({identity})" if identity else "")
        self._session: aiohttp.ClientSession | None = None
        self._access: Access | None = None
        self._read_at = 0.0
        self._login = asyncio.Lock()
        self._warned: OrderedDict[str, None] = OrderedDict()

    async def __aenter__(self) -> Self:
        await self._connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    # What callers want done -------------------------------------------------------------------------------------

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JsonObject | None:
        """Return one object, None where it does not exist."""
        try:
            return await self.call(Call("get", resource.label, "GET", resource.path(namespace, name)))
        except ApiError as error:
            if error.missing:
                return None
            raise

    async def find(self, resource: Resource, namespace: str, name: str) -> JsonObject | None:
        """Return one object, None where it does not exist, with no more than the right to list."""
        params = {"fieldSelector": f"metadata.name={name}"}
        found = await self.call(Call("list", resource.label, "GET", resource.path(namespace), params))
        return next(iter(found.get("items") or ()), None)

    async def kinds(self, resource: Resource) -> frozenset[str]:
        """Return the plurals that the resource's group and version serves; empty where the cluster has none of it."""
        try:
            found = await self.call(Call("discover", resource.label, "GET", resource.group_path))
        except ApiError as error:
            if error.missing:
                return frozenset()
            raise
        return frozenset(item["name"] for item in found.get("resources", ()))

    async def pages(self, resource: Resource, namespace: str | None, selector: str) -> AsyncIterator[Listing]:
        """Yield a collection page by page, so that only one page at a time is held unpruned."""
        params = {"limit": str(PAGE_SIZE)} | ({"labelSelector": selector} if selector else {})
        while True:
            found = await self.call(Call("list", resource.label, "GET", resource.path(namespace), params))
            metadata = found.get("metadata", {})
            yield Listing(found.get("items") or [], metadata.get("resourceVersion", ""))
            if not metadata.get("continue"):
                return
            params["continue"] = metadata["continue"]

    async def watch(  # noqa: PLR0913, PLR0917 (what the API takes)
        self,
        resource: Resource,
        namespace: str | None,
        selector: str,
        since: str,
        seconds: int,
        opened: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[JsonObject]:
        """Yield watch events (bookmarks too) from ``since`` on, until the server ends the stream after ``seconds``.

        It ends earlier where nothing is heard for WATCH_SILENCE_SECONDS: where nothing happens, servers may leave out
        bookmarks too.  ``opened`` is called when the server has agreed to the watch.
        """
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(seconds),
        } | ({"labelSelector": selector} if selector else {})
        call = Call("watch", resource.label, "GET", resource.path(namespace), params)
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=WATCH_SILENCE_SECONDS)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                response = await self._send(call, timeout)
            opened()
            async with response:
                async for line in _lines(response):
                    yield json.loads(line)
        except aiohttp.SocketTimeoutError:
            return
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise _no_answer(call, error) from error

    async def apply(self, resource: Resource, body: Mapping[str, Any], *, force: bool) -> JsonObject:
        """Server-side apply one object; ``force`` takes over fields that others own."""
        metadata = body["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"])
        return await self.call(_apply("apply", resource, path, body, force=force))

    async def apply_status(self, resource: Resource, body: Mapping[str, Any]) -> JsonObject:
        """Server-side apply the status in ``body``; with a resourceVersion in it, only onto exactly that version."""
        metadata = body["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"], "status")
        return await self.call(_apply("apply_status", resource, path, body, force=True))

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, resource_version: str
    ) -> JsonObject:
        """Delete one object in exactly this state; return what is left of it, or a Status."""
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
        }
        return await self.call(Call("delete", resource.label, "DELETE", resource.path(namespace, name), body=body))

    async def create(self, resource: Resource, body: Mapping[str, Any]) -> JsonObject:
        """Create one object."""
        path = resource.path(body["metadata"]["namespace"])
        return await self.call(Call("create", resource.label, "POST", path, body=body))

    # How it is done -----------------------------------------------------------------------------------------------

    async def call(self, call: Call) -> JsonObject:
        """Send one request and return its JSON.

        Raises:
            ApiError: the server refused it, or did not answer in time.
        """
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
        try:
            async with await self._send(call, timeout) as response:
                found: JsonObject = json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise _no_answer(call, error) from error
        return found

    async def _send(self, call: Call, deadline: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """Send a request, once more after a new login where it was refused as unauthenticated."""
        if time.monotonic() - self._read_at > _TOKEN_SECONDS:
            await self._connect(only_if_older=_RELOGIN_SECONDS)
        response = await self._send_once(call, deadline)
        if response.status == HTTPStatus.UNAUTHORIZED:
            response.release()
            await self._connect(only_if_older=_RELOGIN_SECONDS)
            response = await self._send_once(call, deadline)
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise await _refusal(response)
        return response

    async def _send_once(self, call: Call, deadline: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        session, access = self._session, self._access
        if session is None or access is None:
            raise ApiError(0, "NotConnected", "the client was used outside of its context")
        deadline = self._fenced(call, deadline)
        started, status = time.monotonic(), 0
        try:
            response = await session.request(
                call.method,
                access.server + call.path,
                params=call.params,
                data=None if call.body is None else json.dumps(call.body),
                headers={**access.headers(), "Content-Type": call.content_type, "Accept": "application/json"},
                timeout=deadline,
                allow_redirects=False,
                proxy=access.proxy,
                server_hostname=access.server_name,
            )
            status = response.status
        finally:
            self._observe(call.verb, call.resource, status, time.monotonic() - started)
        self._log_warnings(call, response)
        return response

    def _fenced(self, call: Call, deadline: aiohttp.ClientTimeout) -> aiohttp.ClientTimeout:
        """Refuse a write that may not begin, and give up one that has when the fence closes."""
        left = math.inf if call.method == "GET" or not call.fenced else self._fence()
        if left <= 0:
            raise ApiError(0, "NotLeading", f"{call.verb} {call.resource}: only the replica that leads writes")
        if deadline.total is None or left >= deadline.total:
            return deadline
        # Without a threshold above it aiohttp would round the time up to a whole second.
        return aiohttp.ClientTimeout(total=left, sock_connect=deadline.sock_connect, ceil_threshold=REQUEST_SECONDS)

    async def _connect(self, only_if_older: float = 0.0) -> None:
        """Read the configuration; open a new pool where more than the token has changed."""
        async with self._login:
            if self._access is not None and time.monotonic() - self._read_at <= only_if_older:
                return
            try:
                access = await read_access(self._source)
            except AccessError:
                if self._access is None:
                    raise
                log.warning("credentials could not be read again; the ones in use are kept", exc_info=True)
                access = self._access
            await self._use(access)

    async def _use(self, access: Access) -> None:
        old_session, old = self._session, self._access
        self._access, self._read_at = access, time.monotonic()
        if old is None or old_session is None or not _same_pool(old, access):
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=access.tls()),
                headers={"User-Agent": self._user_agent},
                trust_env=False,
            )
            if old_session is not None:
                await old_session.close()

    def _log_warnings(self, call: Call, response: aiohttp.ClientResponse) -> None:
        """Log what the API server warns of (deprecations, unknown fields), each text once."""
        for text in response.headers.getall("Warning", ()):
            if text not in self._warned:
                self._warned[text] = None
                log.warning("the API server warns on %s %s: %s", call.verb, call.resource, text[:300])
        while len(self._warned) > _WARNINGS_REMEMBERED:
            self._warned.popitem(last=False)


def _same_pool(old: Access, new: Access) -> bool:
    """Whether open connections still stand for the new access; certificates are compared by file name only."""
    return (old.server, old.ca_file, old.certificate_file, old.key_file) == (
        new.server,
        new.ca_file,
        new.certificate_file,
        new.key_file,
    )


def _apply(verb: str, resource: Resource, path: str, body: Mapping[str, Any], *, force: bool) -> Call:
    params = {"fieldManager": FIELD_MANAGER, "force": str(force).lower()}
    # JSON is YAML, and apply has no media type of its own for JSON in every supported server version.
    return Call(verb, resource.label, "PATCH", path, params, body, "application/apply-patch+yaml")


def _no_answer(call: Call, error: Exception) -> ApiError:
    reason = "Timeout" if isinstance(error, TimeoutError) else type(error).__name__
    return ApiError(0, reason, f"{call.verb} {call.resource}: {str(error)[:200] or 'no answer in time'}")


async def _refusal(response: aiohttp.ClientResponse) -> ApiError:
    """Read the Status object of a refused request; anything else (a proxy's HTML) gives the HTTP reason."""
    async with response:
        text = await response.text(errors="replace")
    try:
        status = json.loads(text)
        reason, message = str(status.get("reason", "")), str(status.get("message", ""))
        details = status.get("details") or {}
    except (ValueError, AttributeError):
        reason, message, details = "", "", {}
    after = response.headers.get("Retry-After") or details.get("retryAfterSeconds")
    return ApiError(response.status, reason or str(response.reason), message or str(response.reason), _seconds(after))


def _seconds(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Split a stream into lines of any length up to the limit (aiohttp's own readline ends at 128 KiB)."""
    buffer = bytearray()
    async for chunk in response.content.iter_any():
        buffer += chunk
        *lines, rest = buffer.split(b"\n")
        buffer = bytearray(rest)
        for line in lines:
            if line:
                yield bytes(line)
        if len(buffer) > _LINE_LIMIT:
            raise ValueError(f"a line of more than {_LINE_LIMIT} bytes in a watch")
