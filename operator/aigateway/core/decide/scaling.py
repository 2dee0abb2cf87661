"""Which backends are scaled, and whether KEDA can do it.

A backend whose scaling cannot be set up keeps the ScaledObject that it has: missing information never shrinks a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aigateway.api.administrator import ScalingDefaults
from aigateway.api.reasons import (
    CPU_REQUEST_MISSING,
    KEDA_NOT_INSTALLED,
    NOT_REQUESTED,
    PROMETHEUS_NOT_CONFIGURED,
    SCALING_FALLBACK,
    SCALING_NOT_READY,
    SCALING_PENDING,
    SCALING_READY,
    WORKLOAD_NOT_FOUND,
    ConditionStatus,
    ConditionType,
    Reason,
)
from aigateway.api.resolved import Backend, CPURule, ResolvedPolicy
from aigateway.core.decision import Because, Scaler, Verdict
from aigateway.core.identity import scaled_object
from aigateway.core.observation import ChildKind, ChildRef, Feature, Observation


@dataclass(frozen=True, slots=True)
class Scaling:
    """``scalers`` get a ScaledObject; ``keep`` are ScaledObjects that stay as they are for now."""

    scalers: tuple[Scaler, ...]
    keep: frozenset[ChildRef]
    verdict: Verdict


def decide_scaling(
    policy: ResolvedPolicy, ports: Mapping[str, int], observation: Observation, defaults: ScalingDefaults
) -> Scaling:
    """Return what is scaled; ``ports`` are the backends' resolved Service ports."""
    wanted = [backend for backend in policy.backends if backend.autoscaling is not None]
    if not wanted:
        return Scaling((), frozenset(), _verdict(ConditionStatus.TRUE, NOT_REQUESTED, "no autoscaling is asked for"))
    if ChildKind.SCALED_OBJECT not in observation.installed:
        problem = _verdict(
            ConditionStatus.FALSE, KEDA_NOT_INSTALLED, "the cluster has no keda.sh/v1alpha1 ScaledObject"
        )
        return Scaling((), frozenset(), problem)
    fallback = Feature.FALLBACK_BEHAVIOR not in observation.lacking
    obstacles = {backend.name: _obstacle(backend, ports, observation, defaults) for backend in wanted}
    return Scaling(
        scalers=tuple(
            Scaler(backend, ports[backend.name], backend.autoscaling, fallback)
            for backend in wanted
            if obstacles[backend.name] is None and backend.autoscaling is not None
        ),
        keep=frozenset(scaled_object(policy.key, name) for name, obstacle in obstacles.items() if obstacle),
        verdict=_judge(policy, [o for o in obstacles.values() if o], wanted, observation),
    )


def _obstacle(
    backend: Backend, ports: Mapping[str, int], observation: Observation, defaults: ScalingDefaults
) -> Because | None:
    """Return why a backend cannot be scaled yet, or None."""
    subject = f"backends[{backend.name}].autoscaling"
    rules = backend.autoscaling.rules if backend.autoscaling else ()
    workload = observation.workloads.get(backend.workload)
    if workload is None or backend.name not in ports:
        return Because(subject, WORKLOAD_NOT_FOUND, f"{backend.name}: its workload or Service does not exist yet")
    if defaults.prometheus_address is None and any(not isinstance(rule, CPURule) for rule in rules):
        message = f"{backend.name}: the operator has no Prometheus address to give to KEDA"
        return Because(subject, PROMETHEUS_NOT_CONFIGURED, message)
    if workload.without_cpu_request and any(isinstance(rule, CPURule) for rule in rules):
        containers = ", ".join(workload.without_cpu_request)
        message = f"{backend.name}: a CPU rule needs a CPU request on every container; missing on: {containers}"
        return Because(subject, CPU_REQUEST_MISSING, message)
    return None


def _judge(
    policy: ResolvedPolicy, obstacles: list[Because], wanted: list[Backend], observation: Observation
) -> Verdict:
    """Return the condition: our own obstacles first, then what KEDA says, the worst first."""
    if obstacles:
        return _verdict(ConditionStatus.FALSE, obstacles[0].reason, "; ".join(o.message for o in obstacles))
    said = [_keda_says(policy, backend, observation) for backend in wanted]
    for status, reason in (
        (ConditionStatus.FALSE, SCALING_NOT_READY),
        (ConditionStatus.FALSE, SCALING_FALLBACK),
        (ConditionStatus.UNKNOWN, SCALING_PENDING),
    ):
        messages = [message for found, message in said if found is reason]
        if messages:
            return _verdict(status, reason, "; ".join(messages))
    return _verdict(ConditionStatus.TRUE, SCALING_READY, "KEDA has every ScaledObject ready")


def _keda_says(policy: ResolvedPolicy, backend: Backend, observation: Observation) -> tuple[Reason, str]:
    ref = scaled_object(policy.key, backend.name)
    child = observation.children.get(ref)
    status: Mapping[str, Any] = child.body.get("status", {}) if child else {}
    conditions = {c["type"]: c for c in status.get("conditions") or () if "type" in c}
    ready, fallback = conditions.get("Ready", {}), conditions.get("Fallback", {})
    if fallback.get("status") == "True":
        return SCALING_FALLBACK, f"{ref.name}: a metric is missing, replicas are held"
    if ready.get("status") == "False":
        return SCALING_NOT_READY, f"{ref.name}: {ready.get('message') or ready.get('reason') or 'not ready'}"
    if ready.get("status") == "True":
        return SCALING_READY, f"{ref.name}: ready"
    return SCALING_PENDING, f"{ref.name}: KEDA has not reported yet"


def _verdict(status: ConditionStatus, reason: Reason, message: str) -> Verdict:
    return Verdict(ConditionType.SCALING_READY, status, reason, message)
