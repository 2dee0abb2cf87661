"""The whole pure function: what one situation leads to, and what holds for every policy."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from aigateway.api.problems import Problem, Rejection
from aigateway.api.reasons import CONFLICTED, INVALID, NOT_READY
from aigateway.api.resolved import ResolvedPolicy
from aigateway.core.observation import Contest, EndpointsState, Observation
from aigateway.core.outcome import Apply, Delete, Outcome
from aigateway.core.reconcile import reconcile
from tests.resolved import ADMINISTRATOR, NOW, as_child, autoscaling, backend, in_mesh, observed, policy


def after(outcome: Outcome, world: Observation, of: ResolvedPolicy) -> Observation:
    """Return the world once every step was taken."""
    children = dict(world.children)
    for step in outcome.plan:
        if isinstance(step, Apply):
            children.update([as_child(dict(step.body), of.uid)])
        else:
            children.pop(step.ref)
    return dataclasses.replace(world, children=children)


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(policy(), id="gateway"),
        pytest.param(policy(hosts=(), gateways=(), service=in_mesh()), id="mesh"),
        pytest.param(policy(backends=(backend("v1", autoscaling=autoscaling()),)), id="scaled"),
    ],
)
def test_second_look_finds_nothing_to_do(of: ResolvedPolicy) -> None:
    """Once the plan is taken the same inputs lead to an empty plan."""
    world = observed(of)
    first = reconcile(of, world, ADMINISTRATOR, NOW)

    assert first.plan
    assert () == reconcile(of, after(first, world, of), ADMINISTRATOR, NOW).plan


def test_rejected_policy_touches_nothing() -> None:
    """What an earlier generation set up stays when the next one is invalid."""
    of = policy()
    world = observed(of)
    world = after(reconcile(of, world, ADMINISTRATOR, NOW), world, of)

    outcome = reconcile(Rejection(INVALID, (Problem("spec.hosts", "bad"),)), world, ADMINISTRATOR, NOW)

    assert () == outcome.plan
    assert (INVALID, "spec.hosts: bad") == (outcome.decision.verdicts[0].reason, outcome.decision.verdicts[0].message)


def test_suspended_policy_touches_nothing() -> None:
    """A suspended policy keeps its children, also where they differ from the spec."""
    assert () == reconcile(policy(suspend=True), observed(policy()), ADMINISTRATOR, NOW).plan


def test_routes_stay_while_no_backend_resolves() -> None:
    """Services that are all gone for a moment (a wrong kubectl delete) do not take the routes with them."""
    of = policy(service=in_mesh())
    world = observed(of)
    world = after(reconcile(of, world, ADMINISTRATOR, NOW), world, of)

    assert () == reconcile(of, dataclasses.replace(world, services={}), ADMINISTRATOR, NOW).plan


def losing_v2(since: float, status: dict[str, Any]) -> Observation:
    """Return a world in which v2 has lost its endpoints."""
    of = policy()
    endpoints = {"model-v1": EndpointsState(2, NOW - 60), "model-v2": EndpointsState(0, since)}
    return observed(of, endpoints=endpoints, status=status)


def known(*, v2: bool, service: str = "model-v2") -> dict[str, Any]:
    """Return a status that remembers v1 as available, and v2 as told."""
    v1 = {"name": "v1", "service": "model-v1", "available": True}
    return {"backends": [v1, {"name": "v2", "service": service, "available": v2}]}


KNOWN = known(v2=True)


def test_lost_endpoints_are_looked_at_again_when_the_debounce_ends() -> None:
    """Within three seconds nothing moves, and the outcome says when to look again."""
    outcome = reconcile(policy(), losing_v2(NOW - 1, KNOWN), ADMINISTRATOR, NOW)

    assert [80, 20] == [target.weight for target in outcome.decision.targets]
    assert (NOW + 2, None) == (outcome.wake_at, outcome.memory)


def test_moved_state_is_remembered_before_weights_move() -> None:
    """The status says that v2 is away before the VirtualService does, so that a crash between repeats no step."""
    outcome = reconcile(policy(), losing_v2(NOW - 5, KNOWN), ADMINISTRATOR, NOW)

    assert [100, 0] == [target.weight for target in outcome.decision.targets]
    assert NOT_READY is outcome.decision.targets[1].reason
    assert outcome.memory is not None
    assert [True, False] == [entry["available"] for entry in outcome.memory["backends"]]


def test_remembered_state_survives_a_restart() -> None:
    """With v2 known to be away, a restart that has just seen no endpoints does not send traffic there again."""
    outcome = reconcile(policy(), losing_v2(NOW, known(v2=False)), ADMINISTRATOR, NOW)

    assert [100, 0] == [target.weight for target in outcome.decision.targets]
    assert outcome.memory is None


def test_readiness_of_another_service_is_not_remembered() -> None:
    """A backend that was given another Service is judged by that one at once: nothing is sent to no endpoint."""
    outcome = reconcile(policy(), losing_v2(NOW, known(v2=True, service="model-before")), ADMINISTRATOR, NOW)

    assert [100, 0] == [target.weight for target in outcome.decision.targets]
    assert (None, None) == (outcome.wake_at, outcome.memory)


@pytest.mark.parametrize(
    ("settled", "steps"), [pytest.param(False, 0, id="not-before"), pytest.param(True, 1, id="then")]
)
def test_policy_gives_way_when_the_older_one_is_served(settled: bool, steps: int) -> None:
    """A policy whose claim an older one holds withdraws its routes, but only once the older one's are there."""
    of = policy()
    world = observed(of)
    world = after(reconcile(of, world, ADMINISTRATOR, NOW), world, of)
    contest = Contest("host ai.example.com on gateway istio-system/ai-gateway", "AIGatewayPolicy a/b", settled=settled)

    outcome = reconcile(of, dataclasses.replace(world, contest=contest), ADMINISTRATOR, NOW)

    assert [Delete] * steps == [type(step) for step in outcome.plan]
    assert CONFLICTED is outcome.decision.verdicts[0].reason
    assert "is held by the older AIGatewayPolicy a/b" in outcome.decision.verdicts[0].message


def test_suspended_policy_does_not_give_way() -> None:
    """While suspended nothing is withdrawn, and nothing is said to be."""
    contest = Contest("host ai.example.com on gateway istio-system/ai-gateway", "AIGatewayPolicy a/b", settled=True)

    outcome = reconcile(policy(suspend=True), observed(policy(), contest=contest), ADMINISTRATOR, NOW)

    assert ((), False) == (outcome.plan, outcome.decision.withdraw)
    assert CONFLICTED is outcome.decision.verdicts[0].reason


def test_child_that_someone_keeps_changing_is_left_alone_for_a_while() -> None:
    """After two repairs within a minute the third waits, and the outcome says when to look again."""
    of = policy()
    world = observed(of)
    world = after(reconcile(of, world, ADMINISTRATOR, NOW), world, of)
    [(ref, child)] = world.children.items()
    edited = dataclasses.replace(child, body={**child.body, "spec": {**child.body["spec"], "http": []}})
    world = dataclasses.replace(world, children={ref: edited})

    repaired = reconcile(of, dataclasses.replace(world, repairs={ref: [NOW - 20]}), ADMINISTRATOR, NOW)
    contested = reconcile(of, dataclasses.replace(world, repairs={ref: [NOW - 20, NOW - 10]}), ADMINISTRATOR, NOW)

    assert [True] == [isinstance(step, Apply) and step.drift for step in repaired.plan]
    assert ((), (ref,), NOW + 40) == (contested.plan, contested.contested, contested.wake_at)
