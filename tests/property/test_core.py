"""What holds for every policy in every world."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.api.resolved import ResolvedPolicy
from aigateway.api.status import Status
from aigateway.core.observation import (
    EndpointsState,
    Observation,
    ServicePort,
    ServiceState,
    WorkloadState,
)
from aigateway.core.outcome import Apply, Outcome, StepResult
from aigateway.core.reconcile import reconcile
from aigateway.core.status import report, unchanged
from tests.resolved import ADMINISTRATOR, NOW, as_child, resolved
from tests.strategies import policies

SAFE = {"connect-failure", "refused-stream", "reset-before-request"}


@st.composite
def situations(draw: st.DrawFn) -> tuple[ResolvedPolicy, Observation]:
    """Return a policy and a world in which some of what it names is missing or not ready."""
    policy = resolved(draw(policies()))
    names = {backend.service: backend.port for backend in policy.backends}
    if policy.service is not None:
        names[policy.service.name] = policy.service.port
    there = {name: port for name, port in names.items() if draw(st.integers(0, 5))}
    ages = st.sampled_from((NOW, NOW - 1, NOW - 5, NOW - 60))
    status = {"backends": [{"name": b.name, "available": draw(st.booleans())} for b in policy.backends]}
    return policy, Observation(
        services={name: ServiceState((ServicePort(port or 80),)) for name, port in there.items()},
        endpoints={name: EndpointsState(draw(st.integers(0, 2)), draw(ages)) for name in there},
        workloads={b.workload: WorkloadState(2, 2) for b in policy.backends if draw(st.integers(0, 5))},
        status=status if draw(st.booleans()) else {},
    )


def routes(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Return every HTTP route that is written."""
    for step in outcome.plan:
        if isinstance(step, Apply) and step.ref.kind == "VirtualService":
            yield from step.body["spec"]["http"]


@given(situations())
@settings(max_examples=40)
def test_written_weights_sum_to_a_hundred(situation: tuple[ResolvedPolicy, Observation]) -> None:
    """Every weighted route sums to 100 and names no destination twice; every route carries explicit retries."""
    for route in routes(reconcile(*situation, ADMINISTRATOR, NOW)):
        weights = [destination["weight"] for destination in route["route"] if "weight" in destination]
        hosts = [destination["destination"]["host"] for destination in route["route"]]

        assert sum(weights) == 100 or weights == []
        assert len(hosts) == len(set(hosts)) >= 1
        assert "retries" in route


def idempotent(match: dict[str, Any], policy: ResolvedPolicy) -> bool:
    """Return whether only requests can match that the policy says may be repeated."""
    if policy.retries.treat_as_idempotent or policy.retries.idempotency_header in match.get("headers", {}):
        return True
    method = match.get("method", {})
    allowed = {method["exact"]} if "exact" in method else set(method.get("regex", "ANY").split("|"))
    return allowed <= set(policy.retries.idempotent_methods)


@given(situations())
@settings(max_examples=40)
def test_only_idempotent_requests_are_retried_after_they_may_have_been_processed(
    situation: tuple[ResolvedPolicy, Observation],
) -> None:
    """A route that other requests can take retries only what the backend cannot have seen."""
    for route in routes(reconcile(*situation, ADMINISTRATOR, NOW)):
        retry_on = set(filter(None, route["retries"].get("retryOn", "").split(",")))

        assert retry_on <= SAFE or all(idempotent(match, situation[0]) for match in route["match"])


@given(situations())
@settings(max_examples=40)
def test_a_world_as_planned_needs_no_second_plan(situation: tuple[ResolvedPolicy, Observation]) -> None:
    """Taking the plan once leaves nothing to do, and the second report says the same without an event."""
    policy, world = situation
    first = reconcile(policy, world, ADMINISTRATOR, NOW)
    told = report(1, first, tuple(StepResult(step, None) for step in first.plan), world, NOW)
    children = dict(as_child(dict(step.body), policy.uid) for step in first.plan if isinstance(step, Apply))
    world = dataclasses.replace(world, children=children, status=told.status)

    second = reconcile(policy, world, ADMINISTRATOR, NOW)
    again = report(1, second, (), world, NOW)

    assert () == second.plan
    assert second.memory is None
    assert unchanged(told.status, again.status)
    assert () == again.events


@given(situations())
@settings(max_examples=40)
def test_status_fits_the_schema(situation: tuple[ResolvedPolicy, Observation]) -> None:
    """What is written is what the CRD declares; anything else would be refused or pruned."""
    outcome = reconcile(*situation, ADMINISTRATOR, NOW)
    status = report(1, outcome, (), situation[1], NOW).status

    parsed = Status.model_validate(status, strict=False)

    assert status["observedGeneration"] == parsed.observed_generation
