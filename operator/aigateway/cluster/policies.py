"""The watch of policies through kopf, in a thread and event loop of its own.

The only module that imports kopf.  kopf owns login, discovery and the watch; it writes nothing to anyone's objects, and
ends every task of its loop when it ends, hence the thread.  Whatever it sees is handed to the engine's loop by
``call_soon_threadsafe``.

kopf ends on errors inside a watch, and after an expired watch it never tells of deletions in between.  So it is started
again, and before each start, after each new list of kopf's, and every 10 to 30 minutes the policies are listed in full
and compared.  What kopf asks for goes through a session of ours, which shows when it last reached the server, and
keeps it from asking in a tight loop.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import kopf

from aigateway.cluster.client import ApiError, Client, JsonObject
from aigateway.cluster.connection import Source, read_access
from aigateway.cluster.resources import POLICIES
from aigateway.cluster.store import Store
from aigateway.core.observation import Json

log = logging.getLogger(__name__)

_RESTART_SECONDS = (1.0, 30.0)
_STABLE_SECONDS = 60.0
_WATCH_SECONDS = (90, 120)
"""How long a watch lasts: its renewal shows that the server is still reached."""
_WATCH_AGAIN_SECONDS = 1.0
_LOGIN_AGAIN_SECONDS = 5.0
_COMPARE_SECONDS = (600.0, 1800.0)
_BEAT_SECONDS = 5.0
_LOGIN_VALID = timedelta(minutes=5)


class _Backoffs:
    """Waits between kopf's tries of a request: without end, since an outage of the server is no reason to exit."""

    def __iter__(self) -> Iterator[float]:
        return (random.uniform(0.5, 1.0) * min(30.0, 2.0**power) for power in itertools.count())  # noqa: S311


class _NoEssence(kopf.DiffBaseStorage):
    """Nothing is kept of an object for kopf to compare it with.

    No handler asks kopf what has changed, and its copies of each object would be a third of its work on an event.
    """

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:  # noqa: ARG002 (kopf's signature)
        """Return what to compare: nothing."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002 (kopf's signature)
        """Return what was kept: nothing."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Keep nothing; kopf asks for it only where there are handlers of changes."""


@dataclass(frozen=True, slots=True)
class Listings:
    """Full lists of the policies into their store, which find what kopf's watch has lost."""

    client: Client
    store: Store[Json]
    namespaces: tuple[str, ...]

    async def compare(self) -> int:
        """Take over one full list; return the number of differences.

        Raises:
            ApiError: the server refused or did not answer.
        """
        return sum([await self._compare_one(namespace) for namespace in self.namespaces or (None,)])

    async def _compare_one(self, namespace: str | None) -> int:
        mark = self.store.mark()
        items: list[JsonObject] = []
        version = "0"
        async for page in self.client.pages(POLICIES, namespace, ""):
            items += page.items
            version = page.resource_version
        return self.store.replace(items, int(version), mark, namespace)

    async def until_done(self) -> int:
        """Compare, trying again until it works; return the number of differences."""
        for wait in _Backoffs():
            try:
                return await self.compare()
            except ApiError as error:
                log.warning("policies cannot be listed, tried again in %.0f s: %s", wait, _explained(error))
                await asyncio.sleep(wait)
        raise AssertionError("the waits have no end")


def _explained(error: ApiError) -> str:
    remedy = f"; install the {POLICIES.kind} CRD" if error.missing else ""
    return f"{error}{remedy}"


class Heard:
    """What kopf's requests show, seen from inside its thread: when the server answered, and that it listed anew.

    ``on_relist`` is called there after every list but the first of a run.
    """

    def __init__(self, on_relist: Callable[[], object]) -> None:
        self._on_relist = on_relist
        self._listed: set[str] = set()
        self._watched: dict[str, float] = {}
        self._login_at = float("-inf")
        self.at: dict[str, float] = {}
        """When the server last answered, by path and the monotonic clock."""

    def start(self) -> None:
        """Take over that kopf starts, and begins with a list."""
        self._listed.clear()

    def trace(self) -> aiohttp.TraceConfig:
        """Return what makes a session tell of its requests."""
        config = aiohttp.TraceConfig()
        config.on_request_start.append(self._before)
        config.on_request_end.append(self._after)
        return config

    async def pause_before_login(self) -> None:
        """Wait where the last login was a moment ago: the server refuses it, and would again."""
        await asyncio.sleep(self._login_at + _LOGIN_AGAIN_SECONDS - time.monotonic())
        self._login_at = time.monotonic()

    async def _before(self, _: object, __: object, request: aiohttp.TraceRequestStartParams) -> None:
        """Slow kopf down where a server ends every watch at once; it would ask again without a pause."""
        path = request.url.path
        if "watch" in request.url.query:
            await asyncio.sleep(self._watched.get(path, float("-inf")) + _WATCH_AGAIN_SECONDS - time.monotonic())
            self._watched[path] = time.monotonic()

    async def _after(self, _: object, __: object, answered: aiohttp.TraceRequestEndParams) -> None:
        if not answered.response.ok:
            return
        url = answered.url
        self.at[url.path] = time.monotonic()
        if "watch" in url.query or "continue" in url.query:
            return
        if url.path in self._listed:
            self._on_relist()
        self._listed.add(url.path)


class PolicyWatch:
    """Keeps the store of policies up to date until stopped.  Made, started and stopped in the engine's loop."""

    def __init__(self, source: Source, listings: Listings, on_synced: Callable[[], None]) -> None:
        self._source = source
        self._listings = listings
        self._on_synced = on_synced
        self._loop = asyncio.get_running_loop()
        self._ending = threading.Event()
        self._kopf: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._thread = threading.Thread(target=self._supervise, name="kopf", daemon=True)
        self._started_at = float("-inf")
        self._compare_soon = asyncio.Event()
        self._heard = Heard(lambda: self._loop.call_soon_threadsafe(self._compare_soon.set))
        self.beat_at = time.monotonic()
        """When kopf's thread last showed that it is alive, by the monotonic clock."""
        self.restarts = -1
        """How often kopf has been started again."""

    @property
    def running(self) -> bool:
        """Whether kopf is watching now, rather than waiting for its next start."""
        return self._kopf is not None

    def silent_for(self) -> float:
        """Return for how many seconds the server has not answered kopf, in the namespace where that is longest."""
        paths = [POLICIES.path(namespace) for namespace in self._listings.namespaces or (None,)]
        return time.monotonic() - min(self._heard.at.get(path, self._started_at) for path in paths)

    async def run(self) -> None:
        """List, watch and compare until cancelled."""
        await self._listings.until_done()
        self._on_synced()
        self._thread.start()
        try:
            while True:
                await self._until_next_compare()
                differences = await self._listings.until_done()
                if differences:
                    log.info("a full list of policies showed %d changes that the watch had not told of", differences)
        finally:
            await self._stop()

    def restart(self) -> None:
        """End kopf so that its supervisor starts it anew."""
        if self._kopf is not None:
            loop, stop = self._kopf
            loop.call_soon_threadsafe(stop.set)

    async def _stop(self) -> None:
        self._ending.set()
        self.restart()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 5.0)

    async def _until_next_compare(self) -> None:
        self._compare_soon.clear()
        try:
            async with asyncio.timeout(random.uniform(*_COMPARE_SECONDS)):  # noqa: S311 (spreads load)
                await self._compare_soon.wait()
                # kopf is just handing over a new list of its own: wait for the rest of it.
                await asyncio.sleep(_BEAT_SECONDS)
        except TimeoutError:
            return

    # In the engine's loop, called from kopf's thread ------------------------------------------------------------

    def _deliver(self, kind: str | None, raw: JsonObject) -> None:
        if kind == "DELETED":
            self._listings.store.remove(raw)
        else:
            self._listings.store.put(raw)

    # In kopf's thread -------------------------------------------------------------------------------------------

    def _supervise(self) -> None:
        """Run kopf, again and again, with decorrelated jitter between the starts."""
        least, most = _RESTART_SECONDS
        wait = least
        while not self._ending.is_set():
            started = time.monotonic()
            why = self._run_once()
            if self._ending.is_set():
                return
            wait = least if time.monotonic() - started > _STABLE_SECONDS else wait
            wait = min(most, random.uniform(least, 3 * wait))  # noqa: S311 (spreads load)
            log.warning("the watch of policies ended (%s); reconciles go on, it starts again in %.0f s", why, wait)
            self._beat_while(wait)
            self._compare_before_start()

    def _run_once(self) -> str:
        self.restarts += 1
        self._started_at = time.monotonic()
        self._heard.start()
        try:
            asyncio.run(self._operate())
        except Exception as error:  # noqa: BLE001 (whatever ends kopf, it is to be started again)
            return str(error)[:200] or type(error).__name__
        finally:
            self._kopf = None
        return "it was stopped"

    async def _operate(self) -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(_quiet_about_cut_watches)
        self._kopf = (asyncio.get_running_loop(), stop)
        beat = asyncio.create_task(self._beat(), name="heartbeat")
        namespaces = self._listings.namespaces
        try:
            await kopf.operator(
                registry=self._registry(),
                settings=_settings(),
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                stop_flag=stop,
            )
        finally:
            beat.cancel()

    async def _beat(self) -> None:
        while True:
            self.beat_at = time.monotonic()
            await asyncio.sleep(_BEAT_SECONDS)

    def _beat_while(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._ending.wait(min(1.0, max(0.0, end - time.monotonic()))):
            self.beat_at = time.monotonic()

    def _compare_before_start(self) -> None:
        done = asyncio.run_coroutine_threadsafe(self._listings.until_done(), self._loop)
        while not done.done() and not self._ending.wait(0.1):
            self.beat_at = time.monotonic()
        done.cancel()

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry, retries=3, backoff=1.0)
        async def login(**_: object) -> kopf.AiohttpSession:
            return await _connection(self._source, self._heard)

        @kopf.on.event(POLICIES.group, POLICIES.version, POLICIES.plural, registry=registry)
        async def changed(event: kopf.RawEvent, **_: object) -> None:
            self._loop.call_soon_threadsafe(self._deliver, event["type"], dict(event["object"]))

        return registry


async def _connection(source: Source, heard: Heard) -> kopf.AiohttpSession:
    """Return a session with our own access, to be asked for again before a pod's token runs out.

    One that is asked for again at once, since the server has refused the last, comes after a pause.
    """
    await heard.pause_before_login()
    access = await read_access(source)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=access.tls()),
        headers=access.headers(),
        proxy=access.proxy,
        trust_env=False,
        trace_configs=[heard.trace()],
    )
    expiration = datetime.now(UTC) + _LOGIN_VALID if access.token else None
    return kopf.AiohttpSession(server=access.server, aiohttp_session=session, expiration=expiration)


def _quiet_about_cut_watches(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Keep out of the log how kopf's watch ends when its loop closes in the middle of an event: it was told to."""
    if "asyncgen" in context:
        log.debug("kopf's watch was cut off: %s", context.get("message"))
    else:
        loop.default_exception_handler(context)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    # Nothing is watched but policies: their CRD is known to be there, and namespaces need not be observed.
    settings.scanning.disabled = True
    settings.watching.server_timeout = random.randint(*_WATCH_SECONDS)  # noqa: S311 (spreads load)
    settings.watching.inactivity_timeout = 75
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = _Backoffs()
    settings.networking.enforce_retry_after = True
    settings.persistence.diffbase_storage = _NoEssence()
    settings.execution.max_workers = 1
    settings.queueing.idle_timeout = 1
    # kopf would kill the whole process after this long; the process ends itself.
    settings.process.ultimate_exiting_timeout = None
    return settings
