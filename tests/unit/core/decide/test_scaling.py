"""Which backends are scaled, and what the ScalingReady condition says."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

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
    Reason,
)
from aigateway.api.resolved import CPURule, ResolvedPolicy
from aigateway.core.decide.scaling import Scaling, decide_scaling
from aigateway.core.identity import scaled_object
from aigateway.core.observation import ChildKind, ChildState, Observation, WorkloadState
from tests.resolved import ADMINISTRATOR, autoscaling, backend, observed, policy

SCALED = policy(backends=(backend("v1", autoscaling=autoscaling()),))
BY_CPU = policy(backends=(backend("v1", autoscaling=autoscaling(CPURule(70))),))
REF = scaled_object(SCALED.key, "v1")


def decided(of: ResolvedPolicy, world: Observation, **defaults: Any) -> Scaling:
    """Decide with every Service on port 80."""
    ports = {b.name: 80 for b in of.backends}
    return decide_scaling(of, ports, world, dataclasses.replace(ADMINISTRATOR.scaling, **defaults))


def with_keda_status(*conditions: dict[str, str]) -> Observation:
    """Return a world in which KEDA has reported these conditions on the ScaledObject of v1."""
    child = ChildState("u", "1", SCALED.uid, {"status": {"conditions": list(conditions)}})
    return observed(SCALED, children={REF: child})


@pytest.mark.parametrize(
    ("conditions", "status", "reason"),
    [
        pytest.param([], ConditionStatus.UNKNOWN, SCALING_PENDING, id="keda-has-not-reported"),
        pytest.param([{"type": "Ready", "status": "True"}], ConditionStatus.TRUE, SCALING_READY, id="ready"),
        pytest.param(
            [{"type": "Ready", "status": "False", "message": "no such query"}],
            ConditionStatus.FALSE,
            SCALING_NOT_READY,
            id="not-ready",
        ),
        pytest.param(
            [{"type": "Ready", "status": "True"}, {"type": "Fallback", "status": "True"}],
            ConditionStatus.FALSE,
            SCALING_FALLBACK,
            id="holding-in-fallback",
        ),
    ],
)
def test_verdict_follows_keda(conditions: list[dict[str, str]], status: ConditionStatus, reason: Reason) -> None:
    """The condition says what KEDA says, and that a fallback holds the replicas."""
    verdict = decided(SCALED, with_keda_status(*conditions)).verdict

    assert (status, reason) == (verdict.status, verdict.reason)


@pytest.mark.parametrize(
    ("of", "world", "defaults", "reason"),
    [
        pytest.param(SCALED, observed(SCALED, workloads={}), {}, WORKLOAD_NOT_FOUND, id="no-workload"),
        pytest.param(
            SCALED, observed(SCALED), {"prometheus_address": None}, PROMETHEUS_NOT_CONFIGURED, id="no-address"
        ),
        pytest.param(
            BY_CPU,
            observed(BY_CPU, workloads={BY_CPU.backends[0].workload: WorkloadState(1, 1, ("server",))}),
            {},
            CPU_REQUEST_MISSING,
            id="no-cpu-request",
        ),
    ],
)
def test_obstacle_keeps_the_scaled_object_as_it_is(
    of: ResolvedPolicy, world: Observation, defaults: dict[str, Any], reason: Reason
) -> None:
    """What cannot be set up is neither written nor deleted, and the condition says why."""
    scaling = decided(of, world, **defaults)

    assert () == scaling.scalers
    assert frozenset({REF}) == scaling.keep
    assert (ConditionStatus.FALSE, reason) == (scaling.verdict.status, scaling.verdict.reason)


def test_cpu_rule_needs_no_prometheus() -> None:
    """CPU comes from the metrics server, so no Prometheus address is needed for it."""
    scaling = decided(BY_CPU, observed(BY_CPU), prometheus_address=None)

    assert ["v1"] == [scaler.backend.name for scaler in scaling.scalers]


def test_without_keda_nothing_is_scaled() -> None:
    """A cluster without KEDA routes all the same; the condition names what is missing."""
    world = observed(SCALED, installed=frozenset({ChildKind.VIRTUAL_SERVICE, ChildKind.DESTINATION_RULE}))

    assert ((), KEDA_NOT_INSTALLED) == (decided(SCALED, world).scalers, decided(SCALED, world).verdict.reason)


def test_no_autoscaling_is_no_problem() -> None:
    """A policy that asks for no autoscaling has the condition true."""
    verdict = decided(policy(), observed(policy())).verdict

    assert (ConditionStatus.TRUE, NOT_REQUESTED) == (verdict.status, verdict.reason)
