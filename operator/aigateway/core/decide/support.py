"""What of a policy has no effect in this cluster, and the policy without it.

Fields that Istio or KEDA of the cluster's version lack are taken out here, so that rendering need not know of versions,
and everything that has no effect is listed with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from aigateway.api.reasons import NEEDS_MAX_OPEN, NOT_FOR_EVERY_METHOD, NOT_IN_THIS_ISTIO, NOT_IN_THIS_KEDA
from aigateway.api.resolved import (
    PROVABLY_NOT_PROCESSED,
    CPURule,
    QueueLengthRule,
    ResolvedPolicy,
    RetryCondition,
    Rule,
)
from aigateway.core.decision import Because
from aigateway.core.observation import Feature, Observation


@dataclass(frozen=True, slots=True)
class Support:
    """``policy`` with what the cluster can do; ``skipped`` names each field without effect, and why."""

    policy: ResolvedPolicy
    skipped: tuple[Because, ...]


def decide_support(policy: ResolvedPolicy, observation: Observation) -> Support:
    """Return what can be in effect."""
    supported = policy
    if Feature.RESET_BEFORE_REQUEST in observation.lacking:
        kept = tuple(c for c in policy.retries.conditions if c is not RetryCondition.RESET_BEFORE_REQUEST)
        attempts = policy.retries.attempts if kept or policy.retries.status_codes else 0
        supported = replace(policy, retries=replace(policy.retries, conditions=kept, attempts=attempts))
    return Support(supported, tuple(_skipped(policy, supported, observation)))


def _skipped(policy: ResolvedPolicy, supported: ResolvedPolicy, observation: Observation) -> Iterator[Because]:
    if supported.retries.conditions != policy.retries.conditions and policy.retries.attempts:
        message = "ResetBeforeRequest needs Istio 1.23 or newer; what else is retried is in status.effective"
        yield Because("retries.conditions", NOT_IN_THIS_ISTIO, message)
    if _per_try_without_effect(supported):
        yield Because("timeouts.perTry", NOT_FOR_EVERY_METHOD, _PER_TRY)
    if _nothing_ever_waits(policy):
        message = "Envoy opens a connection for every request, so none waits: set connectionPool.maxOpen"
        yield Because("autoscaling.rules[QueueLength]", NEEDS_MAX_OPEN, message)
    if Feature.FALLBACK_BEHAVIOR in observation.lacking and _asks_prometheus(policy):
        message = "KEDA before 2.17 can't fall back to the current replicas; the autoscaler itself holds them"
        yield Because("autoscaling", NOT_IN_THIS_KEDA, message)


_PER_TRY = (
    "Istio bounds an attempt only where it may be retried: with these retries.conditions, requests with methods that "
    "are not idempotent are never retried and have no bound per attempt. Add ConnectFailure to retries.conditions, or "
    "set timeouts.request."
)


def _per_try_without_effect(policy: ResolvedPolicy) -> bool:
    bounded = policy.timeouts.per_try is not None and policy.retries.attempts > 0
    return bounded and not PROVABLY_NOT_PROCESSED.intersection(policy.retries.conditions)


def _nothing_ever_waits(policy: ResolvedPolicy) -> bool:
    bounded = policy.connection_pool is not None and policy.connection_pool.max_open is not None
    return not bounded and any(isinstance(rule, QueueLengthRule) for rule in _rules(policy))


def _asks_prometheus(policy: ResolvedPolicy) -> bool:
    return any(not isinstance(rule, CPURule) for rule in _rules(policy))


def _rules(policy: ResolvedPolicy) -> list[Rule]:
    return [rule for backend in policy.backends if backend.autoscaling for rule in backend.autoscaling.rules]
