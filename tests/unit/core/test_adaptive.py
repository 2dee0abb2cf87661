"""Adaptive retries in the status: memory, words, events and the condition, and what of it is written when."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from aigateway.api.resolved import Adaptive, Timeouts
from aigateway.api.status import Status
from aigateway.core.adaptive import retries_reason
from aigateway.core.observation import Json, Lack, Metric, NoData, Observation, Sample
from aigateway.core.outcome import Apply, Outcome, Report, StepResult
from aigateway.core.reconcile import reconcile
from aigateway.core.status import report, unchanged
from tests.resolved import ADMINISTRATOR, NOW, as_child, backend, observed, policy, retries

POLICY = policy(
    backends=(backend("v1"),),
    retries=retries(attempts=3, status_codes=(503,), adaptive=Adaptive(500, 50)),
    timeouts=Timeouts(None, 1_000),
)


def said(failing: float | Lack = 0.0, p99: float | Lack = 100.0, at: float = NOW - 2) -> dict[Any, Any]:
    """Return what Prometheus says of v1."""
    values = {Metric.FAILURE_PERCENT: failing, Metric.LATENCY_P99: p99}
    return {
        ("model-v1", metric): NoData(value) if isinstance(value, Lack) else Sample(value, at)
        for metric, value in values.items()
    }


def looked(world: Observation, now: float = NOW) -> tuple[Outcome, Report]:
    """Return what one pass comes to when every step of its plan is taken."""
    outcome = reconcile(POLICY, world, ADMINISTRATOR, now)
    return outcome, report(1, outcome, tuple(StepResult(step, None) for step in outcome.plan), world, now)


def after(world: Observation, now: float = NOW, **changes: Any) -> Observation:
    """Return the world after one pass, with changes."""
    outcome, told = looked(world, now)
    children = {**world.children, **dict(as_child(dict(step.body)) for step in outcome.plan if isinstance(step, Apply))}
    clean = outcome.decision.retries.clean_since if outcome.decision.retries else None
    return dataclasses.replace(world, status=told.status, children=children, clean_since=clean, **changes)


def condition(status: Json, kind: str = "MetricsAvailable") -> tuple[str, str, str] | None:
    """Return status, reason and message of a condition."""
    found = [c for c in status.get("conditions", ()) if c["type"] == kind]
    return (found[0]["status"], found[0]["reason"], found[0]["message"]) if found else None


def attempts(outcome: Outcome) -> set[int]:
    """Return the retries of all routes that are written."""
    return {
        route["retries"]["attempts"]
        for step in outcome.plan
        if isinstance(step, Apply) and step.ref.kind == "VirtualService"
        for route in step.body["spec"]["http"]
    }


FIRST = observed(POLICY, samples=said())


def test_first_look() -> None:
    """A new policy has all its retries, without an event or anything that must be written first."""
    outcome, told = looked(FIRST)

    assert ({3}, None) == (attempts(outcome), outcome.memory)
    assert {
        "asked": 3,
        "level": 3,
        "since": "2027-01-15T08:00:00Z",
        "reason": "AsAsked",
        "message": "Requests get as many retries as the policy says.",
    } == told.status["retries"]
    assert ["Programmed"] == [event.reason.name for event in told.events]
    assert ("True", "MetricsAvailable", "Prometheus tells what decisions need") == condition(told.status)


INPUTS = [
    {
        "backend": "v1",
        "metric": "FailurePercent",
        "value": "0.0 % of attempts",
        "threshold": "50 %",
        "age": "2s",
        "verdict": "Clean",
    },
    {
        "backend": "v1",
        "metric": "LatencyP99",
        "value": "812ms",
        "threshold": "500ms",
        "age": "2s",
        "verdict": "Slow",
    },
]


def test_a_step_down() -> None:
    """The step is in the status before the routes, then with its inputs, in an event, and in the history."""
    world = after(FIRST, samples=said(p99=812.4, at=NOW + 8))
    outcome, told = looked(world, NOW + 10)
    step = {
        "time": "2027-01-15T08:00:10Z",
        "what": "retries.attempts",
        "from": "3",
        "to": "2",
        "reason": "LatencyHigh",
        "why": "the P99 of v1 is 812ms, the bound is 500ms",
    }

    assert {2} == attempts(outcome)
    assert {"retries": told.status["retries"], "history": [step]} == outcome.memory
    assert {
        "asked": 3,
        "level": 2,
        "since": "2027-01-15T08:00:10Z",
        "sampledAt": "2027-01-15T08:00:08Z",
        "reason": "LatencyHigh",
        "message": step["why"],
        "inputs": INPUTS,
    } == told.status["retries"]
    assert [step] == told.status["history"]
    assert 2 == told.status["effective"]["attempts"]
    assert [("Warning", "RetryLevelLowered", f"3 retries are now 2: {step['why']}")] == [
        (event.type, event.reason.name, event.message) for event in told.events
    ]
    assert ["LatencyHigh: 2 of 3 retries: the P99 of v1 is 812ms, the bound is 500ms"] == [
        f"{because.reason}: {because.message}" for because in outcome.decision.because
    ]
    assert told.status == Status.model_validate(told.status, strict=False).model_dump(
        by_alias=True, exclude_none=True, mode="json"
    )


def test_no_retries() -> None:
    """At 0 the route stays, of one part, without the bound of an attempt, which the status says."""
    world = after(FIRST, samples=said(failing=80.0))
    outcome, told = looked(world, NOW + 10)
    [step] = outcome.plan

    assert isinstance(step, Apply)
    assert [{"attempts": 0}] == [route["retries"] for route in step.body["spec"]["http"]]
    assert [("timeouts.perTry", "RetriesOff")] == [(s["field"], s["reason"]) for s in told.status["skipped"]]
    assert {"attempts": 0}.items() <= told.status["effective"].items()
    assert "perTryTimeout" not in told.status["effective"]


@pytest.mark.parametrize("level", [pytest.param(said(p99=900.0), id="2"), pytest.param(said(failing=99.0), id="0")])
def test_a_level_that_stays_writes_nothing(level: dict[Any, Any]) -> None:
    """Other numbers with the same verdict are no news."""
    world = after(after(FIRST, samples=level))
    again = {key: Sample(found.value * 1.01, found.at + 1) for key, found in level.items()}
    again = again if world.status["retries"]["level"] == 0 else level

    outcome, told = looked(dataclasses.replace(world, samples=again), NOW + 5)

    assert ((), None, ()) == (outcome.plan, outcome.memory, told.events)
    assert unchanged(world.status, told.status)


def test_a_step_up() -> None:
    """After a clean minute one retry comes back, with an event."""
    world = after(after(FIRST, samples=said(failing=99.0)), samples=said(at=NOW + 60))
    world = after(world, NOW + 61)
    assert NOW + 61 == world.clean_since

    outcome, told = looked(dataclasses.replace(world, samples=said(at=NOW + 120)), NOW + 121)

    assert {1} == attempts(outcome)
    assert [("Normal", "RetryLevelRaised")] == [(event.type, event.reason.name) for event in told.events]
    assert ["0", "0"] == [told.status["history"][0]["to"], told.status["history"][1]["from"]]
    assert ("1", "Recovered") == (told.status["history"][1]["to"], told.status["retries"]["reason"])


@pytest.mark.parametrize(
    ("level", "expected"), [pytest.param(1, "Recovered", id="some"), pytest.param(3, "AsAsked", id="all")]
)
def test_why_there_are_so_many(level: int, expected: str) -> None:
    """A policy that has all its retries has what it asks for, however it came there."""
    assert expected == retries_reason({"asked": 3, "level": level, "reason": "Recovered"})


def test_history_is_short() -> None:
    """The status remembers the last ten decisions."""
    old = [
        {"time": f"{n}", "what": "retries.attempts", "from": "1", "to": "0", "why": "", "reason": ""} for n in range(10)
    ]
    world = after(FIRST, samples=said(p99=900.0))
    world = dataclasses.replace(world, status={**world.status, "history": old})

    _, told = looked(world)

    assert [str(n) for n in range(1, 10)] == [step["time"] for step in told.status["history"][:-1]]
    assert ["RetryLevelLowered"] == [event.reason.name for event in told.events]


def test_a_lost_status_gives_no_retries_back() -> None:
    """A status that is gone starts from what the routes have, and stays there while nothing is known."""
    world = after(after(FIRST, samples=said(failing=99.0)))
    world = dataclasses.replace(world, status={}, samples={})

    outcome, told = looked(world)

    assert ((), None) == (outcome.plan, outcome.memory)
    assert (0, 3, "LevelKept") == tuple(told.status["retries"][name] for name in ("level", "asked", "reason"))


def test_a_status_without_retries_begins_with_all() -> None:
    """A policy that begins to adapt gets the retries that it asks for now, whatever it had before."""
    world = after(FIRST)
    status = {name: value for name, value in world.status.items() if name != "retries"}
    routes = {
        ref: dataclasses.replace(child, body={**child.body, "spec": {"http": [{"retries": {"attempts": 1}}]}})
        for ref, child in world.children.items()
    }

    outcome, _ = looked(dataclasses.replace(world, status=status, children=routes, samples={}))

    assert {3} == attempts(outcome)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        pytest.param({}, None, id="not-asked-yet"),
        pytest.param(said(Lack.NOT_ASKED_YET, Lack.NOT_ASKED_YET), None, id="not-asked-since-the-start"),
        pytest.param(
            said(Lack.NOT_CONFIGURED, Lack.NOT_CONFIGURED),
            ("PrometheusNotConfigured", "the operator has no address of Prometheus; requests keep 3 of 3 retries"),
            id="no-address",
        ),
        pytest.param(
            said(Lack.UNREACHABLE, Lack.TIMED_OUT),
            ("PrometheusUnreachable", "Prometheus gives no answer about v1; requests keep 3 of 3 retries"),
            id="no-answer",
        ),
        pytest.param(
            said(10.0, Lack.NOT_JSON),
            ("PrometheusUnreachable", "Prometheus gives no answer about v1; requests keep 3 of 3 retries"),
            id="no-answer-to-use",
        ),
        pytest.param(
            said(10.0, Lack.EMPTY),
            ("MetricsMissing", "there is no LatencyP99 of v1 (Empty); requests keep 3 of 3 retries"),
            id="no-series",
        ),
        pytest.param(
            said(at=NOW - 45),
            (
                "MetricsMissing",
                "there is no FailurePercent of v1 (Stale), LatencyP99 of v1 (Stale); requests keep 3 of 3 retries",
            ),
            id="old",
        ),
    ],
)
def test_missing_metrics(samples: dict[Any, Any], expected: tuple[str, str] | None) -> None:
    """What is missing is told, and turns no policy un-ready."""
    _, told = looked(observed(POLICY, samples=samples))

    assert (None if expected is None else ("False", *expected)) == condition(told.status)
    assert ("True", "Ready") == (condition(told.status, "Ready") or ())[:2]


def test_a_restart_says_nothing_new() -> None:
    """Until Prometheus was asked again the condition stays as it was."""
    world = after(FIRST, samples={})
    outcome, told = looked(world)

    assert ((), None, ()) == (outcome.plan, outcome.memory, told.events)
    assert unchanged(world.status, told.status)


def test_a_suspended_policy_keeps_its_level() -> None:
    """Nothing is touched, so nothing moves."""
    world = after(after(FIRST, samples=said(failing=99.0)), samples=said())
    outcome = reconcile(dataclasses.replace(POLICY, suspend=True), world, ADMINISTRATOR, NOW + 600)
    told = report(1, outcome, (), world, NOW + 600)

    assert ((), None) == (outcome.plan, outcome.memory)
    assert [world.status[name] for name in ("retries", "history")] == [
        told.status[name] for name in ("retries", "history")
    ]


def test_a_policy_that_no_longer_adapts() -> None:
    """All retries come back at once; what was decided before stays in the history."""
    world = after(FIRST, samples=said(failing=99.0))
    world = after(world)
    plain = dataclasses.replace(POLICY, retries=dataclasses.replace(POLICY.retries, adaptive=None))
    outcome = reconcile(plain, world, ADMINISTRATOR, NOW + 5)
    told = report(2, outcome, (), world, NOW + 5)

    assert {3} == attempts(outcome)
    assert ("retries" not in told.status, 1) == (True, len(told.status["history"]))
    assert ("True", "NotRequested", "no decision needs metrics") == condition(told.status)
