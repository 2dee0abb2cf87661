"""Everything that is decided for one policy, each part with its reason and the inputs that it was decided from.

Made from a :class:`~aigateway.cli.prospect.Prospect`.  What is *in effect* is what the stored status says; everything
else is what the core decides now.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aigateway.api.administrator import Administrator
from aigateway.api.problems import Rejection
from aigateway.api.resolved import ResolvedPolicy
from aigateway.cli.prospect import Prospect
from aigateway.cli.views.common import ConditionView, conditions
from aigateway.cli.views.plan import Action, change_of
from aigateway.cli.views.traffic import Entrance, RouteView, Setting, entrances, routes, settings
from aigateway.core.decision import Decision, Target
from aigateway.core.identity import scaled_object
from aigateway.core.observation import Json
from aigateway.core.reconcile import render


@dataclass(frozen=True, slots=True)
class BackendView:
    """One backend.  Weights are in percent: as ``asked``, as decided, and ``in_effect`` by the stored status.

    ``endpoints`` are the ready ones (None: there is no such Service); ``replicas`` is ready/wanted of the workload.
    """

    name: str
    weight: int
    asked: int
    in_effect: int | None
    reason: str
    meaning: str
    service: str
    port: int | None
    endpoints: int | None
    available: bool
    workload: str
    replicas: str | None


@dataclass(frozen=True, slots=True)
class Trigger:
    """One rule as KEDA evaluates it; ``query`` is what Prometheus is asked (None: no Prometheus is)."""

    type: str
    metric: str
    threshold: str
    query: str | None


@dataclass(frozen=True, slots=True)
class ScalingView:
    """How one backend is scaled, and by which ScaledObject."""

    backend: str
    scaled_object: str
    min_replicas: int
    max_replicas: int
    triggers: tuple[Trigger, ...]


@dataclass(frozen=True, slots=True)
class InputView:
    """One metric of one backend at the last move of the retries, as the status has it."""

    backend: str
    metric: str
    value: str
    threshold: str
    age: str
    verdict: str


@dataclass(frozen=True, slots=True)
class RetriesView:
    """Adaptive retries: ``level`` of the ``asked`` are in effect ``since`` then, and what that was decided from."""

    asked: int
    level: int
    since: str
    reason: str
    message: str
    inputs: tuple[InputView, ...]


@dataclass(frozen=True, slots=True)
class StepView:
    """One earlier decision: ``what`` went from ``before`` to ``to``."""

    time: str
    what: str
    before: str
    to: str
    why: str


@dataclass(frozen=True, slots=True)
class ObjectView:
    """One generated object: ``in place``, ``kept``, or what would be done about it (as in a plan).

    ``namespace`` is empty where it is the policy's own.
    """

    kind: str
    name: str
    state: str
    note: str
    namespace: str = ""

    @property
    def title(self) -> str:
        """The name, with the namespace where that is not the policy's."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class PolicyExplained:
    """One policy.  ``observed_generation`` is what the operator has looked at last (None: it never has).

    ``conditions`` are the stored ones; ``expected`` those that it would get now, where they are others.
    """

    policy: str
    generation: int
    observed_generation: int | None
    suspended: bool
    conditions: tuple[ConditionView, ...]
    expected: tuple[ConditionView, ...]
    backends: tuple[BackendView, ...]
    entrances: tuple[Entrance, ...]
    routes: tuple[RouteView, ...]
    settings: tuple[Setting, ...]
    retries: RetriesView | None
    history: tuple[StepView, ...]
    scaling: tuple[ScalingView, ...]
    objects: tuple[ObjectView, ...]
    reasons: tuple[str, ...]
    skipped: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ExplainView:
    """All policies that were asked for."""

    policies: tuple[PolicyExplained, ...]


def explain_view(prospects: list[Prospect], administrator: Administrator) -> ExplainView:
    """Return the decisions for these policies."""
    return ExplainView(tuple(_policy(prospect, administrator) for prospect in prospects))


def _policy(prospect: Prospect, administrator: Administrator) -> PolicyExplained:
    decision, status = prospect.outcome.decision, prospect.report.status
    stored: Json = (prospect.stored or {}).get("status") or {}
    policy = None if isinstance(prospect.policy, Rejection) else prospect.policy
    decided = decision.policy
    return PolicyExplained(
        policy=str(prospect.key),
        generation=int(prospect.proposed["metadata"].get("generation", 0)),
        observed_generation=stored.get("observedGeneration"),
        suspended=bool(policy and policy.suspend),
        conditions=tuple(conditions(stored, stored)),
        expected=tuple(item for item in conditions(status, stored) if item.before is not None),
        backends=tuple(_backend(target, prospect, stored) for target in decision.targets),
        entrances=tuple(entrances(policy)) if policy else (),
        routes=tuple(routes(policy, status.get("weights", ""))) if policy else (),
        settings=tuple(settings(decided or policy)) if policy else (),
        retries=_retries(status["retries"]) if "retries" in status else None,
        history=tuple(map(_step, status.get("history") or ())),
        scaling=tuple(_scaling(prospect, decided, administrator)) if decided else (),
        objects=tuple(_objects(prospect)),
        reasons=tuple(f"{because.reason}: {because.message}" for because in decision.because),
        skipped=tuple(status.get("skipped") or ()),
    )


def _backend(target: Target, prospect: Prospect, stored: Json) -> BackendView:
    backend, observation = target.backend, prospect.observation
    endpoints = observation.endpoints.get(backend.service)
    workload = observation.workloads.get(backend.workload)
    before = {item["name"]: item.get("weight") for item in stored.get("backends") or ()}
    return BackendView(
        name=backend.name,
        weight=target.weight,
        asked=backend.weight,
        in_effect=before.get(backend.name),
        reason=str(target.reason),
        meaning=target.reason.meaning,
        service=backend.service,
        port=target.port,
        endpoints=endpoints.ready if endpoints else None,
        available=target.available,
        workload=f"{backend.workload.kind} {backend.workload.name}",
        replicas=f"{workload.ready}/{workload.replicas}" if workload else None,
    )


def _retries(entry: Json) -> RetriesView:
    inputs = tuple(
        InputView(
            backend=item["backend"],
            metric=item["metric"],
            value=item.get("value", "-"),
            threshold=item["threshold"],
            age=item.get("age", "-"),
            verdict=item["verdict"],
        )
        for item in entry.get("inputs") or ()
    )
    return RetriesView(entry["asked"], entry["level"], entry["since"], entry["reason"], entry["message"], inputs)


def _step(entry: Json) -> StepView:
    why = f"{entry['reason']}: {entry['why']}"
    return StepView(entry["time"], entry["what"], entry["from"], entry["to"], why)


def _scaling(prospect: Prospect, policy: ResolvedPolicy, administrator: Administrator) -> Iterator[ScalingView]:
    """Yield how backends are scaled, from the very objects that KEDA gets."""
    decision = prospect.outcome.decision
    bodies = {(body["kind"], body["metadata"]["name"]): body for body in _bodies(policy, decision, administrator)}
    for scaler in decision.scalers:
        ref = scaled_object(policy.key, scaler.backend.name)
        yield ScalingView(
            backend=scaler.backend.name,
            scaled_object=ref.name,
            min_replicas=scaler.autoscaling.min_replicas,
            max_replicas=scaler.autoscaling.max_replicas,
            triggers=tuple(map(_trigger, bodies[ref.kind, ref.name]["spec"]["triggers"])),
        )


def _bodies(policy: ResolvedPolicy, decision: Decision, administrator: Administrator) -> Iterator[dict[str, Any]]:
    yield from render(policy, decision, administrator)


def _trigger(body: Json) -> Trigger:
    metadata = body["metadata"]
    threshold = metadata.get("threshold") or metadata.get("value", "")
    return Trigger(body["name"], body["metricType"], threshold, metadata.get("query"))


def _objects(prospect: Prospect) -> Iterator[ObjectView]:
    """Yield every generated object that there is or should be."""
    changes = {step.step.ref: change_of(step) for step in prospect.steps}
    decision = prospect.outcome.decision
    uid = prospect.proposed["metadata"].get("uid")
    own = {ref for ref, child in prospect.observation.children.items() if child.owner == uid}
    for ref in sorted(own | set(changes)):
        change = changes.get(ref)
        if change is not None:
            state, note = _PENDING[change.action], change.note
        else:
            state, note = _at_rest(prospect, kept=ref in decision.keep)
        yield ObjectView(str(ref.kind), ref.name, state, note, ref.namespace)


_PENDING = {
    Action.CREATE: "to be created",
    Action.UPDATE: "to be updated",
    Action.REPAIR: "to be repaired",
    Action.DELETE: "to be deleted",
    Action.BLOCKED: "blocked",
    Action.WAITS: "waits",
}


def _at_rest(prospect: Prospect, *, kept: bool) -> tuple[str, str]:
    policy = prospect.policy
    if isinstance(policy, Rejection):
        return "kept", "the policy is invalid; what an earlier generation set up stays"
    if policy.suspend:
        return "kept", "the policy is suspended"
    if prospect.outcome.decision.policy is None:
        return "kept", "until what holds the claim is served"
    return ("kept", "what it refers to is missing") if kept else ("in place", "")
