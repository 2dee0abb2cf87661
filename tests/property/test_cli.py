"""What ``plan`` and ``explain`` say of any policy in any world: what the operator does there, and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.api.resolve import load
from aigateway.api.resolved import PolicyKey, ResolvedPolicy
from aigateway.cli.output import as_text, plain
from aigateway.cli.printers import explain as explain_text
from aigateway.cli.printers import plan as plan_text
from aigateway.cli.prospect import Prospect, look
from aigateway.cli.recorded import RecordedObjects
from aigateway.cli.views.explain import explain_view
from aigateway.cli.views.plan import Action, plan_view
from aigateway.core.observation import EndpointsState, Observation, ServicePort, ServiceState, WorkloadState
from aigateway.core.outcome import Apply
from aigateway.core.reconcile import reconcile
from tests.objects import Object, endpoints, service, stored, workload
from tests.resolved import ADMINISTRATOR, NOW
from tests.strategies import policies

Situation = tuple[Object, list[Object], Observation]


def prospect(world: list[Object], policy: Object, *, proposed: bool) -> Prospect:
    """Take one look at the objects."""
    key = PolicyKey("models", policy["metadata"]["name"])
    api, files, keys = RecordedObjects(world, "models"), [policy] if proposed else [], [] if proposed else [key]
    return asyncio.run(look(nullcontext(api), ADMINISTRATOR, files, keys, NOW))[0]


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """Return a stored policy, objects of which some that it names are missing, and the same world as values."""
    raw = draw(policies())
    policy = stored(raw, {})
    resolved = load(policy, ADMINISTRATOR)
    assert isinstance(resolved, ResolvedPolicy), resolved
    names = {backend.service: backend.port for backend in resolved.backends}
    if resolved.service is not None:
        names[resolved.service.name] = resolved.service.port
    there = {name: port or 80 for name, port in names.items() if draw(st.integers(0, 5))}
    ready = {name: draw(st.integers(0, 2)) for name in there}
    workloads = [backend.workload for backend in resolved.backends if draw(st.integers(0, 5))]
    objects = [
        *(service(name, port) for name, port in there.items()),
        *(endpoints(name, count) for name, count in ready.items()),
        *(workload(ref.name, 2, str(ref.kind)) for ref in workloads),
    ]
    seen = Observation(
        services={name: ServiceState((ServicePort(port),)) for name, port in there.items()},
        endpoints={name: EndpointsState(count, 0.0) for name, count in ready.items()},
        workloads={ref: WorkloadState(2, 2) for ref in workloads},
    )
    return policy, objects, seen


def taken(policy: Object, objects: list[Object], first: Prospect) -> list[Object]:
    """Return the world after the operator has taken every step and written the status."""
    bodies = [dict(step.step.body) for step in first.steps if isinstance(step.step, Apply)]
    return [*objects, *bodies, {**policy, "status": dict(first.report.status)}]


@given(situations())
@settings(max_examples=30)
def test_plan_is_what_the_operator_does(situation: Situation) -> None:
    """From objects read once come exactly the steps that the core takes in the same world, in their order."""
    policy, objects, seen = situation
    found = prospect([*objects, policy], policy, proposed=True)

    expected = reconcile(load(policy, ADMINISTRATOR), seen, ADMINISTRATOR, NOW).plan
    changes = plan_view([found]).policies[0].changes

    assert expected == tuple(step.step for step in found.steps)
    assert [(str(step.ref.kind), step.ref.name, Action.CREATE) for step in expected] == [
        (change.kind, change.name, change.action) for change in changes
    ]


@given(situations())
@settings(max_examples=30)
def test_after_the_plan_there_is_no_difference(situation: Situation) -> None:
    """A world in which every step was taken has nothing to plan; all generated objects are in place."""
    policy, objects, _ = situation
    first = prospect([*objects, policy], policy, proposed=False)
    world = taken(policy, objects, first)

    again = prospect(world, policy, proposed=True)

    assert not plan_view([again]).policies[0].differs
    states = {item.state for item in explain_view([again], ADMINISTRATOR).policies[0].objects}
    assert states <= {"in place", "kept"}


@given(situations(), st.data())
@settings(max_examples=25)
def test_a_hand_edit_is_exactly_the_plan(situation: Situation, data: st.DataObject) -> None:
    """Of all generated objects, the one that someone changed is repaired to what it was."""
    policy, objects, _ = situation
    first = prospect([*objects, policy], policy, proposed=False)
    world = taken(policy, objects, first)
    children = [raw for raw in world if raw["kind"] in ("VirtualService", "DestinationRule", "ScaledObject")]
    if not children:
        return
    edited = data.draw(st.sampled_from(children))
    field = data.draw(st.sampled_from(sorted(edited["spec"])))
    world = [{**raw, "spec": {**raw["spec"], field: "by hand"}} if raw is edited else raw for raw in world]

    (change,) = plan_view([prospect(world, policy, proposed=True)]).policies[0].changes

    assert (Action.REPAIR, edited["kind"], edited["metadata"]["name"]) == (change.action, change.kind, change.name)
    assert change.after is not None
    assert edited["spec"] == change.after["spec"]


@given(situations())
@settings(max_examples=20)
def test_every_view_can_be_printed(situation: Situation) -> None:
    """Text and data come out of every policy, and what the user wrote is in them as it is."""
    policy, objects, _ = situation
    found = [prospect([*objects, policy], policy, proposed=False)]
    plan, explanation = plan_view(found), explain_view(found, ADMINISTRATOR)

    text = as_text(*plan_text.renderables(plan)) + as_text(*explain_text.renderables(explanation))

    assert all(host in text for host in policy["spec"].get("hosts", ()))
    assert all(route["name"] in text for route in policy["spec"].get("routes", ()))
    _assert_json(plain(plan))
    _assert_json(plain(explanation))


def _assert_json(value: Any) -> None:
    """Check that a value consists of what JSON has."""
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value)
        for member in value.values():
            _assert_json(member)
    elif isinstance(value, list):
        for item in value:
            _assert_json(item)
    else:
        assert value is None or type(value) in (str, int, float, bool)
