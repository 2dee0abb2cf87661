"""What has no effect in a cluster, and why."""

from __future__ import annotations

import dataclasses

import pytest

from aigateway.api.resolved import ConnectionPool, QueueLengthRule, ResolvedPolicy, RetryCondition, Timeouts
from aigateway.core.decide.support import decide_support
from aigateway.core.observation import ChildKind, Feature
from tests.resolved import ADMINISTRATOR, SAFE_CONDITIONS, autoscaling, backend, observed, policy, retries

FILTERING = dataclasses.replace(ADMINISTRATOR, envoy_filter_namespaces=("istio-ingress",))
OLD_ISTIO = frozenset({Feature.RESET_BEFORE_REQUEST})
OLD_KEDA = frozenset({Feature.FALLBACK_BEHAVIOR})
QUEUED = policy(backends=(backend("v1", autoscaling=autoscaling(QueueLengthRule(10))),))
SCALED = policy(backends=(backend("v1", autoscaling=autoscaling()),))


@pytest.mark.parametrize(
    ("of", "lacking", "expected"),
    [
        pytest.param(policy(), frozenset(), [], id="everything-works"),
        pytest.param(policy(), OLD_ISTIO, [("retries.conditions", "NotInThisIstio")], id="condition-of-a-newer-istio"),
        pytest.param(policy(retries=retries(attempts=0)), OLD_ISTIO, [], id="no-retries-lack-nothing"),
        pytest.param(SCALED, OLD_KEDA, [("autoscaling", "NotInThisKEDA")], id="fallback-of-a-newer-keda"),
        pytest.param(
            QUEUED, frozenset(), [("autoscaling.rules[QueueLength]", "NeedsMaxOpen")], id="nothing-ever-waits"
        ),
        pytest.param(
            dataclasses.replace(QUEUED, connection_pool=ConnectionPool(50, None, None, None)),
            frozenset(),
            [],
            id="requests-wait-for-a-bounded-pool",
        ),
        pytest.param(policy(), OLD_KEDA, [], id="no-scaling-lacks-nothing"),
        pytest.param(
            policy(timeouts=Timeouts(None, 1000), retries=retries(conditions=(RetryCondition.RESET,))),
            frozenset(),
            [("timeouts.perTry", "NotForEveryMethod")],
            id="bound-that-istio-cannot-give",
        ),
    ],
)
def test_skipped(of: ResolvedPolicy, lacking: frozenset[Feature], expected: list[tuple[str, str]]) -> None:
    """Each field without effect is named once, with its reason."""
    support = decide_support(of, observed(of, lacking=lacking), ADMINISTRATOR)

    assert expected == [(because.subject, str(because.reason)) for because in support.skipped]


def test_unknown_condition_is_left_out_and_the_rest_stays() -> None:
    """An older Istio gets the conditions that it knows."""
    support = decide_support(policy(), observed(policy(), lacking=OLD_ISTIO), ADMINISTRATOR)

    assert SAFE_CONDITIONS[:2] == support.policy.retries.conditions


def test_a_larger_buffer_than_allowed_is_cut() -> None:
    """Proxies that all share hold the bodies in memory: the administrator says how much."""
    administrator = dataclasses.replace(FILTERING, max_buffer_limit=1 << 20)
    of = policy(retries=retries(buffer_limit=16 << 20))

    support = decide_support(of, observed(of), administrator)

    assert [("retries.bufferLimit", "BufferTooLarge")] == [(b.subject, str(b.reason)) for b in support.skipped]
    assert 1 << 20 == support.policy.retries.buffer_limit


def test_filters_of_a_time_when_they_were_allowed_are_told() -> None:
    """They are in effect still, so that nothing may say otherwise."""
    left = [{"kind": "EnvoyFilter", "name": "models.chat", "namespace": "istio-system"}]
    installed = frozenset(ChildKind) - {ChildKind.ENVOY_FILTER}
    world = observed(policy(), status={"children": left}, installed=installed)

    support = decide_support(policy(), world, ADMINISTRATOR)

    assert [("children", "EnvoyFilterLeftBehind")] == [(b.subject, str(b.reason)) for b in support.skipped]
    assert "istio-system/models.chat" in support.skipped[0].message
