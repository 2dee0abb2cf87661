"""The policy watch: kopf is started again whenever it ends, and full lists find what it loses."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import pytest

from aigateway.cluster import policies as module
from aigateway.cluster.connection import Source
from aigateway.cluster.policies import Heard, Listings, PolicyWatch, _Backoffs, _connection, _settings
from aigateway.cluster.resources import POLICIES
from aigateway.cluster.store import Store
from aigateway.core.observation import Json
from tests.unit.cluster.apiserver import FakeApiserver, refusal, running, until

Scenario = Callable[[FakeApiserver, "FakeKopf", PolicyWatch, Store[Json]], Awaitable[None]]
LIST = f"GET {POLICIES.path()}"


class FakeKopf:
    """Stands in for ``kopf.operator``: runs until told to stop or to fail."""

    def __init__(self) -> None:
        self.starts = 0
        self.arguments: dict[str, Any] = {}
        self._fail = threading.Event()

    async def operator(self, **arguments: Any) -> None:
        """Run until told otherwise."""
        self.starts += 1
        self.arguments = arguments
        while not arguments["stop_flag"].is_set():
            if self._fail.is_set():
                self._fail.clear()
                raise RuntimeError("etcdserver: leader changed")
            await asyncio.sleep(0.005)

    def fail(self) -> None:
        """End the running operator with an error."""
        self._fail.set()


def watch(scenario: Scenario, folder: Path, monkeypatch: pytest.MonkeyPatch, namespaces: tuple[str, ...] = ()) -> None:
    """Run a scenario with a policy watch whose kopf is a fake."""
    fake_kopf = FakeKopf()
    monkeypatch.setattr(kopf, "operator", fake_kopf.operator)
    monkeypatch.setattr(module, "_RESTART_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(module, "_BEAT_SECONDS", 0.01)

    async def main() -> None:
        async with asyncio.timeout(20), running(folder) as (fake, client):
            store: Store[Json] = Store(lambda raw: {"metadata": raw["metadata"]}, lambda *_: None)
            fake.put(POLICIES, "llm")
            fake.put(POLICIES, "other")
            synced = asyncio.Event()
            listings = Listings(client, store, namespaces)
            policy_watch = PolicyWatch(Source(folder / "kubeconfig"), listings, synced.set)
            task = asyncio.create_task(policy_watch.run())
            try:
                await synced.wait()
                await until(lambda: policy_watch.running)
                await scenario(fake, fake_kopf, policy_watch, store)
                assert not task.done()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert not policy_watch.running

    asyncio.run(main())


def names(store: Store[Json]) -> set[str]:
    """Return the names in the store."""
    return {entry.name for entry in store}


def test_it_lists_before_it_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Policies are known as a whole before kopf starts, cluster-wide."""

    async def scenario(_: FakeApiserver, fake_kopf: FakeKopf, __: PolicyWatch, store: Store[Json]) -> None:
        assert {"llm", "other"} == names(store)
        await until(lambda: fake_kopf.starts == 1)
        assert (True, ()) == (fake_kopf.arguments["clusterwide"], fake_kopf.arguments["namespaces"])

    watch(scenario, tmp_path, monkeypatch)


def test_a_kopf_that_ends_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure of kopf, what was deleted meanwhile is found by a list, then kopf starts anew."""

    async def scenario(fake: FakeApiserver, fake_kopf: FakeKopf, policy_watch: PolicyWatch, store: Store[Json]) -> None:
        fake.remove(POLICIES, "other")
        fake_kopf.fail()
        await until(lambda: policy_watch.restarts == 1 and policy_watch.running)
        assert {"llm"} == names(store)
        assert 2 == fake.count(LIST)
        policy_watch.restart()
        await until(lambda: policy_watch.restarts == 2 and policy_watch.running)
        assert 3 == fake.count(LIST)

    watch(scenario, tmp_path, monkeypatch)


def test_kopf_starts_only_once_policies_can_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the server refuses the list, kopf is not started and the thread shows that it lives."""
    monkeypatch.setattr(module._Backoffs, "__iter__", lambda _: iter([0.01] * 1000))

    async def scenario(fake: FakeApiserver, fake_kopf: FakeKopf, policy_watch: PolicyWatch, _: Store[Json]) -> None:
        fake.faults += [(LIST, refusal(404, "NotFound")) for _ in range(5)]
        beat = policy_watch.beat_at
        fake_kopf.fail()
        await until(lambda: not fake.faults)
        await until(lambda: policy_watch.running and policy_watch.restarts == 1)
        assert policy_watch.beat_at > beat

    watch(scenario, tmp_path, monkeypatch)


def test_events_reach_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What kopf delivers is put into or taken from the store."""

    async def scenario(fake: FakeApiserver, _: FakeKopf, policy_watch: PolicyWatch, store: Store[Json]) -> None:
        policy_watch._deliver("ADDED", fake.put(POLICIES, "new"))
        policy_watch._deliver("DELETED", fake.put(POLICIES, "llm"))
        assert {"new", "other"} == names(store)

    watch(scenario, tmp_path, monkeypatch)


def test_a_new_list_of_kopf_s_is_compared_with_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When kopf lists anew in mid-life it lost its watch, and perhaps deletions: policies are compared at once."""

    async def scenario(fake: FakeApiserver, _: FakeKopf, policy_watch: PolicyWatch, store: Store[Json]) -> None:
        fake.remove(POLICIES, "other")
        policy_watch._heard._on_relist()
        await until(lambda: names(store) == {"llm"})

    watch(scenario, tmp_path, monkeypatch)


def asked(scenario: Callable[[FakeApiserver, Heard, aiohttp.ClientSession], Awaitable[None]], folder: Path) -> int:
    """Run a scenario with the session that kopf gets; return how many lists counted as new ones."""
    relists: list[None] = []

    async def main() -> None:
        async with asyncio.timeout(20), running(folder) as (fake, _):
            heard = Heard(lambda: relists.append(None))
            info = await _connection(Source(folder / "kubeconfig"), heard)
            async with info.aiohttp_session as session:
                await scenario(fake, heard, session)

    asyncio.run(main())
    return len(relists)


@pytest.mark.parametrize(
    ("queries", "expected"),
    [
        pytest.param(["limit=500"], 0, id="the first list"),
        pytest.param(["limit=500", "limit=500&continue=1"], 0, id="its second page"),
        pytest.param(["limit=500", "watch=true&resourceVersion=1"], 0, id="a watch"),
        pytest.param(["limit=500", "limit=500", "limit=500"], 2, id="lists anew"),
    ],
)
def test_what_counts_as_a_new_list(tmp_path: Path, queries: list[str], expected: int) -> None:
    """Only a list from its beginning, and not the one that kopf starts with."""

    async def scenario(fake: FakeApiserver, _: Heard, session: aiohttp.ClientSession) -> None:
        for query in queries:
            async with session.get(f"{fake.url}{POLICIES.path()}?{query}") as answer:
                assert answer.ok

    assert expected == asked(scenario, tmp_path)


def test_a_start_of_kopf_begins_anew(tmp_path: Path) -> None:
    """The first list after a restart is no new list."""

    async def scenario(fake: FakeApiserver, heard: Heard, session: aiohttp.ClientSession) -> None:
        for _ in range(2):
            heard.start()
            async with session.get(f"{fake.url}{POLICIES.path()}") as answer:
                assert answer.ok

    assert 0 == asked(scenario, tmp_path)


def test_only_an_answer_is_a_sign_of_life(tmp_path: Path) -> None:
    """A refusal is none: for so long the policies may have changed unseen."""

    async def scenario(fake: FakeApiserver, heard: Heard, session: aiohttp.ClientSession) -> None:
        fake.faults.append((LIST, refusal(503, "Unavailable")))
        async with session.get(f"{fake.url}{POLICIES.path()}") as refused:
            assert (503, {}) == (refused.status, heard.at)
        async with session.get(f"{fake.url}{POLICIES.path()}") as answered:
            assert (200, {POLICIES.path()}) == (answered.status, set(heard.at))

    asked(scenario, tmp_path)


def test_neither_watches_nor_logins_follow_each_other_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that ends every watch, or refuses every login, at once is not asked in a tight loop."""
    monkeypatch.setattr(module, "_WATCH_AGAIN_SECONDS", 0.2)
    monkeypatch.setattr(module, "_LOGIN_AGAIN_SECONDS", 0.2)

    async def scenario(fake: FakeApiserver, heard: Heard, session: aiohttp.ClientSession) -> None:
        began = time.monotonic()
        for _ in range(3):
            async with session.get(f"{fake.url}{POLICIES.path()}?watch=true&resourceVersion=1"):
                pass
        assert time.monotonic() - began >= 0.4
        began = time.monotonic()
        for _ in range(2):
            await heard.pause_before_login()
        assert time.monotonic() - began >= 0.2

    asked(scenario, tmp_path)


def test_silence_is_counted_where_it_is_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several namespaces the one that was heard of longest ago counts, one never heard of since the start."""

    async def scenario(_: FakeApiserver, __: FakeKopf, policy_watch: PolicyWatch, ___: Store[Json]) -> None:
        now = time.monotonic()
        policy_watch._heard.at |= {POLICIES.path("models"): now - 500, POLICIES.path("more"): now}
        assert policy_watch.silent_for() >= 500
        policy_watch._heard.at[POLICIES.path("models")] = now + 100
        assert policy_watch.silent_for() < 500

    watch(scenario, tmp_path, monkeypatch, ("models", "more"))


def test_policies_are_compared_from_time_to_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when nothing seems wrong, full lists are compared."""
    monkeypatch.setattr(module, "_COMPARE_SECONDS", (0.01, 0.01))

    async def scenario(fake: FakeApiserver, _: FakeKopf, __: PolicyWatch, store: Store[Json]) -> None:
        fake.remove(POLICIES, "other")
        await until(lambda: names(store) == {"llm"})

    watch(scenario, tmp_path, monkeypatch)


def test_a_fixed_set_of_namespaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With namespaces given, only those are listed and watched."""

    async def scenario(fake: FakeApiserver, fake_kopf: FakeKopf, _: PolicyWatch, __: Store[Json]) -> None:
        await until(lambda: fake_kopf.starts == 1)
        assert (False, ("models", "more")) == (fake_kopf.arguments["clusterwide"], fake_kopf.arguments["namespaces"])
        assert 0 == sum(request == ("GET", POLICIES.path()) for request in fake.requests)

    watch(scenario, tmp_path, monkeypatch, ("models", "more"))


def test_kopf_is_told_to_write_nothing_and_never_to_give_up() -> None:
    """No posting, no peering, no scanning, no suicide, and endless jittered waits between tries."""
    settings = _settings()
    waits = list(islice(_Backoffs(), 100))

    assert settings.peering.standalone
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.process.ultimate_exiting_timeout is None
    assert 100 == len(waits)
    assert 0.5 <= waits[0] <= 1.0
    assert 15.0 <= waits[-1] <= 30.0


def test_kopf_keeps_nothing_of_an_object() -> None:
    """What kopf would copy of each object to compare it with is empty, and nothing is looked for on the object."""
    storage = _settings().persistence.diffbase_storage
    annotations = {"kopf.zalando.org/last-handled-configuration": "{}"}
    body = kopf.Body({"metadata": {"name": "llm", "annotations": annotations}, "spec": {"hosts": ["a.example.com"]}})
    patch = kopf.Patch()

    storage.store(body=body, patch=patch, essence=kopf.BodyEssence(spec={}))

    assert ({}, None, {}) == (storage.build(body=body), storage.fetch(body=body), dict(patch))


def test_login(tmp_path: Path) -> None:
    """The watch logs in where and as whom the client does, and asks again while a token lasts."""

    async def scenario(fake: FakeApiserver, heard: Heard, session: aiohttp.ClientSession) -> None:
        assert "Bearer t0ken" == session.headers["Authorization"]
        info = await _connection(Source(tmp_path / "kubeconfig"), Heard(lambda: None))
        assert fake.url == info.server
        assert info.expiration is not None
        await info.aiohttp_session.close()
        assert {} == heard.at

    asked(scenario, tmp_path)
