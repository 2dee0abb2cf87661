"""The status and events that follow from an outcome and its results."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from aigateway.api.problems import Problem, Rejection
from aigateway.api.reasons import GATEWAY_FILTER_MISSING, INVALID
from aigateway.api.resolved import ConnectionPool, RateLimit, ResolvedPolicy, RetryCondition, Timeouts
from aigateway.api.status import Status
from aigateway.core.identity import gateway_envoy_filter, generated
from aigateway.core.observation import ChildKind, Contest, Feature, Observation
from aigateway.core.outcome import Apply, Failed, Outcome, Report, StepFailure, StepResult, Taken
from aigateway.core.reconcile import reconcile
from aigateway.core.status import report, unchanged
from tests.resolved import ADMINISTRATOR, NOW, as_child, autoscaling, backend, observed, policy, retries


def done(outcome: Outcome) -> tuple[StepResult, ...]:
    """Return the results of a plan that went well."""
    return tuple(StepResult(step, None) for step in outcome.plan)


def reported(of: ResolvedPolicy | Rejection, world: Observation, now: float = NOW) -> Report:
    """Reconcile, take every step, report."""
    outcome = reconcile(of, world, ADMINISTRATOR, now)
    return report(3, outcome, done(outcome), world, now)


def conditions(status: Any) -> dict[str, tuple[str, str]]:
    """Return status and reason by condition type."""
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def test_first_success() -> None:
    """A policy in effect is Ready, tells its weights, replicas and children, and makes one event."""
    of = policy()
    first = reported(of, observed(of))

    assert {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
        "Programmed": ("True", "Programmed"),
        "MetricsAvailable": ("True", "NotRequested"),
        "ScalingReady": ("True", "NotRequested"),
        "Ready": ("True", "Ready"),
    } == conditions(first.status)
    assert ("v1=80,v2=20", "v1=2/2,v2=2/2", 3) == tuple(
        first.status[key] for key in ("weights", "replicas", "observedGeneration")
    )
    assert [{"kind": "VirtualService", "name": "chat-gateway"}] == first.status["children"]
    assert [("Normal", "Programmed")] == [(event.type, event.reason.name) for event in first.events]


def test_status_has_the_shape_that_the_crd_declares() -> None:
    """Whatever is written is declared, since the API server prunes the rest."""
    of = policy(backends=(backend("v1", 80, autoscaling=autoscaling()), backend("v2", 20)))

    status = reported(of, observed(of)).status

    assert status["weights"] == Status.model_validate_json(json.dumps(status)).weights


def test_nothing_new_is_no_event_and_the_same_status() -> None:
    """A second look at the same world writes nothing and posts nothing, however much later."""
    of = policy()
    first = reported(of, observed(of))
    outcome = reconcile(of, observed(of), ADMINISTRATOR, NOW)
    children = dict(as_child(dict(step.body)) for step in outcome.plan if isinstance(step, Apply))

    again = reported(of, observed(of, status=first.status, children=children), NOW + 3600)

    assert first.status == again.status
    assert () == again.events


def test_weight_change_is_one_event() -> None:
    """The event says from what to what."""
    of = policy()
    first = reported(of, observed(of))
    outcome = reconcile(of, observed(of), ADMINISTRATOR, NOW)
    children = dict(as_child(dict(step.body)) for step in outcome.plan if isinstance(step, Apply))
    moved = policy(backends=(backend("v1", 50), backend("v2", 50)))

    second = reported(moved, observed(moved, status=first.status, children=children))

    assert [("WeightsChanged", "v1=80,v2=20 is now v1=50,v2=50")] == [(e.reason.name, e.message) for e in second.events]


FAILURES: list[Any] = [
    pytest.param(Taken("the policy models/other"), "NameTaken", "belongs to the policy models/other", id="taken"),
    pytest.param(Failed("admission webhook refused"), "ApplyFailed", "admission webhook refused", id="refused"),
]


@pytest.mark.parametrize(("failure", "reason", "said"), FAILURES)
def test_failed_write_is_told_and_the_old_weights_with_it(failure: StepFailure, reason: str, said: str) -> None:
    """While the route could not be written, status shows what traffic still has."""
    of = policy()
    before = reported(of, observed(of)).status
    moved = policy(backends=(backend("v1", 50), backend("v2", 50)))
    world = observed(moved, status=before)
    outcome = reconcile(moved, world, ADMINISTRATOR, NOW)

    failed = report(4, outcome, (StepResult(outcome.plan[0], failure),), world, NOW)

    assert ("False", reason) == conditions(failed.status)["Programmed"] == conditions(failed.status)["Ready"]
    assert said in next(c["message"] for c in failed.status["conditions"] if c["type"] == "Programmed")
    assert "v1=80,v2=20" == failed.status["weights"]
    assert [80, 20] == [entry["weight"] for entry in failed.status["backends"]]
    assert [("Warning", reason)] == [(event.type, event.reason.name) for event in failed.events]


def test_a_refused_envoy_filter_is_told_and_the_routes_are_in_effect() -> None:
    """Programmed says what the server said; weights are those of the policy, and no scaling is to blame."""
    of = policy()
    outcome = reconcile(of, observed(of), ADMINISTRATOR, NOW)
    ref = gateway_envoy_filter(of.key, "istio-system")
    step = Apply(ref, generated(of, ref, {}), exists=False, required=False)
    results = (StepResult(step, Failed("webhook says no")), *done(outcome))

    told = report(3, dataclasses.replace(outcome, plan=(step, *outcome.plan)), results, observed(of), NOW).status

    assert ("False", "ApplyFailed") == conditions(told)["Programmed"] == conditions(told)["Ready"]
    assert ("True", "NotRequested") == conditions(told)["ScalingReady"]
    assert "EnvoyFilter istio-system/models.chat: webhook says no" in str(told["conditions"])
    assert "v1=80,v2=20" == told["weights"]
    assert [{"kind": "VirtualService", "name": "chat-gateway"}] == told["children"]


def test_what_holds_others_up_is_told_first() -> None:
    """A refused EnvoyFilter does not hide why the routes are not there."""
    of = policy()
    outcome = reconcile(of, observed(of), ADMINISTRATOR, NOW)
    ref = gateway_envoy_filter(of.key, "istio-system")
    step = Apply(ref, generated(of, ref, {}), exists=False, required=False)
    results = (StepResult(step, Failed("one")), StepResult(outcome.plan[0], Failed("two")))

    told = report(3, dataclasses.replace(outcome, plan=(step, *outcome.plan)), results, observed(of), NOW).status

    assert "VirtualService chat-gateway: two" in str(told["conditions"])


def test_children_in_other_namespaces_are_told_with_theirs() -> None:
    """Status says where to look, and a policy that gives way forgets exactly what is gone."""
    of = policy()
    ref = gateway_envoy_filter(of.key, "istio-system")
    world = observed(of, children=dict([as_child(generated(of, ref, {}))]))
    outcome = dataclasses.replace(reconcile(of, world, ADMINISTRATOR, NOW), plan=())

    told = report(3, outcome, (), world, NOW).status

    assert [{"kind": "EnvoyFilter", "name": "models.chat", "namespace": "istio-system"}] == told["children"]
    assert told["children"] == json.loads(Status.model_validate_json(json.dumps(told)).model_dump_json())["children"]


def test_rejected_generation_keeps_what_is_in_effect() -> None:
    """An invalid change says so, and goes on showing what traffic has."""
    of = policy()
    before = reported(of, observed(of)).status

    after = reported(Rejection(INVALID, (Problem("spec.hosts[0]", "bad host"),)), observed(of, status=before))

    assert ("False", "Invalid") == conditions(after.status)["Accepted"] == conditions(after.status)["Ready"]
    assert before["weights"] == after.status["weights"]
    assert before["effective"] == after.status["effective"]
    assert 3 == after.status["observedGeneration"]


def test_suspended_policy_is_unknown() -> None:
    """Nobody checks what a suspended policy's children look like, so the condition claims nothing."""
    of = policy(suspend=True)

    assert ("Unknown", "Suspended") == conditions(reported(of, observed(of)).status)["Ready"]


def test_cluster_without_istio_says_so() -> None:
    """The condition names what is missing."""
    of = policy()

    status = reported(of, observed(of, installed=frozenset({ChildKind.SCALED_OBJECT}))).status

    assert ("False", "IstioNotInstalled") == conditions(status)["Programmed"]


def test_transition_time_moves_only_with_the_status_of_a_condition() -> None:
    """A new message or reason alone keeps the time since when the condition is what it is."""
    of = policy()
    first = reported(of, observed(of)).status
    missing = observed(of, services={}, status=first)

    second = reported(of, missing, NOW + 60).status

    times = {
        kind: tuple(c["lastTransitionTime"] for s in (first, second) for c in s["conditions"] if c["type"] == kind)
        for kind in ("Accepted", "ResolvedRefs")
    }
    assert times["Accepted"][0] == times["Accepted"][1]
    assert times["ResolvedRefs"][0] != times["ResolvedRefs"][1]


@pytest.mark.parametrize(
    ("exists", "done"), [pytest.param(True, "changed", id="edited"), pytest.param(False, "deleted", id="deleted")]
)
def test_drift_that_was_repaired_is_an_event(exists: bool, done: str) -> None:
    """Whoever touched the object by hand finds out why that is undone."""
    of = policy()
    outcome = reconcile(of, observed(of), ADMINISTRATOR, NOW)
    step = outcome.plan[0]
    assert isinstance(step, Apply)
    repaired = dataclasses.replace(step, exists=exists, drift=True)
    before = reported(of, observed(of)).status

    events = report(3, outcome, (StepResult(repaired, None),), observed(of, status=before), NOW).events

    assert [("DriftRepaired", f"VirtualService chat-gateway was {done} by someone else and has been put back")] == [
        (event.reason.name, event.message) for event in events
    ]


def test_bound_per_attempt_that_istio_cannot_give_is_said() -> None:
    """A field without effect is listed, with what to do."""
    of = policy(timeouts=Timeouts(None, 1000), retries=retries(conditions=(RetryCondition.RESET,)))

    assert ["timeouts.perTry"] == [entry["field"] for entry in reported(of, observed(of)).status["skipped"]]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param({"weights": "a=1"}, {"weights": "a=1"}, True, id="same"),
        pytest.param({"weights": "a=1"}, {"weights": "a=2"}, False, id="weights"),
        pytest.param(
            {"conditions": [{"type": "A", "lastTransitionTime": "1"}]},
            {"conditions": [{"type": "A", "lastTransitionTime": "2"}]},
            True,
            id="only-a-time",
        ),
        pytest.param(
            {"conditions": [{"type": "A"}, {"type": "B"}]},
            {"conditions": [{"type": "B"}, {"type": "A"}]},
            True,
            id="only-the-order",
        ),
    ],
)
def test_unchanged(old: dict[str, Any], new: dict[str, Any], expected: bool) -> None:
    """Times and the order of conditions are not news."""
    assert expected == unchanged(old, new)


def test_policy_that_gave_way_shows_nothing_in_effect() -> None:
    """After its routes are withdrawn, the status shows no weights and no children, and why."""
    of = policy()
    before = reported(of, observed(of))
    outcome = reconcile(of, observed(of), ADMINISTRATOR, NOW)
    children = dict(as_child(dict(step.body)) for step in outcome.plan if isinstance(step, Apply))
    contest = Contest("host ai.example.com", "AIGatewayPolicy a/b", settled=True)

    after = reported(of, observed(of, status=before.status, children=children, contest=contest)).status

    assert ("False", "Conflicted") == conditions(after)["Accepted"] == conditions(after)["Ready"]
    assert {"Accepted", "Programmed", "Ready"} == conditions(after).keys()
    assert (None, []) == (after.get("weights"), after["children"])


def test_rule_of_somebody_else_is_named() -> None:
    """Routing goes on, but the policy is not all in effect, and says whose rule is in the way."""
    of = policy(connection_pool=ConnectionPool(10, None, None, None))

    status = reported(of, observed(of, foreign_rules={"model-v1": "istio-system/everything"})).status

    assert ("False", "DestinationRuleConflict") == conditions(status)["Programmed"]
    assert {"VirtualService", "DestinationRule"} == {child["kind"] for child in status["children"]}


def test_contested_child_is_told_and_the_weights_are_not_claimed() -> None:
    """While someone else's edit stands, status names the object and shows the weights that were in effect before."""
    of = policy()
    before = reported(of, observed(of)).status
    outcome = reconcile(of, observed(of), ADMINISTRATOR, NOW)
    held = dataclasses.replace(outcome, plan=(), contested=tuple(step.ref for step in outcome.plan))

    status = report(3, held, (), observed(of, status={**before, "weights": "v1=1,v2=99"}), NOW).status

    assert ("False", "DriftContested") == conditions(status)["Programmed"]
    assert "v1=1,v2=99" == status["weights"]


def test_scaled_object_that_cannot_be_written_concerns_scaling_alone() -> None:
    """Routes in effect are Ready; what KEDA's webhook refused is told under ScalingReady."""
    of = policy(backends=(backend("v1", autoscaling=autoscaling()),))
    world = observed(of)
    outcome = reconcile(of, world, ADMINISTRATOR, NOW)
    refused = [
        StepResult(step, Failed("refused") if step.ref.kind is ChildKind.SCALED_OBJECT else None)
        for step in outcome.plan
    ]

    found = conditions(report(3, outcome, tuple(refused), world, NOW).status)

    assert ("False", "ApplyFailed") == found["ScalingReady"]
    assert ("True", "Ready") == found["Ready"]


def test_what_could_not_be_written_is_not_in_effect() -> None:
    """Limits and error bodies of an EnvoyFilter that is refused are not told as if they held."""
    administrator = dataclasses.replace(ADMINISTRATOR, envoy_filter_namespaces=("istio-ingress",))
    of = policy(rate_limits=(RateLimit("all", 1, 1_000, 1, None),))
    outcome = reconcile(of, observed(of), administrator, NOW)
    results = tuple(
        StepResult(step, Failed("no") if step.ref.kind is ChildKind.ENVOY_FILTER else None) for step in outcome.plan
    )

    refused = report(1, outcome, results, observed(of), NOW).status["effective"]
    written = report(1, outcome, done(outcome), observed(of), NOW).status["effective"]

    assert {"rateLimits", "errorFormat"} <= written.keys()
    assert not {"rateLimits", "errorFormat"} & refused.keys()


def test_connections_that_somebody_else_configures_are_not_told_as_ours() -> None:
    """Where a DestinationRule of others covers every backend, the policy's limits are not in effect."""
    of = policy(connection_pool=ConnectionPool(50, None, None, None))
    foreign = {"model-v1": "mesh/all", "model-v2": "mesh/all"}

    assert "connectionPool" in reported(of, observed(of)).status["effective"]
    assert "connectionPool" not in reported(of, observed(of, foreign_rules=foreign)).status["effective"]


def test_children_that_cannot_be_looked_at_stay_in_the_status() -> None:
    """EnvoyFilters that are no longer allowed are still there until somebody deletes them."""
    of = policy()
    left = [{"kind": "EnvoyFilter", "name": "models.chat", "namespace": "istio-system"}]
    installed = frozenset(ChildKind) - {ChildKind.ENVOY_FILTER}

    told = reported(of, observed(of, installed=installed, status={"children": left})).status

    assert left[0] in told["children"]
    again = reported(of, observed(of, installed=installed, status=told)).status
    assert told["children"] == again["children"]


def test_losing_the_gateway_filter_is_news_once() -> None:
    """Requests go unlimited from then on: whoever watches events learns of it, and not at every pass."""
    administrator = dataclasses.replace(ADMINISTRATOR, envoy_filter_namespaces=("istio-ingress",))
    of = policy(rate_limits=(RateLimit("all", 1, 1_000, 1, None),))

    def told(status: Any, *lacking: Feature) -> tuple[Any, list[str]]:
        world = observed(of, status=status, lacking=frozenset(lacking))
        outcome = reconcile(of, world, administrator, NOW)
        found = report(1, outcome, done(outcome), world, NOW)
        return found.status, [e.message for e in found.events if e.reason is GATEWAY_FILTER_MISSING]

    limited, quiet = told({})
    lost, [warning] = told(limited, Feature.GATEWAY_FILTER)

    assert [] == quiet
    assert warning.startswith("rateLimits has no effect")
    assert [] == told(lost, Feature.GATEWAY_FILTER)[1]
