"""What the user is told: the whole status and the events, from a decision and what became of its plan.

Called by :mod:`aigateway.engine` after the plan was executed.  The status is also the operator's only memory, which
:func:`known_availability` reads back.  Nothing that moves with every request is written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aigateway.api.reasons import (
    APPLY_FAILED,
    DESTINATION_RULE_CONFLICT,
    DRIFT_CONTESTED,
    ISTIO_NOT_INSTALLED,
    NAME_TAKEN,
    NO_USABLE_BACKEND,
    PROGRAMMED,
    READY,
    SUSPENDED,
    ConditionStatus,
    ConditionType,
    Reason,
)
from aigateway.core.adaptive import describe_history, describe_retries, moved_retries
from aigateway.core.decision import Decision, Verdict
from aigateway.core.effective import describe_backends, describe_effective, describe_replicas, describe_skipped
from aigateway.core.events import transitions
from aigateway.core.observation import ChildKind, ChildRef, Json, Observation
from aigateway.core.outcome import Apply, Outcome, Report, StepResult, Taken

Status = dict[str, Any]

_SUMMARISED = (ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS, ConditionType.PROGRAMMED)


def known_availability(status: Json) -> dict[tuple[str, str | None], bool]:
    """Return the debounced readiness as last written, by backend and Service: of another Service it says nothing."""
    return {(b["name"], b.get("service")): b["available"] for b in status.get("backends") or () if "available" in b}


def moved_memory(decision: Decision, observation: Observation) -> Status | None:
    """Return the status fields that must be written before any child moves, or None if none has moved.

    A backend that is seen for the first time has no state that could be lost, so it does not count.
    """
    memory = {**_moved_readiness(decision, observation), **moved_retries(decision.retries, observation.status)}
    return memory or None


def _moved_readiness(decision: Decision, observation: Observation) -> Status:
    known = known_availability(observation.status)
    moved = {
        t.backend.name: t.available
        for t in decision.targets
        if known.get((t.backend.name, t.backend.service), t.available) != t.available
    }
    if not moved:
        return {}
    backends = observation.status.get("backends") or ()
    return {"backends": [{**b, "available": moved.get(b["name"], b.get("available"))} for b in backends]}


def unchanged(old: Json, new: Json) -> bool:
    """Return whether two statuses say the same; the time of a transition is not news by itself."""
    return _without_times(old) == _without_times(new)


def _without_times(status: Json) -> Status:
    conditions = [{**c, "lastTransitionTime": ""} for c in status.get("conditions") or ()]
    return {**status, "conditions": sorted(conditions, key=lambda c: str(c.get("type")))}


def report(
    generation: int, outcome: Outcome, results: tuple[StepResult, ...], observation: Observation, now: float
) -> Report:
    """Return the status to write and the events to post.

    ``results`` are what became of the plan's steps, in order; steps behind a failed required one have none.
    """
    old = observation.status
    # A ScaledObject that cannot be written is a matter of scaling: the routes are in effect all the same.
    unscaled = _first_failure(results, ConditionType.SCALING_READY)
    decided = [unscaled if unscaled and v.type is unscaled.type else v for v in outcome.decision.verdicts]
    verdicts = [*decided, _programmed(outcome, results, observation)]
    verdicts.append(_ready(verdicts))
    status: Status = {**_in_effect(outcome, results, observation), "observedGeneration": generation}
    status["conditions"] = _conditions(verdicts, old, generation, now, withdrawn=outcome.decision.withdraw)
    return Report(status, transitions(old, status, outcome.decision, results))


_KEPT = ("weights", "backends", "effective", "skipped", "children", "retries", "history")
"""What a policy that is not looked into keeps."""


def _in_effect(outcome: Outcome, results: Sequence[StepResult], observation: Observation) -> Status:
    """Return the parts that describe what is in effect; what could not be changed is told as it was."""
    decision, old = outcome.decision, observation.status
    kept = {key: old[key] for key in _KEPT if key in old}
    if decision.policy is None and decision.withdraw:
        return {"children": _left(old, results)}
    if decision.policy is None:
        return {**kept, **({"replicas": old["replicas"]} if "replicas" in old else {})}
    replicas = {"replicas": describe_replicas(decision, observation)}
    if decision.policy.suspend:
        return {**kept, **replicas}
    routed = _done(outcome, results, ChildKind.VIRTUAL_SERVICE) and (decision.route_gateway or decision.route_mesh)
    weights = ",".join(f"{t.backend.name}={t.weight}" for t in decision.targets)
    status: Status = {
        "weights": weights if routed else old.get("weights", ""),
        **replicas,
        "backends": describe_backends(decision, observation, in_effect=routed),
        "effective": describe_effective(
            decision, observation.gateway_proxies, filtered=_done(outcome, results, ChildKind.ENVOY_FILTER)
        ),
        "children": _children(outcome, results, observation),
    }
    if decision.retries is not None:
        status["retries"] = describe_retries(decision.retries, old)
    more = {"skipped": describe_skipped(decision), "history": describe_history(decision.retries, old)}
    return {**status, **{name: value for name, value in more.items() if value}}


def _done(outcome: Outcome, results: Sequence[StepResult], kind: ChildKind) -> bool:
    """Return whether every object of a kind is as it should be."""
    done = {result.step.ref for result in results if result.failure is None}
    open_ = [step.ref for step in outcome.plan if step.ref not in done] + list(outcome.contested)
    return all(ref.kind is not kind for ref in open_)


def _left(old: Json, results: Sequence[StepResult]) -> list[dict[str, str]]:
    """Return the children that a policy which gives way still has."""
    gone = [_child(result.step.ref) for result in results if result.failure is None]
    return [child for child in old.get("children") or () if child not in gone]


def _child(ref: ChildRef) -> dict[str, str]:
    named = {"kind": str(ref.kind), "name": ref.name}
    return {**named, "namespace": ref.namespace} if ref.namespace else named


def _children(outcome: Outcome, results: Sequence[StepResult], observation: Observation) -> list[dict[str, str]]:
    """Return the objects of this policy that exist after the plan."""
    policy = outcome.decision.policy
    uid = policy.uid if policy else None
    there = {ref for ref, child in observation.children.items() if child.owner == uid}
    for result in results:
        if result.failure is None:
            there = there | {result.step.ref} if isinstance(result.step, Apply) else there - {result.step.ref}
    return [*(_child(ref) for ref in sorted(there)), *map(dict, observation.left_behind)]


def _programmed(outcome: Outcome, results: Sequence[StepResult], observation: Observation) -> Verdict:
    policy = outcome.decision.policy
    if policy is None:
        rejected = outcome.decision.verdicts[0].reason
        if outcome.decision.withdraw:
            return _verdict(ConditionStatus.FALSE, rejected, "the policy gives way; its objects are withdrawn")
        return _verdict(
            ConditionStatus.FALSE, rejected, "the policy is not accepted; what was in effect before still is"
        )
    if policy.suspend:
        return _verdict(ConditionStatus.UNKNOWN, SUSPENDED, "spec.suspend is true; generated objects are not touched")
    if ChildKind.VIRTUAL_SERVICE not in observation.installed:
        return _verdict(
            ConditionStatus.FALSE, ISTIO_NOT_INSTALLED, "the cluster has no networking.istio.io/v1 VirtualService"
        )
    return _first_failure(results, ConditionType.PROGRAMMED) or _routing_verdict(outcome)


def _first_failure(results: Sequence[StepResult], kind: ConditionType) -> Verdict | None:
    """Return the condition that the first failed step makes, among those that this condition is about.

    What holds others up comes first: its failure says why they are not there.
    """
    scaling = kind is ConditionType.SCALING_READY
    for result in sorted(results, key=lambda result: not result.step.required):
        if (result.step.ref.kind is ChildKind.SCALED_OBJECT) is not scaling:
            continue
        if isinstance(result.failure, Taken):
            message = f"{result.step.ref} exists and belongs to {result.failure.by}; it is left as it is"
            return Verdict(kind, ConditionStatus.FALSE, NAME_TAKEN, message)
        if result.failure is not None:
            message = f"{result.step.ref}: {result.failure.message}"
            return Verdict(kind, ConditionStatus.FALSE, APPLY_FAILED, message)
    return None


def _routing_verdict(outcome: Outcome) -> Verdict:
    decision = outcome.decision
    if outcome.contested:
        contested = ", ".join(map(str, outcome.contested))
        message = f"someone keeps changing or deleting {contested}; its metadata.managedFields may say who"
        return _verdict(ConditionStatus.FALSE, DRIFT_CONTESTED, message)
    if not (decision.route_gateway or decision.route_mesh):
        return _verdict(
            ConditionStatus.FALSE, NO_USABLE_BACKEND, "no backend can be routed to; existing routes are kept"
        )
    conflicts = [b.message for b in decision.because if b.reason is DESTINATION_RULE_CONFLICT]
    if conflicts:
        return _verdict(ConditionStatus.FALSE, DESTINATION_RULE_CONFLICT, "; ".join(conflicts))
    return _verdict(ConditionStatus.TRUE, PROGRAMMED, "every generated object is in the cluster as the policy asks")


def _verdict(status: ConditionStatus, reason: Reason, message: str) -> Verdict:
    return Verdict(ConditionType.PROGRAMMED, status, reason, message)


def _ready(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the summary: the first that is not true speaks for all."""
    for kind in _SUMMARISED:
        for verdict in verdicts:
            if verdict.type is kind and verdict.status is not ConditionStatus.TRUE:
                return Verdict(ConditionType.READY, verdict.status, verdict.reason, verdict.message)
    return Verdict(ConditionType.READY, ConditionStatus.TRUE, READY, "the policy is in effect")


def _conditions(
    verdicts: Sequence[Verdict], old: Json, generation: int, now: float, *, withdrawn: bool
) -> list[Status]:
    before = {condition["type"]: condition for condition in old.get("conditions") or ()}
    current = {verdict.type: _condition(verdict, before.get(verdict.type), generation, now) for verdict in verdicts}
    # What could not be judged for this generation keeps its last answer, under the generation that it was about.
    # That is about objects which are gone where the policy gives way.
    kept = current if withdrawn else {**before, **current}
    return [kept[kind] for kind in ConditionType if kind in kept]


def _condition(verdict: Verdict, before: Json | None, generation: int, now: float) -> Status:
    same = before is not None and before["status"] == verdict.status
    since = before["lastTransitionTime"] if same and before else timestamp(now)
    return {
        "type": str(verdict.type),
        "status": str(verdict.status),
        "observedGeneration": generation,
        "lastTransitionTime": since,
        "reason": str(verdict.reason),
        "message": verdict.message[:_MESSAGE_LIMIT],
    }


_MESSAGE_LIMIT = 4096
"""Far under the 32,768 characters that a condition's message may have: statuses are read by people."""


def timestamp(now: float) -> str:
    """Return seconds since the epoch as Kubernetes writes times."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
