"""The count of the gateways' proxies: which addresses it is of, when there is one, who is told, when it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from aigateway.api.administrator import Administrator
from aigateway.cluster.gateway_proxies import GatewayProxies
from aigateway.cluster.resources import POLICIES
from aigateway.core.gateway.gateway_filter import gateway_filter
from aigateway.core.observation import ChildKind
from aigateway.engine import Engine, Next
from tests.unit.test_engine import KEY, STATUS, drive
from tests.unit.test_engine import Case as EngineCase


class Case:
    """The proxies of one Service, fed by hand; ``told`` are the counts at each call of ``on_change``."""

    def __init__(self) -> None:
        self.version = 0
        self.told: list[int | None] = []
        self.proxies = GatewayProxies("edge/gateway", lambda: self.told.append(self.proxies.count))

    def slice(self, name: str, *addresses: str, ready: bool = True) -> dict[str, Any]:
        """Return a slice in a new version."""
        self.version += 1
        labels = {"kubernetes.io/service-name": "gateway"}
        metadata = {"name": name, "namespace": "edge", "uid": f"uid-{name}", "labels": labels}
        endpoints = [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses]
        return {"metadata": metadata | {"resourceVersion": str(self.version)}, "endpoints": endpoints}

    def list(self, *slices: dict[str, Any]) -> None:
        """Take over a list of all slices."""
        self.version += 1
        self.proxies.replace(slices, self.version, self.proxies.mark(), "edge")


def test_there_is_no_count_before_a_list() -> None:
    """What a watch or nothing at all has told is no count; an empty list is one."""
    case = Case()
    case.proxies.put(case.slice("a", "10.0.0.1"))
    assert ([], None) == (case.told, case.proxies.count)

    case.list()

    assert [0] == case.told


def test_a_list_is_told_as_one() -> None:
    """However many slices come with it, and not at all where it says what was known."""
    case = Case()
    slices = case.slice("a", "10.0.0.1", "10.0.0.2"), case.slice("b", "10.0.0.3")
    case.list(*slices)
    case.list(*slices)

    assert [3] == case.told


def test_a_count_follows_what_is_ready() -> None:
    """An address counts once, in whichever slice it is, and only while it is ready."""
    case = Case()
    case.list(case.slice("a", "10.0.0.1", "10.0.0.2"))
    case.proxies.put(case.slice("b", "10.0.0.2"))
    case.proxies.put(case.slice("b", "10.0.0.2", "10.0.0.3"))
    case.proxies.put(case.slice("a", "10.0.0.1", "10.0.0.2", ready=False))
    case.proxies.remove(case.slice("b"))

    assert [2, 3, 2, 0] == case.told


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        pytest.param([["10.0.0.1", "10.0.0.2"], ["fd00::1", "fd00::2"]], 2, id="both"),
        pytest.param([["10.0.0.1"], ["fd00::1", "fd00::2"]], 2, id="one-lags-behind"),
        pytest.param([["fd00::1"]], 1, id="version-6"),
    ],
)
def test_a_proxy_with_two_addresses_is_one(slices: list[list[str]], expected: int) -> None:
    """In a cluster of two address families a Service has each proxy twice."""
    case = Case()
    case.list(*(case.slice(str(number), *addresses) for number, addresses in enumerate(slices)))

    assert expected == case.proxies.count


def test_a_refusal_ends_the_count_until_the_next_list() -> None:
    """What may not be looked at any more is not known, and a second refusal is no news."""
    case = Case()
    case.list(case.slice("a", "10.0.0.1"))
    refusals = [case.proxies.refused(), case.proxies.refused()]
    case.proxies.put(case.slice("b", "10.0.0.2"))
    assert ([True, False], None) == (refusals, case.proxies.count)

    case.list(case.slice("a", "10.0.0.1"))

    assert [1, None, 1] == case.told
    assert case.proxies.refused()


def test_what_has_to_be_watched() -> None:
    """The slices of that one Service, in its namespace; nothing where none is named."""
    scope = Case().proxies.scope

    assert scope is not None
    assert ("edge", "kubernetes.io/service-name=gateway") == (scope.namespace, scope.selector)
    assert GatewayProxies(None, lambda: None).scope is None


LIMITING = Administrator("istio-system/ai-gateway", envoy_filter_namespaces=("edge",), gateway_service="edge/gateway")


def count(case: EngineCase, proxies: int) -> None:
    """Let the gateways have so many proxies."""
    case.fake.version += 1
    version = case.fake.version
    metadata = {"name": "gateway-x", "namespace": "edge", "uid": "uid-x", "resourceVersion": str(version)}
    endpoints = [{"addresses": [f"10.0.1.{number}"]} for number in range(proxies)]
    store = case.world.gateway_proxies
    store.replace([{"metadata": metadata, "endpoints": endpoints}], version, store.mark())


async def limited(case: EngineCase, proxies: int) -> None:
    """Have a policy of 20 requests a second in effect with so many proxies, and the gateway filter that it needs."""
    raw = gateway_filter("edge")
    raw["metadata"] |= {"uid": "uid-filter", "resourceVersion": "1"}
    case.world.children[ChildKind.ENVOY_FILTER].put(raw)
    count(case, proxies)
    limit(case, 20)
    await case.settle()


def limit(case: EngineCase, requests: int, generation: int = 1) -> None:
    """Create or change the policy, with a limit of so many requests a second."""
    case.policy(generation=generation)
    entry = case.world.policies.get("models", "llm")
    assert entry is not None
    spec = {**entry.value["spec"], "rateLimits": [{"name": "all", "requests": requests}]}
    case.world.policies.put(case.fake.put(POLICIES, "llm", **{**entry.value, "spec": spec}))


def totals(case: EngineCase) -> str:
    """Return what the status tells of the limit's total."""
    [limit] = case.status["effective"]["rateLimits"]
    return str(limit).partition("; ")[2]


def test_totals_are_written_at_most_every_ten_seconds(tmp_path: Path) -> None:
    """Gateways that scale write no status at each step; a changed limit is told at once."""

    async def scenario(case: EngineCase) -> None:
        await limited(case, 2)
        assert "40 in all at a port with 2 proxies" == totals(case)
        case.now += 4
        count(case, 3)
        assert Next("unchanged", 6.0) == await case.engine.reconcile(KEY)
        case.now += 6
        assert Next("changed") == await case.engine.reconcile(KEY)
        assert "60 in all at a port with 3 proxies" == totals(case)
        assert [STATUS] == case.writes

        limit(case, 30, generation=2)
        assert "changed" == (await case.engine.reconcile(KEY)).result
        assert "90 in all at a port with 3 proxies" == totals(case)

    drive(scenario, tmp_path, LIMITING)


def test_a_start_takes_no_total_back(tmp_path: Path) -> None:
    """While a new operator has not counted yet, what the last one has told stays."""

    async def scenario(case: EngineCase) -> None:
        await limited(case, 2)
        case.now += 60
        case.world.gateway_proxies.refused()
        anew = Engine(case.world, Mock(), case.recorder, LIMITING, lambda: case.now)
        assert Next("unchanged", 10.0) == await anew.reconcile(KEY)
        count(case, 2)
        assert Next("unchanged") == await anew.reconcile(KEY)

    drive(scenario, tmp_path, LIMITING)
