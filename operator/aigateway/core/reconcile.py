"""The operator in one pure function: policy, observation and time in, outcome out.

Called by :mod:`aigateway.engine` for every key that may have moved, and by the command line on files.  It does no I/O,
asks no clock, and gives the same answer for the same arguments.
"""

from __future__ import annotations

from aigateway.api.administrator import Administrator
from aigateway.api.problems import Rejection
from aigateway.api.reasons import ACCEPTED, AS_SPECIFIED, CONFLICTED, RESOLVED, ConditionStatus, ConditionType, Reason
from aigateway.api.resolved import ResolvedPolicy
from aigateway.core.adaptive import because, judge_metrics, remembered
from aigateway.core.decide.availability import Availability, decide_availability
from aigateway.core.decide.connections import decide_connections
from aigateway.core.decide.contention import next_repair
from aigateway.core.decide.references import References, resolve_references
from aigateway.core.decide.retries import Look, at_level, decide_retries, without_effect
from aigateway.core.decide.scaling import decide_scaling
from aigateway.core.decide.split import Candidate, decide_split
from aigateway.core.decide.support import decide_support
from aigateway.core.decision import Because, Decision, Target, Verdict
from aigateway.core.identity import (
    gateway_envoy_filter,
    gateway_virtual_service,
    mesh_envoy_filter,
    mesh_virtual_service,
)
from aigateway.core.observation import ChildRef, Contest, Observation
from aigateway.core.outcome import Apply, Outcome, Step
from aigateway.core.plan import make_plan
from aigateway.core.render.destination_rule import render_destination_rules
from aigateway.core.render.envoy_filter import render_envoy_filters
from aigateway.core.render.scaled_object import render_scaled_objects
from aigateway.core.render.virtual_service import render_virtual_services
from aigateway.core.status import known_availability, moved_memory


def reconcile(
    policy: ResolvedPolicy | Rejection, observation: Observation, administrator: Administrator, now: float
) -> Outcome:
    """Decide, render and plan for one policy.  ``now`` is in seconds since the epoch."""
    decision = decide(policy, observation, administrator, now)
    if isinstance(policy, Rejection) or policy.suspend:
        return Outcome(decision, plan=(), memory=None, wake_at=None)
    if decision.policy is None:
        plan = make_plan(policy.uid, (), frozenset(), observation) if decision.withdraw else ()
        return Outcome(decision, plan, memory=None, wake_at=None)
    desired = render(decision.policy, decision, administrator)
    plan = make_plan(decision.policy.uid, desired, decision.keep, observation)
    held = {step.ref: at for step in plan if (at := _held_until(step, observation, now)) is not None}
    return Outcome(
        decision,
        plan=tuple(step for step in plan if step.ref not in held),
        memory=moved_memory(decision, observation),
        wake_at=min((at for at in (decision.wake_at, *held.values()) if at is not None), default=None),
        contested=tuple(held),
    )


def _held_until(step: Step, observation: Observation, now: float) -> float | None:
    """Return until when a child that someone keeps changing is left as it is; None: it is written now."""
    contended = isinstance(step, Apply) and step.drift
    return next_repair(observation.repairs.get(step.ref, ()), now) if contended else None


def render(policy: ResolvedPolicy, decision: Decision, administrator: Administrator) -> tuple[dict[str, object], ...]:
    """Return every object that there should be."""
    return (
        *render_destination_rules(policy, decision, administrator),
        *render_scaled_objects(policy, decision, administrator),
        *render_envoy_filters(policy, decision, administrator),
        *render_virtual_services(policy, decision, administrator),
    )


def decide(
    policy: ResolvedPolicy | Rejection, observation: Observation, administrator: Administrator, now: float
) -> Decision:
    """Return the decision alone, with its reasons."""
    if isinstance(policy, Rejection):
        rejected = Verdict(ConditionType.ACCEPTED, ConditionStatus.FALSE, policy.reason, str(policy))
        return Decision(policy=None, verdicts=(rejected,))
    if observation.contest is not None:
        return _conflicted(observation.contest, suspended=policy.suspend)
    support = decide_support(policy, observation, administrator)
    policy = support.policy
    references = resolve_references(policy, observation)
    availability = _availability(policy, observation, now)
    targets = _targets(policy, references, availability)
    scaling = decide_scaling(policy, references.ports, observation, administrator.scaling)
    connections = decide_connections(policy, observation)
    routable = any(target.weight > 0 for target in targets)
    look = Look(observation.samples, now, administrator.sampling_interval_seconds)
    level = decide_retries(policy, targets, remembered(policy, observation, now), look)
    verdicts = (_accepted(), _resolved(references), judge_metrics(level), scaling.verdict)
    wakes = [level.wake_at if level else None, *(a.changes_at for a in availability.values())]
    return Decision(
        policy=at_level(policy, level),
        verdicts=tuple(verdict for verdict in verdicts if verdict is not None),
        targets=targets,
        scalers=scaling.scalers,
        connected=connections.backends,
        skipped=(*support.skipped, *without_effect(policy, level)),
        route_gateway=bool(policy.hosts) and routable,
        route_mesh=references.service_exists and routable,
        keep=scaling.keep | _kept_routes(policy, references, administrator, routable=routable),
        because=(
            *references.problems,
            *connections.problems,
            *_weight_reasons(targets),
            *because(level, observation.status),
        ),
        wake_at=min((at for at in wakes if at is not None), default=None),
        retries=level,
    )


def _conflicted(contest: Contest, *, suspended: bool) -> Decision:
    """Return the decision to give way, but not before the holder is served: that would be a gap.

    While suspended nothing is withdrawn either, since nothing is touched.
    """
    message = f"{contest.what} is held by the older {contest.holder}"
    conflicted = Verdict(ConditionType.ACCEPTED, ConditionStatus.FALSE, CONFLICTED, message)
    return Decision(policy=None, verdicts=(conflicted,), withdraw=contest.settled and not suspended)


def _availability(policy: ResolvedPolicy, observation: Observation, now: float) -> dict[str, Availability]:
    known = known_availability(observation.status)
    return {
        backend.name: decide_availability(
            known.get((backend.name, backend.service)), observation.endpoints.get(backend.service), now
        )
        for backend in policy.backends
    }


def _targets(
    policy: ResolvedPolicy, references: References, availability: dict[str, Availability]
) -> tuple[Target, ...]:
    shares = decide_split(
        [
            Candidate(b.name, b.weight, b.name in references.ports, availability[b.name].available)
            for b in policy.backends
        ]
    )
    return tuple(
        Target(
            backend,
            references.ports.get(backend.name),
            availability[backend.name].available,
            shares[backend.name].weight,
            shares[backend.name].reason,
        )
        for backend in policy.backends
    )


def _kept_routes(
    policy: ResolvedPolicy, references: References, administrator: Administrator, *, routable: bool
) -> frozenset[ChildRef]:
    """Return the routes that stay as they are because what they name is missing, with what belongs to them."""
    keep: set[ChildRef] = set()
    if policy.hosts and not routable:
        filters = (gateway_envoy_filter(policy.key, place) for place in administrator.envoy_filter_namespaces)
        keep.update((gateway_virtual_service(policy.key), *filters))
    if policy.service is not None and not (routable and references.service_exists):
        keep.update((mesh_virtual_service(policy.key), mesh_envoy_filter(policy.key)))
    return frozenset(keep)


def _accepted() -> Verdict:
    return Verdict(ConditionType.ACCEPTED, ConditionStatus.TRUE, ACCEPTED, "the policy is valid")


def _resolved(references: References) -> Verdict:
    if not references.problems:
        return _refs(ConditionStatus.TRUE, RESOLVED, "every Service, port and workload exists")
    message = "; ".join(problem.message for problem in references.problems)
    return _refs(ConditionStatus.FALSE, references.problems[0].reason, message)


def _refs(status: ConditionStatus, reason: Reason, message: str) -> Verdict:
    return Verdict(ConditionType.RESOLVED_REFS, status, reason, message)


def _weight_reasons(targets: tuple[Target, ...]) -> tuple[Because, ...]:
    """Return why each weight differs from the policy's, in the words of its reason."""
    return tuple(
        Because(f"backends[{t.backend.name}].weight", t.reason, f"{t.backend.name}={t.weight}: {t.reason.meaning}")
        for t in targets
        if t.reason is not AS_SPECIFIED
    )
