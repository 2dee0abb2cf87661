"""The reflector: whatever happens to its watch, the store ends up equal to the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from aigateway.cluster import client as client_module
from aigateway.cluster import reflector as reflector_module
from aigateway.cluster.reflector import Reflector, Scope, Timing
from aigateway.cluster.resources import SERVICES
from aigateway.cluster.store import Store
from aigateway.core.observation import Json
from tests.unit.cluster.apiserver import FakeApiserver, refusal, running, until

QUICK = Timing(watch=60, compare=(1000, 1000), backoff=(0.001, 0.01))
LIST = "GET /api/v1/services"
WATCH = "WATCH /api/v1/services"
Scenario = Callable[[FakeApiserver, Reflector, "Store[str]"], Awaitable[None]]


def keep_label(raw: Json) -> str:
    """Keep one label of an object."""
    return str((raw["metadata"].get("labels") or {}).get("v", ""))


def follow(
    scenario: Scenario,
    folder: Path,
    timing: Timing = QUICK,
    on_missing: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run a scenario while a reflector follows the Services ``a`` and ``b`` of a fake server."""

    async def main() -> None:
        async with asyncio.timeout(20), running(folder) as (fake, client):
            store: Store[str] = Store(keep_label, lambda *_: None)
            fake.put(SERVICES, "a", metadata={"labels": {"v": "1"}})
            fake.put(SERVICES, "b", metadata={"labels": {"v": "1"}})
            reflector = Reflector(client, Scope(SERVICES), store, on_missing=on_missing, timing=timing, clock=clock)
            task = asyncio.create_task(reflector.run())
            try:
                await scenario(fake, reflector, store)
                assert not task.done()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def contents(store: Store[str]) -> dict[str, str]:
    """Return what the store holds."""
    return {entry.name: entry.value for entry in store}


def test_it_lists_once_and_follows(tmp_path: Path) -> None:
    """After one list, changes and deletions come by the watch alone."""

    async def scenario(fake: FakeApiserver, reflector: Reflector, store: Store[str]) -> None:
        await until(lambda: reflector.synced)
        assert {"a": "1", "b": "1"} == contents(store)
        fake.put(SERVICES, "a", metadata={"labels": {"v": "2"}})
        fake.remove(SERVICES, "b")
        fake.put(SERVICES, "c")
        await until(lambda: contents(store) == {"a": "2", "c": ""})
        assert 1 == fake.count(LIST)

    follow(scenario, tmp_path)


def test_an_ended_watch_resumes_without_a_list(tmp_path: Path) -> None:
    """A watch that the server ends goes on from its last version, bookmarks included; nothing is listed."""

    async def scenario(fake: FakeApiserver, reflector: Reflector, store: Store[str]) -> None:
        await until(lambda: fake.count(WATCH) == 1)
        fake.bookmark(SERVICES)
        heard = reflector.heard_at
        await until(lambda: reflector.heard_at > heard)
        fake.cut_watches()
        fake.put(SERVICES, "a", metadata={"labels": {"v": "2"}})
        await until(lambda: contents(store)["a"] == "2")
        assert 1 == fake.count(LIST)
        assert 2 <= fake.count(WATCH)

    follow(scenario, tmp_path)


def test_a_quiet_watch_is_renewed_without_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing happens for long, watches follow each other; nothing is listed, and the cache counts as fresh."""
    monkeypatch.setattr(client_module, "WATCH_SILENCE_SECONDS", 0.02)
    monkeypatch.setattr(reflector_module, "_AT_ONCE_SECONDS", 0.01)

    async def scenario(fake: FakeApiserver, reflector: Reflector, _: Store[str]) -> None:
        await until(lambda: fake.count(WATCH) == 1)
        heard = reflector.heard_at
        await until(lambda: fake.count(WATCH) >= 5)
        assert 1 == fake.count(LIST)
        assert reflector.heard_at > heard

    follow(scenario, tmp_path)


@pytest.mark.parametrize(
    ("seconds", "failures"), [pytest.param(60, 0, id="for long"), pytest.param(0.5, 3, id="for a moment")]
)
def test_a_watch_that_was_open_for_long_ends_the_backoff(tmp_path: Path, seconds: float, failures: int) -> None:
    """Failures minutes apart are each the first, though nothing may happen in between."""
    now = [1000.0]

    async def scenario(fake: FakeApiserver, reflector: Reflector, _: Store[str]) -> None:
        fake.faults += [("WATCH", refusal(503, "Unavailable")) for _ in range(2)]
        await until(lambda: fake.count(WATCH) == 3 and reflector._opened_at == now[0])
        assert 2 == reflector._failures
        now[0] += seconds
        fake.cut_watches()
        await until(lambda: fake.count(WATCH) == 4)
        assert failures == reflector._failures

    follow(scenario, tmp_path, clock=lambda: now[0])


def test_deletions_behind_an_expired_watch_are_found(tmp_path: Path) -> None:
    """After 410 a list is compared: what was deleted in the gap goes, what came is there."""

    async def scenario(fake: FakeApiserver, reflector: Reflector, store: Store[str]) -> None:
        await until(lambda: fake.count(WATCH) == 1)
        fake.remove(SERVICES, "b")
        fake.put(SERVICES, "c")
        fake.forget_history()
        await until(lambda: contents(store) == {"a": "1", "c": ""})
        await until(lambda: fake.count(LIST) == 2)
        assert reflector.synced

    follow(scenario, tmp_path)


@pytest.mark.parametrize("code", [pytest.param(500, id="500"), pytest.param(504, id="leader changed")])
def test_an_error_inside_the_watch(tmp_path: Path, code: int) -> None:
    """Any error event interrupts the watch only; it resumes."""

    async def scenario(fake: FakeApiserver, _: Reflector, store: Store[str]) -> None:
        await until(lambda: fake.count(WATCH) == 1)
        fake.send_error(SERVICES, code)
        fake.put(SERVICES, "a", metadata={"labels": {"v": "2"}})
        await until(lambda: contents(store)["a"] == "2")

    follow(scenario, tmp_path)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda: refusal(503, "Unavailable"), id="503"),
        pytest.param(lambda: refusal(403, "Forbidden"), id="403"),
        pytest.param(lambda: refusal(429, "TooMany", **{"Retry-After": "0"}), id="429"),
        pytest.param(lambda: web.Response(text='{"type": "ADD'), id="cut JSON"),
        pytest.param(lambda: web.json_response({"type": "ADDED", "object": {}}), id="nonsense"),
        pytest.param(web.Response, id="ends at once"),
    ],
)
def test_it_outlives_bad_answers(tmp_path: Path, fault: Callable[[], web.Response]) -> None:
    """Bad answers to lists and watches delay it, and never end it."""

    async def scenario(fake: FakeApiserver, reflector: Reflector, store: Store[str]) -> None:
        fake.faults += [("WATCH", fault()) for _ in range(4)]
        await until(lambda: not fake.faults)
        fake.put(SERVICES, "a", metadata={"labels": {"v": "2"}})
        await until(lambda: reflector.synced and contents(store) == {"a": "2", "b": "1"})

    follow(scenario, tmp_path)


def test_a_version_that_is_refused_again_and_again_is_dropped(tmp_path: Path) -> None:
    """After three failures of a watch it starts over from a list: the server may never have known that version."""

    async def scenario(fake: FakeApiserver, _: Reflector, __: Store[str]) -> None:
        fake.faults += [("WATCH", refusal(500, "TooLargeResourceVersion")) for _ in range(3)]
        await until(lambda: fake.count(LIST) == 2)

    follow(scenario, tmp_path)


def test_it_compares_from_time_to_time(tmp_path: Path) -> None:
    """When the time for a comparison has come, the end of a watch is followed by a list."""

    async def scenario(fake: FakeApiserver, _: Reflector, __: Store[str]) -> None:
        await until(lambda: fake.count(WATCH) == 1)
        fake.cut_watches()
        await until(lambda: fake.count(LIST) == 2)

    follow(scenario, tmp_path, Timing(watch=60, compare=(0, 0), backoff=(0.001, 0.01)))


def test_a_kind_that_is_gone_is_told(tmp_path: Path) -> None:
    """When the server no longer knows the resource, whoever runs the reflector is told."""
    missing: list[int] = []

    async def scenario(fake: FakeApiserver, _: Reflector, __: Store[str]) -> None:
        fake.faults.append(("WATCH", refusal(404, "NotFound")))
        await until(lambda: missing)

    follow(scenario, tmp_path, on_missing=lambda: missing.append(1))
