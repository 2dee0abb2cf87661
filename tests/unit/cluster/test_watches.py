"""Which reflectors run: kinds that come and go, namespaces that hold policies or do not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from aigateway.api.administrator import Administrator
from aigateway.cluster import watches as module
from aigateway.cluster.resources import CHILDREN, ENDPOINT_SLICES, POLICIES, SERVICES
from aigateway.cluster.watches import Watches
from aigateway.cluster.world import Presence, World
from aigateway.core.observation import ChildKind
from tests.unit.cluster.apiserver import FakeApiserver, refusal, running, until

Scenario = Callable[[FakeApiserver, World, Watches], Awaitable[None]]
VIRTUAL_SERVICES = CHILDREN[ChildKind.VIRTUAL_SERVICE]
ENVOY_FILTERS = CHILDREN[ChildKind.ENVOY_FILTER]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for absent kinds every few milliseconds."""
    monkeypatch.setattr(module, "_LOOK_AGAIN_SECONDS", (0.01, 0.02))


def watch(
    scenario: Scenario,
    folder: Path,
    namespaces: tuple[str, ...] = (),
    envoy_filters: tuple[str, ...] = (),
    gateway_service: str | None = None,
) -> None:
    """Run a scenario while the watches run on a fake server that has Istio and no KEDA."""

    async def main() -> None:
        async with asyncio.timeout(20), running(folder) as (fake, client):
            fake.served |= {"virtualservices", "destinationrules", "envoyfilters"}

            def namespace_changed(namespace: str, held: bool) -> None:
                watches.namespace_changed(namespace, held)

            administrator = Administrator(envoy_filter_namespaces=envoy_filters, gateway_service=gateway_service)
            world = World(administrator, lambda: 0.0, lambda _: None, namespace_changed)
            watches = Watches(client, world, namespaces, envoy_filters)
            task = asyncio.create_task(watches.run())
            try:
                await scenario(fake, world, watches)
                assert not task.done()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def known(world: World) -> bool:
    """Return whether the presence of every kind is known."""
    return Presence.UNKNOWN not in world.presence.values()


def test_kinds_are_found(tmp_path: Path) -> None:
    """Installed kinds are watched, absent ones are known to be absent; then nothing is stale."""

    async def scenario(_: FakeApiserver, world: World, watches: Watches) -> None:
        assert watches.stale()
        await until(lambda: known(world))
        assert Presence.SYNCED is world.presence[ChildKind.VIRTUAL_SERVICE]
        assert Presence.ABSENT is world.presence[ChildKind.SCALED_OBJECT]
        assert [] == watches.stale()

    watch(scenario, tmp_path)


def test_a_kind_that_is_installed_later_is_picked_up(tmp_path: Path) -> None:
    """An absent kind is looked for until it is there; once all are there, nobody asks any more."""

    async def scenario(fake: FakeApiserver, world: World, _: Watches) -> None:
        await until(lambda: known(world))
        fake.served.add("scaledobjects")
        await until(lambda: world.presence[ChildKind.SCALED_OBJECT] is Presence.SYNCED)
        asked = [request for request in fake.requests if request[1].endswith(("/v1", "/v1alpha1"))]
        await asyncio.sleep(0.1)
        assert asked == [request for request in fake.requests if request[1].endswith(("/v1", "/v1alpha1"))]

    watch(scenario, tmp_path)


def test_a_kind_that_is_removed_becomes_absent(tmp_path: Path) -> None:
    """When a definition is deleted under us, its kind is absent, its objects are forgotten, and it is looked for."""

    async def scenario(fake: FakeApiserver, world: World, _: Watches) -> None:
        fake.put(VIRTUAL_SERVICES, "x")
        await until(lambda: known(world))
        fake.served.discard("virtualservices")
        fake.faults.append((f"WATCH {VIRTUAL_SERVICES.path()}", refusal(404, "NotFound")))
        fake.cut_watches()
        await until(lambda: world.presence[ChildKind.VIRTUAL_SERVICE] is Presence.ABSENT)
        assert 0 == len(world.children[ChildKind.VIRTUAL_SERVICE])
        fake.served.add("virtualservices")
        await until(lambda: world.presence[ChildKind.VIRTUAL_SERVICE] is Presence.SYNCED)

    watch(scenario, tmp_path)


def test_a_refusal_in_one_namespace_is_not_the_end_of_a_kind(tmp_path: Path) -> None:
    """A kind that discovery still tells of goes on being watched everywhere, whatever one watch was told."""

    async def scenario(fake: FakeApiserver, world: World, _: Watches) -> None:
        fake.put(VIRTUAL_SERVICES, "x")
        await until(lambda: known(world))
        asked = fake.count(f"GET {VIRTUAL_SERVICES.group_path}")
        fake.faults.append((f"WATCH {VIRTUAL_SERVICES.path('more')}", refusal(404, "NotFound")))
        fake.cut_watches()
        await until(lambda: not fake.faults)
        await until(lambda: fake.count(f"GET {VIRTUAL_SERVICES.group_path}") > asked)
        fake.put(VIRTUAL_SERVICES, "y")
        fake.put(VIRTUAL_SERVICES, "z", "more")
        await until(lambda: 3 == len(world.children[ChildKind.VIRTUAL_SERVICE]))
        assert 1 == fake.count(f"GET {VIRTUAL_SERVICES.path('models')}"), "the other namespace was not started over"

    watch(scenario, tmp_path, ("models", "more"))


def test_an_answer_that_does_not_come_leaves_a_kind_unknown(tmp_path: Path) -> None:
    """A refused discovery says nothing about a kind; it is asked for again."""

    async def scenario(fake: FakeApiserver, world: World, _: Watches) -> None:
        fake.faults.append((f"GET {VIRTUAL_SERVICES.group_path}", refusal(503, "Unavailable")))
        await until(lambda: world.presence[ChildKind.SCALED_OBJECT] is Presence.ABSENT)
        assert Presence.UNKNOWN is world.presence[ChildKind.VIRTUAL_SERVICE]
        await until(lambda: known(world))
        assert Presence.SYNCED is world.presence[ChildKind.VIRTUAL_SERVICE]

    watch(scenario, tmp_path)


def test_referents_are_watched_where_there_are_policies(tmp_path: Path) -> None:
    """A namespace is watched from its first policy to its last, and its objects are forgotten then."""

    async def scenario(fake: FakeApiserver, world: World, watches: Watches) -> None:
        world.policies_are_synced()
        fake.put(SERVICES, "llm-v1", spec={"ports": [{"port": 80}]})
        raw = fake.put(POLICIES, "llm", spec={})
        assert 0 == fake.count(f"GET {SERVICES.path('models')}")
        world.policies.put(raw)
        await until(lambda: world.complete("models"))
        assert world.services.get("models", "llm-v1") is not None

        world.policies.remove(raw)
        await until(lambda: not any(item.scope.namespace == "models" for item in watches.reflectors()))
        assert 0 == len(world.services)
        assert not world.complete("models")

    watch(scenario, tmp_path)


def test_a_fixed_set_of_namespaces(tmp_path: Path) -> None:
    """With namespaces given, nothing is asked of the whole cluster."""

    async def scenario(fake: FakeApiserver, world: World, _: Watches) -> None:
        await until(lambda: known(world))
        assert 1 == fake.count(f"GET {VIRTUAL_SERVICES.path('models')}")
        assert 1 == fake.count(f"GET {VIRTUAL_SERVICES.path('more')}")
        assert 0 == fake.count(f"GET {VIRTUAL_SERVICES.path()}")

    watch(scenario, tmp_path, ("models", "more"))


def asked_about(fake: FakeApiserver) -> set[str]:
    """Return the paths of all requests that have to do with EnvoyFilters."""
    return {path for _, path in fake.requests if ENVOY_FILTERS.group_path in path or "envoyfilters" in path}


def test_nothing_is_asked_about_envoy_filters_unless_they_are_allowed(tmp_path: Path) -> None:
    """Without leave the operator has no right to them, so it does not even ask whether the cluster knows them."""

    async def scenario(fake: FakeApiserver, world: World, watches: Watches) -> None:
        await until(lambda: known(world))
        assert Presence.ABSENT is world.presence[ChildKind.ENVOY_FILTER]
        await until(lambda: fake.count(f"GET {CHILDREN[ChildKind.SCALED_OBJECT].group_path}") > 2)
        assert set() == asked_about(fake)
        assert [] == watches.stale()

    watch(scenario, tmp_path)


def test_envoy_filters_are_watched_across_the_cluster(tmp_path: Path) -> None:
    """Where policies of all namespaces are looked at, so are EnvoyFilters: one list, one watch."""

    async def scenario(fake: FakeApiserver, world: World, _: Watches) -> None:
        await until(lambda: known(world))
        assert Presence.SYNCED is world.presence[ChildKind.ENVOY_FILTER]
        assert ENVOY_FILTERS.path() in asked_about(fake)

    watch(scenario, tmp_path, envoy_filters=("edge",))


def test_envoy_filters_are_watched_where_the_gateways_are(tmp_path: Path) -> None:
    """With namespaces given, those of the gateways come to them for EnvoyFilters, and for nothing else."""

    async def scenario(fake: FakeApiserver, world: World, _: Watches) -> None:
        await until(lambda: known(world))
        for namespace in ("edge", "models"):
            assert 1 == fake.count(f"GET {ENVOY_FILTERS.path(namespace)}")
        assert 0 == fake.count(f"GET {ENVOY_FILTERS.path()}")
        assert 0 == fake.count(f"GET {VIRTUAL_SERVICES.path('edge')}")

    watch(scenario, tmp_path, ("models",), ("edge", "models"))


def test_a_missing_gateway_filter_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has allowed EnvoyFilters and installed nothing reads so in the log."""

    async def scenario(_: FakeApiserver, world: World, __: Watches) -> None:
        await until(lambda: known(world))
        assert "edge has no gateway filter, or one too old;" in caplog.text

    watch(scenario, tmp_path, envoy_filters=("edge",))


SLICES = ENDPOINT_SLICES.path("edge")


def proxies(fake: FakeApiserver, *addresses: str) -> None:
    """Let the gateways' Service have these ready addresses."""
    fake.put(ENDPOINT_SLICES, "gateway-x", "edge", endpoints=[{"addresses": [address]} for address in addresses])


def test_the_gateways_proxies_are_counted(tmp_path: Path) -> None:
    """With a Service named, its namespace's slices are followed, and of nothing else there."""

    async def scenario(fake: FakeApiserver, world: World, _: Watches) -> None:
        proxies(fake, "10.0.0.1", "10.0.0.2")
        await until(lambda: world.gateway_proxies.count == 2)
        proxies(fake, "10.0.0.1")
        await until(lambda: world.gateway_proxies.count == 1)
        assert {SLICES} == {path for _, path in fake.requests if "/edge/" in path}

    watch(scenario, tmp_path, ("models",), gateway_service="edge/gateway")


def test_no_proxies_are_counted_unless_a_service_is_named(tmp_path: Path) -> None:
    """Nothing is asked about slices, and there is no count."""

    async def scenario(fake: FakeApiserver, world: World, _: Watches) -> None:
        await until(lambda: known(world))
        assert world.gateway_proxies.count is None
        assert [] == [path for _, path in fake.requests if "endpointslices" in path]

    watch(scenario, tmp_path)


def test_proxies_that_may_not_be_counted_hold_nothing_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without the right to the slices nothing is stale, and one line says what is missing, until there is the right."""

    async def scenario(fake: FakeApiserver, world: World, watches: Watches) -> None:
        fake.faults += [(f"GET {SLICES}", refusal(403, "Forbidden")) for _ in range(3)]
        proxies(fake, "10.0.0.1")
        await until(lambda: known(world) and fake.count(f"GET {SLICES}"))
        assert [] == watches.stale()
        await until(lambda: world.gateway_proxies.count == 1)
        assert 4 == fake.count(f"GET {SLICES}")
        [said] = [record.getMessage() for record in caplog.records if "endpointslices" in record.getMessage()]
        assert said.startswith(
            "endpointslices.discovery.k8s.io in edge may not be listed; the status of policies tells"
        )

    watch(scenario, tmp_path, gateway_service="edge/gateway")


def test_a_right_that_is_taken_away_ends_the_count(tmp_path: Path) -> None:
    """What was counted before may be wrong; with the right it is counted anew."""

    async def scenario(fake: FakeApiserver, world: World, _: Watches) -> None:
        proxies(fake, "10.0.0.1")
        await until(lambda: world.gateway_proxies.count == 1)
        await until(lambda: fake.count(f"WATCH {SLICES}") == 1)
        fake.faults.append((f"WATCH {SLICES}", refusal(403, "Forbidden")))
        fake.cut_watches()
        await until(lambda: world.gateway_proxies.count is None)
        await until(lambda: world.gateway_proxies.count == 1)
        assert 2 == fake.count(f"GET {SLICES}")

    watch(scenario, tmp_path, gateway_service="edge/gateway")


def test_filters_that_may_not_be_looked_at_hold_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without the right to list EnvoyFilters routing goes on; when the right comes, they are picked up."""

    async def scenario(fake: FakeApiserver, world: World, watches: Watches) -> None:
        fake.faults += [(f"GET {ENVOY_FILTERS.path()}", refusal(403, "Forbidden")) for _ in range(2)]
        await until(lambda: known(world))
        assert Presence.ABSENT is world.presence[ChildKind.ENVOY_FILTER]
        assert [] == watches.stale()
        await until(lambda: world.presence[ChildKind.ENVOY_FILTER] is Presence.SYNCED)
        assert 1 == caplog.text.count("the right to list them is missing")
        assert [] == watches.stale()

    watch(scenario, tmp_path, envoy_filters=("edge",))
