"""The policy watch: kopf is started again whenever it ends, and full lists find what it loses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path
from typing import Any

import kopf
import pytest

from aigateway.cluster import policies as module
from aigateway.cluster.connection import Source
from aigateway.cluster.policies import Listings, PolicyWatch, _Backoffs, _connection, _settings
from aigateway.cluster.resources import POLICIES
from aigateway.cluster.store import Store
from aigateway.core.observation import Json
from tests.unit.cluster.apiserver import FakeApiserver, refusal, running, until, write_kubeconfig

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
    monkeypatch.setattr(module, "_STABLE_SECONDS", 0.0)

    async def scenario(fake: FakeApiserver, _: FakeKopf, policy_watch: PolicyWatch, store: Store[Json]) -> None:
        fake.remove(POLICIES, "other")
        policy_watch._deliver(None, fake.put(POLICIES, "llm"))
        await until(lambda: names(store) == {"llm"})

    watch(scenario, tmp_path, monkeypatch)


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


def test_login(tmp_path: Path) -> None:
    """The watch logs in where and as whom the client does, and asks again while a token lasts."""
    path = write_kubeconfig(tmp_path, "https://127.0.0.1:6443", "t0ken")
    info = asyncio.run(_connection(Source(path)))

    assert ("https://127.0.0.1:6443", "Bearer", "t0ken") == (info.server, info.scheme, info.token)
    assert info.expiration is not None
