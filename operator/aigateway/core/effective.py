"""What is in effect, in the words of the status: weights, replicas, scaling, and what has no effect.

Called by :mod:`aigateway.core.status`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aigateway.api.resolved import (
    CPURule,
    LatencyRule,
    QueueLengthRule,
    RequestRateRule,
    ResolvedPolicy,
    Rule,
)
from aigateway.api.types import format_duration
from aigateway.core.decision import Decision, Target
from aigateway.core.gates import IN_ENVOY_FILTER, IN_GATEWAY_FILTER
from aigateway.core.observation import Observation
from aigateway.core.resilience import describe_resilience

Entry = dict[str, Any]


def describe_replicas(decision: Decision, observation: Observation) -> str:
    """Return ready and wanted replicas, as ``v1=4/4,v2=1/2``; ``-`` where the workload is not known."""
    return ",".join(f"{t.backend.name}={_replicas(t, observation)}" for t in decision.targets)


def _replicas(target: Target, observation: Observation) -> str:
    workload = observation.workloads.get(target.backend.workload)
    return "-" if workload is None else f"{workload.ready}/{workload.replicas}"


def describe_backends(decision: Decision, observation: Observation, *, in_effect: bool) -> list[Entry]:
    """Return one entry a backend; a weight that is not ``in_effect`` yet is told as it was before."""
    before = {entry["name"]: entry for entry in observation.status.get("backends") or ()}
    return [
        _backend(target) if in_effect else {**_backend(target), **_weight_of(before.get(target.backend.name, {}))}
        for target in decision.targets
    ]


def _weight_of(entry: Entry) -> Entry:
    return {"weight": entry.get("weight", 0)}


def _backend(target: Target) -> Entry:
    entry: Entry = {
        "name": target.backend.name,
        "service": target.backend.service,
        "weight": target.weight,
        "available": target.available,
        "reason": str(target.reason),
    }
    return entry if target.port is None else {**entry, "port": target.port}


def describe_effective(decision: Decision, gateway_proxies: int | None = None, *, filtered: bool = True) -> Entry:
    """Return the policy with its defaults filled in, as the data plane and KEDA have it.

    ``gateway_proxies``: how many there are now, None where that is not known.  ``filtered``: every EnvoyFilter is as it
    should be; else what they do is not told, and neither is what a DestinationRule does where no backend has ours.
    """
    policy = decision.policy
    if policy is None:
        return {}
    entry: Entry = {"attempts": policy.retries.attempts}
    if policy.hosts:
        entry |= {"hosts": list(policy.hosts), "gateways": list(policy.gateways), "pathPrefix": policy.path_prefix}
    if policy.service is not None:
        entry["service"] = policy.service.name
    entry |= describe_resilience(_told(policy, decision, filtered=filtered), gateway_proxies)
    if decision.scalers:
        entry["scaling"] = [
            {
                "backend": scaler.backend.name,
                "minReplicas": scaler.autoscaling.min_replicas,
                "maxReplicas": scaler.autoscaling.max_replicas,
                "triggers": [_rule(rule) for rule in scaler.autoscaling.rules],
            }
            for scaler in decision.scalers
        ]
    return entry


def _told(policy: ResolvedPolicy, decision: Decision, *, filtered: bool) -> ResolvedPolicy:
    """Return the policy with only what the data plane can have."""
    for gate in () if filtered else (*IN_ENVOY_FILTER, *IN_GATEWAY_FILTER):
        policy = gate.without(policy) if gate.asked(policy) else policy
    if decision.connected or not policy.configures_connections:
        return policy
    retries = replace(policy.retries, budget=None)
    return replace(policy, connection_pool=None, circuit_breaker=None, load_balancing=None, retries=retries)


def _rule(rule: Rule) -> str:
    match rule:
        case RequestRateRule(target):
            return f"RequestRate: {target} requests/s per replica"
        case LatencyRule(percentile, threshold):
            return f"Latency: p{percentile} over {format_duration(threshold)}"
        case QueueLengthRule(total):
            return f"QueueLength: over {total} waiting requests"
        case CPURule(utilization):
            return f"CPU: {utilization} % of what is requested"


def describe_skipped(decision: Decision) -> list[Entry]:
    """Return the fields that have no effect, each with the reason."""
    return [
        {"field": because.subject, "reason": str(because.reason), "message": because.message}
        for because in decision.skipped
    ]
