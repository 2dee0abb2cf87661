"""From desired and observed objects to ordered steps."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from aigateway.api.resolved import ConnectionPool
from aigateway.core.identity import FINGERPRINT_ANNOTATION, gateway_envoy_filter, generated
from aigateway.core.observation import ChildKind, ChildRef, Observation
from aigateway.core.outcome import Apply, Delete
from aigateway.core.plan import contains, make_plan
from aigateway.core.reconcile import decide, render
from tests.resolved import ADMINISTRATOR, NOW, UID, as_child, autoscaling, backend, observed, policy

FULL = policy(
    backends=(backend("v1", 80, autoscaling=autoscaling()), backend("v2", 20)),
    connection_pool=ConnectionPool(50, 10, None, None),
)


def rendered() -> list[dict[str, Any]]:
    """Return every object of a policy that has one of each kind."""
    world = observed(FULL)
    return [dict(body) for body in render(FULL, decide(FULL, world, ADMINISTRATOR, NOW), ADMINISTRATOR)]


def world_with(*bodies: dict[str, Any], owner: str | None = UID) -> Observation:
    """Return a world that holds these objects."""
    return observed(FULL, children=dict(as_child(body, owner) for body in bodies))


def test_first_plan_makes_before_it_routes() -> None:
    """DestinationRules and scaling are there before a route leads to them; nothing is known, so each is read first."""
    plan = make_plan(UID, rendered(), frozenset(), world_with())

    assert [
        ("DestinationRule", "chat-v1", True),
        ("DestinationRule", "chat-v2", True),
        ("ScaledObject", "chat-v1", False),
        ("VirtualService", "chat-gateway", True),
    ] == [(step.ref.kind, step.ref.name, step.required) for step in plan]
    assert all(isinstance(step, Apply) and not step.exists for step in plan)


def test_world_as_it_should_be_needs_no_step() -> None:
    """What was applied and is still so is not written again, also after a restart."""
    assert () == make_plan(UID, rendered(), frozenset(), world_with(*rendered()))


def test_last_plan_takes_routes_away_first() -> None:
    """Nothing that a route needs goes before the route does."""
    plan = make_plan(UID, [], frozenset(), world_with(*rendered()))

    assert ["VirtualService", "ScaledObject", "DestinationRule", "DestinationRule"] == [s.ref.kind for s in plan]
    assert all(isinstance(step, Delete) and step.uid == f"uid-of-{step.ref.name}" for step in plan)


def test_kept_children_are_not_pruned() -> None:
    """An object whose reference is missing for now stays."""
    ref = ChildRef(ChildKind.VIRTUAL_SERVICE, "chat-gateway")
    wanted = [body for body in rendered() if body["kind"] != "VirtualService"]

    assert () == make_plan(UID, wanted, frozenset({ref}), world_with(*rendered()))


@pytest.mark.parametrize("owner", [None, "someone-else"], ids=["nobody's", "another-policy's"])
def test_object_of_somebody_else_is_read_first_and_never_pruned(owner: str | None) -> None:
    """A name that is taken is looked at again, not overwritten; what we don't own we don't delete."""
    plan = make_plan(UID, rendered(), frozenset(), world_with(*rendered(), owner=owner))

    assert [False] * 4 == [isinstance(step, Apply) and step.exists for step in plan]
    assert () == make_plan(UID, [], frozenset(), world_with(*rendered(), owner=owner))


def changed(mutate: str) -> dict[str, Any]:
    """Return the VirtualService as someone has left it in the cluster."""
    body = copy.deepcopy(next(b for b in rendered() if b["kind"] == "VirtualService"))
    match mutate:
        case "weight":
            body["spec"]["http"][-1]["route"][0]["weight"] = 1
        case "extra-route":
            body["spec"]["http"].insert(0, {"route": []})
        case "label-gone":
            del body["metadata"]["labels"]["aigateway.dev/policy"]
        case "owner-added":
            body["metadata"]["ownerReferences"].append({"uid": "other"})
        case "annotation-added":
            body["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] = "x"
        case "field-added":
            body["spec"]["tls"] = []
        case "older-fingerprint":
            body["metadata"]["annotations"][FINGERPRINT_ANNOTATION] = "0"
        case "annotations-gone":
            del body["metadata"]["annotations"]
    return body


@pytest.mark.parametrize(
    ("mutate", "expected"),
    [
        pytest.param("weight", (True, True), id="weight-edited"),
        pytest.param("extra-route", (True, True), id="route-inserted"),
        pytest.param("label-gone", (True, True), id="label-removed"),
        pytest.param("owner-added", None, id="second-owner-is-tolerated"),
        pytest.param("annotation-added", None, id="annotations-of-others-are-tolerated"),
        pytest.param("field-added", None, id="fields-we-never-set-are-tolerated"),
        pytest.param("older-fingerprint", (True, False), id="applied-by-an-older-policy-is-no-drift"),
        pytest.param("annotations-gone", (True, True), id="replaced-without-our-fingerprint"),
    ],
)
def test_edits_by_others(mutate: str, expected: tuple[bool, bool] | None) -> None:
    """What we own is put back; what others add beside it is left alone."""
    wanted = [body for body in rendered() if body["kind"] == "VirtualService"]
    steps = make_plan(UID, wanted, frozenset(), world_with(changed(mutate)))

    assert ([expected] if expected else []) == [(s.exists, s.drift) for s in steps if isinstance(s, Apply)]


@pytest.mark.parametrize(
    ("children", "drift"),
    [
        pytest.param([{"kind": "VirtualService", "name": "chat-gateway"}], True, id="the-policy-had-it"),
        pytest.param([{"kind": "VirtualService", "name": "chat-mesh"}], False, id="the-policy-had-another"),
        pytest.param([], False, id="the-policy-is-new"),
    ],
)
def test_an_object_that_is_not_there(children: list[dict[str, str]], drift: bool) -> None:
    """What the policy's status names and the cluster lacks was deleted by someone; it is read before it is written."""
    wanted = [body for body in rendered() if body["kind"] == "VirtualService"]
    world = dataclasses.replace(world_with(), status={"children": children})

    steps = make_plan(UID, wanted, frozenset(), world)

    assert [(False, drift)] == [(s.exists, s.drift) for s in steps if isinstance(s, Apply)]


def test_kinds_that_the_cluster_lacks_are_left_out() -> None:
    """Without KEDA the rest is applied."""
    world = dataclasses.replace(world_with(), installed=frozenset({ChildKind.VIRTUAL_SERVICE}))

    assert ["VirtualService"] == [step.ref.kind for step in make_plan(UID, rendered(), frozenset(), world)]


def envoy_filter() -> dict[str, Any]:
    """Return an EnvoyFilter of the policy, in the gateways' namespace."""
    return generated(FULL, gateway_envoy_filter(FULL.key, "istio-system"), {"configPatches": []})


def test_an_envoy_filter_comes_before_the_routes_and_goes_after_them() -> None:
    """Its patches do nothing without the routes; neither way does it hold them up."""
    wanted = [*rendered(), envoy_filter()]

    first = make_plan(UID, wanted, frozenset(), world_with())
    last = make_plan(UID, [], frozenset(), world_with(*wanted))

    assert [("EnvoyFilter", "istio-system", False), ("VirtualService", "", True)] == [
        (step.ref.kind, step.ref.namespace, step.required) for step in first[-2:]
    ]
    assert ["VirtualService", "EnvoyFilter"] == [step.ref.kind for step in last[:2]]
    assert () == make_plan(UID, wanted, frozenset(), world_with(*wanted))


@pytest.mark.parametrize(
    ("child", "drift"),
    [
        pytest.param({"namespace": "istio-system"}, True, id="there"),
        pytest.param({"namespace": "edge"}, False, id="elsewhere"),
        pytest.param({}, False, id="at-home"),
        pytest.param({"kind": "Gateway"}, False, id="a-kind-of-a-later-version"),
    ],
)
def test_status_tells_where_an_object_was(child: dict[str, str], drift: bool) -> None:
    """An object that is gone was deleted by someone only where the policy had it in that very namespace."""
    known = {"kind": "EnvoyFilter", "name": "models.chat"} | child
    world = dataclasses.replace(world_with(), status={"children": [known]})

    steps = make_plan(UID, [envoy_filter()], frozenset(), world)

    assert [drift] == [step.drift for step in steps if isinstance(step, Apply)]


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": 1}, True, id="more-is-fine"),
        pytest.param({"a": 1}, {"a": 1, "b": 2}, False, id="less-is-not"),
        pytest.param({"a": [1, 2]}, {"a": [1]}, False, id="lists-are-atomic"),
        pytest.param({"a": {"b": "x"}}, {"a": {"b": "y"}}, False, id="nested-difference"),
        pytest.param("text", {"a": 1}, False, id="another-type"),
    ],
)
def test_contains(live: Any, wanted: Any, expected: bool) -> None:
    """Objects are compared by what we own of them."""
    assert expected == contains(live, wanted)
