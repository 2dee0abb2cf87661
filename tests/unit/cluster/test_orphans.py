"""Passes over policies that have, or had, children in other namespaces: what is written, and what is left of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from aigateway.api.administrator import Administrator
from aigateway.cluster.resources import CHILDREN, POLICIES
from aigateway.core.observation import ChildKind
from aigateway.engine import Next
from tests.unit.cluster.apiserver import refusal
from tests.unit.test_engine import KEY, ROUTE, STATUS, VIRTUAL_SERVICES, Case, drive

EDGE = Administrator(default_gateway="istio-system/ai-gateway", envoy_filter_namespaces=("edge",))
ENVOY_FILTERS = CHILDREN[ChildKind.ENVOY_FILTER]
AWAY = ENVOY_FILTERS.path("edge", "models.llm")


def test_an_envoy_filter_in_another_namespace(tmp_path: Path) -> None:
    """It is written before the route, told in status, taken away when nothing needs it, and else left at rest."""

    async def scenario(case: Case) -> None:
        case.policy(idle="1m")
        await case.engine.reconcile(KEY)
        assert [f"PATCH {AWAY}", ROUTE, STATUS] == case.writes
        assert {"kind": "EnvoyFilter", "name": "models.llm", "namespace": "edge"} in case.status["children"]

        case.fake.requests.clear()
        assert Next("unchanged") == await case.engine.reconcile(KEY)
        assert [] == case.fake.requests

        case.policy(generation=2)
        await case.engine.reconcile(KEY)
        assert f"DELETE {AWAY}" in case.writes
        assert "EnvoyFilter" not in str(case.status["children"])

    drive(scenario, tmp_path, EDGE)


def test_a_refused_envoy_filter_holds_no_route_up(tmp_path: Path) -> None:
    """The routes are written all the same, Programmed says what was refused, and it is tried again."""

    async def scenario(case: Case) -> None:
        case.policy(idle="1m")
        case.fake.faults.append((f"PATCH {AWAY}", refusal(403, "Forbidden")))
        assert "failed" == (await case.engine.reconcile(KEY)).result
        assert ROUTE in case.writes
        assert ("False", "ApplyFailed") == case.condition("Programmed")

        assert "changed" == (await case.engine.reconcile(KEY)).result
        assert ("True", "Programmed") == case.condition("Programmed")

    drive(scenario, tmp_path, EDGE)


def test_what_a_policy_that_is_gone_has_left_in_another_namespace(tmp_path: Path) -> None:
    """It is deleted, again and again until it is; then the key is no work any more."""

    async def scenario(case: Case) -> None:
        case.policy(idle="1m")
        await case.settle()
        case.fake.remove(POLICIES, "llm")
        case.world.policies.deleted("models", "llm", case.world.policies.namespace("models")["llm"].uid)
        case.fake.faults.append((f"DELETE {AWAY}", refusal(503, "No", **{"Retry-After": "4"})))
        assert Next("failed", None, 4.0) == await case.engine.reconcile(KEY)

        assert Next("gone") == await case.engine.reconcile(KEY)
        assert 2 * [f"DELETE {AWAY}"] == case.writes
        case.fake.requests.clear()
        assert Next("gone") == await case.engine.reconcile(KEY)
        assert [] == case.fake.requests

    drive(scenario, tmp_path, EDGE)


@pytest.mark.parametrize("needed", [pytest.param(True, id="needed"), pytest.param(False, id="not needed")])
@pytest.mark.parametrize("refused", [pytest.param(True, id="refused"), pytest.param(False, id="done")])
def test_a_policy_of_the_same_name_starts_without_what_the_earlier_one_left(
    tmp_path: Path, *, needed: bool, refused: bool
) -> None:
    """What another uid owns is deleted first; while that is refused, routes are written all the same."""

    async def scenario(case: Case) -> None:
        case.policy(idle="1m")
        await case.settle()
        old = case.world.policies.namespace("models")["llm"].uid
        case.fake.remove(VIRTUAL_SERVICES, "llm-gateway")
        case.world.children[ChildKind.VIRTUAL_SERVICE].clear()
        case.fake.remove(POLICIES, "llm")
        case.world.policies.deleted("models", "llm", old)
        case.policy(idle="1m" if needed else None)
        if refused:
            case.fake.faults.append((f"DELETE {AWAY}", refusal(403, "Forbidden")))
        case.fake.requests.clear()

        first = await case.engine.reconcile(KEY)
        assert ("failed" if refused else "changed") == first.result
        assert ROUTE in case.writes
        await case.settle()

        entry = case.world.children[ChildKind.ENVOY_FILTER].get("edge", "models.llm")
        uid = case.world.policies.namespace("models")["llm"].uid
        owners = [] if entry is None else [entry.value["metadata"]["labels"]["aigateway.dev/policy-uid"]]
        assert ([uid] if needed else []) == owners
        assert ("True", "Programmed") == case.condition("Programmed")

    drive(scenario, tmp_path, EDGE)
