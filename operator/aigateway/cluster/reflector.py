"""List and watch one resource for ever, into a store.

:mod:`aigateway.cluster.watches` runs one per resource and scope.  It knows how watches break (expired versions, errors
inside the stream, silence, refusals) and nothing of what the objects mean.  It ends only by being cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from aigateway.cluster.client import ApiError, JsonObject, Listing
from aigateway.cluster.resources import Resource
from aigateway.cluster.store import Mark

log = logging.getLogger(__name__)

_AT_ONCE_SECONDS = 1.0
_GOOD_SECONDS = 5.0
"""A watch that was open for longer was a good one, even if nothing happened: failures before it do not count."""
_RELIST_EVERY = 3
"""A version that fails again and again may be one that the server will never know."""


class Api(Protocol):
    """What a reflector needs of :class:`aigateway.cluster.client.Client`."""

    def pages(self, resource: Resource, namespace: str | None, selector: str) -> AsyncIterator[Listing]:
        """Yield a collection page by page."""

    def watch(  # noqa: PLR0913, PLR0917 (what the API takes)
        self,
        resource: Resource,
        namespace: str | None,
        selector: str,
        since: str,
        seconds: int,
        opened: Callable[[], None],
    ) -> AsyncIterator[JsonObject]:
        """Yield watch events."""


class Sink(Protocol):
    """What a reflector feeds: :class:`aigateway.cluster.store.Store`, whatever it keeps."""

    def put(self, raw: JsonObject) -> None:
        """Take over an object."""

    def remove(self, raw: JsonObject) -> None:
        """Take over a deletion."""

    def mark(self) -> Mark:
        """Return what is known before a list."""

    def replace(self, listed: list[JsonObject], resource_version: int, mark: Mark, namespace: str | None) -> int:
        """Take over a list."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is watched: a resource, in one namespace or in all (None), by label selector (empty: every object)."""

    resource: Resource
    namespace: str | None = None
    selector: str = ""

    def __str__(self) -> str:
        """Return the form that logs use."""
        return f"{self.resource.label} in {self.namespace or 'all namespaces'}"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds.  A watch is ended by the server after ``watch`` (a third more at most) and resumed without a list.

    ``compare`` bounds the time between two full lists, which find what a watch has lost.
    """

    watch: float = 290.0
    compare: tuple[float, float] = (600.0, 1800.0)
    backoff: tuple[float, float] = (0.5, 30.0)


@dataclass(slots=True)
class Reflector:
    """Keeps ``store`` equal to what the API server has in ``scope``.

    ``on_synced`` is called after the first complete list, ``on_missing`` whenever the server does not know the
    resource at all, ``on_refused`` whenever it denies the right to look.  Where that returns True, the refusal is dealt
    with: nothing more is said of it, and what comes next is a list.
    """

    api: Api
    scope: Scope
    store: Sink
    on_synced: Callable[[], None] = lambda: None
    on_missing: Callable[[], None] = lambda: None
    on_refused: Callable[[], bool] = lambda: False
    timing: Timing = field(default_factory=Timing)
    clock: Callable[[], float] = time.monotonic
    synced: bool = False
    heard_at: float = float("-inf")
    """When the server last said anything about this resource, or agreed to a watch of it, by ``clock``."""
    _since: str = ""
    _compare_at: float = 0.0
    _failures: int = 0
    _opened_at: float = float("inf")

    async def run(self) -> None:
        """Follow the resource until cancelled."""
        while True:
            try:
                await self._turn()
            except ApiError as error:
                await self._recover(error)
            except Exception:  # a fault in here must not end the watch: start over from a list
                log.exception("the watch of %s failed unexpectedly and starts over", self.scope)
                self._since = ""
                await self._pause(None)

    async def _turn(self) -> None:
        if not self._since or self.clock() >= self._compare_at:
            await self._list()
        started = self.clock()
        self._opened_at = float("inf")
        try:
            events = await self._watch()
        finally:
            if self.clock() - self._opened_at > _GOOD_SECONDS:
                self._failures = 0
        if not events and self.clock() - started < _AT_ONCE_SECONDS:
            # A server that ends every watch at once must not be asked in a tight loop.
            await self._pause(None)

    async def _list(self) -> None:
        mark = self.store.mark()
        items: list[JsonObject] = []
        version = ""
        async for page in self.api.pages(self.scope.resource, self.scope.namespace, self.scope.selector):
            for item in page.items:
                item.get("metadata", {}).pop("managedFields", None)
            items += page.items
            version = page.resource_version
        differences = self.store.replace(items, int(version), mark, self.scope.namespace)
        if self.synced and differences:
            log.info("a full list of %s showed %d changes that no watch had told of", self.scope, differences)
        self._listed(version)

    def _listed(self, version: str) -> None:
        self._since, self.heard_at = version, self.clock()
        self._compare_at = self.heard_at + random.uniform(*self.timing.compare)  # noqa: S311 (spreads load)
        if not self.synced:
            self.synced = True
            self.on_synced()

    async def _watch(self) -> int:
        """Follow one watch to its end; return how many events there were."""
        events = 0
        seconds = int(self.timing.watch * random.uniform(1.0, 1.33))  # noqa: S311 (spreads load)
        scope = self.scope
        async for event in self.api.watch(
            scope.resource, scope.namespace, scope.selector, self._since, seconds, self._opened
        ):
            events += 1
            self._take(event["type"], event["object"])
            self.heard_at = self.clock()
            self._failures = 0
        return events

    def _opened(self) -> None:
        self.heard_at = self._opened_at = self.clock()

    def _take(self, kind: str, raw: JsonObject) -> None:
        if kind == "ERROR":
            raise ApiError(int(raw.get("code", 0)), str(raw.get("reason", "")), str(raw.get("message", "")))
        if kind == "DELETED":
            self.store.remove(raw)
        elif kind in ("ADDED", "MODIFIED"):
            self.store.put(raw)
        self._since = raw["metadata"]["resourceVersion"]

    async def _recover(self, error: ApiError) -> None:
        if error.missing:
            self.on_missing()
        refused = error.status == HTTPStatus.FORBIDDEN and self.on_refused()
        if error.gone or refused or (self._failures + 1) % _RELIST_EVERY == 0:
            self._since = ""
        if not (error.gone or refused):
            # The first cut of a connection is everyday life; from the second on somebody should know.
            level = logging.WARNING if self._failures else logging.DEBUG
            log.log(level, "the watch of %s was interrupted, it resumes by itself: %s", self.scope, error)
        await self._pause(error.retry_after)

    async def _pause(self, at_least: float | None) -> None:
        first, most = self.timing.backoff
        delay = min(most, first * 2 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load)
        self._failures += 1
        await asyncio.sleep(max(delay, at_least or 0.0))
