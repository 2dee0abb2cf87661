"""What of a policy has no effect in this cluster, and the policy without it.

Fields that Istio or KEDA of the cluster's version lack, or that need an EnvoyFilter where none may be written, are
taken out here, so that rendering need not know of versions and rights; everything that has no effect is listed with
its reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from aigateway.api.administrator import Administrator
from aigateway.api.reasons import (
    BUFFER_TOO_LARGE,
    ENVOY_FILTER_LEFT_BEHIND,
    ENVOY_FILTER_NOT_ALLOWED,
    GATEWAY_FILTER_MISSING,
    NEEDS_MAX_OPEN,
    NOT_FOR_EVERY_METHOD,
    NOT_IN_ENVOY,
    NOT_IN_THIS_KEDA,
    TOO_FEW_REPLICAS,
)
from aigateway.api.resolved import (
    PROVABLY_NOT_PROCESSED,
    CPURule,
    ErrorFormat,
    QueueLengthRule,
    ResolvedPolicy,
    Rule,
)
from aigateway.core.decision import Because
from aigateway.core.gates import IN_ENVOY_FILTER, IN_GATEWAY_FILTER, IN_ISTIO, Gate
from aigateway.core.observation import ChildKind, Feature, Observation


@dataclass(frozen=True, slots=True)
class Support:
    """``policy`` with what the cluster can do; ``skipped`` names each field without effect, and why."""

    policy: ResolvedPolicy
    skipped: tuple[Because, ...]


def decide_support(policy: ResolvedPolicy, observation: Observation, administrator: Administrator) -> Support:
    """Return what can be in effect."""
    skipped: list[Because] = []
    supported = policy
    for gate, because in _closed(observation, administrator):
        if gate.asked(supported):
            supported = gate.without(supported)
            skipped.append(because)
    supported, cut = _within_buffers(supported, administrator)
    return Support(
        _with_error_format(supported, observation, administrator),
        (*skipped, *cut, *_without_effect(policy, supported, observation)),
    )


def _within_buffers(policy: ResolvedPolicy, administrator: Administrator) -> tuple[ResolvedPolicy, tuple[Because, ...]]:
    """Cut the limit of kept bodies to what the administrator gives: proxies that all share hold them in memory."""
    asked, most = policy.retries.buffer_limit, administrator.max_buffer_limit
    if asked is None or asked <= most:
        return policy, ()
    message = f"bodies of over {most} bytes are not retried"
    because = Because("retries.bufferLimit", BUFFER_TOO_LARGE, message)
    return replace(policy, retries=replace(policy.retries, buffer_limit=most)), (because,)


def _closed(observation: Observation, administrator: Administrator) -> Iterator[tuple[Gate, Because]]:
    """Yield every field that cannot be in effect here, and why."""
    for feature, gate in IN_ISTIO.items():
        if feature in observation.lacking:
            yield gate, Because(gate.field, gate.reason, gate.message)
    if not _may_filter(observation, administrator):
        for gate in (*IN_ENVOY_FILTER, *IN_GATEWAY_FILTER):
            yield gate, Because(gate.field, ENVOY_FILTER_NOT_ALLOWED, gate.message)
    elif Feature.GATEWAY_FILTER in observation.lacking:
        for gate in IN_GATEWAY_FILTER:
            yield gate, Because(gate.field, GATEWAY_FILTER_MISSING, gate.message)


def _may_filter(observation: Observation, administrator: Administrator) -> bool:
    return bool(administrator.envoy_filter_namespaces) and ChildKind.ENVOY_FILTER in observation.installed


def _with_error_format(
    policy: ResolvedPolicy, observation: Observation, administrator: Administrator
) -> ResolvedPolicy:
    """Fill in what a policy that names no format gets: JSON where it can be had."""
    if policy.error_format is not None:
        return policy
    can = _may_filter(observation, administrator) and Feature.GATEWAY_FILTER not in observation.lacking
    return replace(policy, error_format=ErrorFormat.JSON if can and policy.hosts else ErrorFormat.TEXT)


def _without_effect(policy: ResolvedPolicy, supported: ResolvedPolicy, observation: Observation) -> Iterator[Because]:
    if _per_try_without_effect(supported):
        yield Because("timeouts.perTry", NOT_FOR_EVERY_METHOD, _PER_TRY)
    if policy.connection_pool is not None and policy.connection_pool.max_idle is not None:
        yield Because("connectionPool.maxIdle", NOT_IN_ENVOY, _MAX_IDLE)
    if observation.left_behind:
        names = ", ".join(
            f"{child.get('namespace', '')}/{child['name']}".lstrip("/") for child in observation.left_behind
        )
        yield Because("children", ENVOY_FILTER_LEFT_BEHIND, f"EnvoyFilter {names} is still in the cluster")
    yield from _never_ejected(policy, observation)
    if _nothing_ever_waits(policy):
        message = "Envoy opens a connection for every request, so none waits: set connectionPool.maxOpen"
        yield Because("autoscaling.rules[QueueLength]", NEEDS_MAX_OPEN, message)
    if Feature.FALLBACK_BEHAVIOR in observation.lacking and _asks_prometheus(policy):
        message = "KEDA before 2.17 can't fall back to the current replicas; the autoscaler itself holds them"
        yield Because("autoscaling", NOT_IN_THIS_KEDA, message)


_PER_TRY = (
    "Istio bounds an attempt only where it may be retried: with these retries.conditions, requests that are not "
    "idempotent are never retried and have no bound per attempt. Add ConnectFailure to retries.conditions, or "
    "set timeouts.request."
)
_MAX_IDLE = (
    "Envoy does not limit how many idle connections it keeps; it closes them after an hour without a request, and "
    "connectionPool.maxLifetime replaces all of them"
)


def _per_try_without_effect(policy: ResolvedPolicy) -> bool:
    bounded = policy.timeouts.per_try is not None and policy.retries.attempts > 0
    everything = policy.retries.treat_as_idempotent
    return bounded and not everything and not PROVABLY_NOT_PROCESSED.intersection(policy.retries.conditions)


def _never_ejected(policy: ResolvedPolicy, observation: Observation) -> Iterator[Because]:
    """Yield the backends none of whose replicas Envoy may eject: one more must not be over the limit."""
    if policy.circuit_breaker is None:
        return
    limit = policy.circuit_breaker.max_ejection_percent
    for backend in policy.backends:
        workload = observation.workloads.get(backend.workload)
        if workload is not None and workload.replicas and limit * workload.replicas < 100:  # noqa: PLR2004 (percent)
            message = f"{backend.name} has {workload.replicas}, of which {limit} % are less than one"
            yield Because(f"circuitBreaker.maxEjectionPercent[{backend.name}]", TOO_FEW_REPLICAS, message)


def _nothing_ever_waits(policy: ResolvedPolicy) -> bool:
    bounded = policy.connection_pool is not None and policy.connection_pool.max_open is not None
    return not bounded and any(isinstance(rule, QueueLengthRule) for rule in _rules(policy))


def _asks_prometheus(policy: ResolvedPolicy) -> bool:
    return any(not isinstance(rule, CPURule) for rule in _rules(policy))


def _rules(policy: ResolvedPolicy) -> list[Rule]:
    return [rule for backend in policy.backends if backend.autoscaling for rule in backend.autoscaling.rules]
