"""Which EnvoyFilters there are, where, and what they patch."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from aigateway.api.resolved import Backoff, CircuitBreaker, RateLimit, ResolvedPolicy, Timeouts
from aigateway.core.observation import ChildKind, Feature
from aigateway.core.reconcile import decide, render
from tests.resolved import ADMINISTRATOR, NOW, in_mesh, observed, policy, retries

FILTERING = dataclasses.replace(ADMINISTRATOR, envoy_filter_namespaces=("istio-ingress", "edge"))
CAPPED = retries(backoff=Backoff(100, 300))
BREAKER = CircuitBreaker(5, None, 3, None, 20, 10_000, 30_000, 50)


def filters(of: ResolvedPolicy, administrator: Any = FILTERING, **world: Any) -> list[dict[str, Any]]:
    """Return the EnvoyFilters that are rendered for a policy."""
    decision = decide(of, observed(of, **world), administrator, NOW)
    bodies = render(decision.policy or of, decision, administrator)
    return [body for body in bodies if body["kind"] == "EnvoyFilter"]


def patches(of: ResolvedPolicy) -> list[tuple[str, Any]]:
    """Return what the first EnvoyFilter patches: the kind of thing, and the value."""
    found = filters(of)[0]["spec"]["configPatches"]
    return [(patch["applyTo"], patch["patch"]["value"]) for patch in found]


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        pytest.param(policy(), [("istio-ingress", "GATEWAY"), ("edge", "GATEWAY")], id="gateways"),
        pytest.param(
            policy(service=in_mesh(), retries=CAPPED),
            [("istio-ingress", "GATEWAY"), ("edge", "GATEWAY"), ("models", "SIDECAR_OUTBOUND")],
            id="gateways-and-mesh",
        ),
        pytest.param(policy(hosts=(), gateways=(), service=in_mesh()), [], id="mesh-with-nothing-to-say"),
    ],
)
def test_one_for_each_place_where_proxies_run(of: ResolvedPolicy, expected: list[tuple[str, str]]) -> None:
    """Gateways have theirs in their own namespaces, clients in the policy's."""
    found = filters(of)

    contexts = [{patch["match"]["context"] for patch in body["spec"]["configPatches"]} for body in found]
    assert expected == [
        (body["metadata"]["namespace"], *context) for body, context in zip(found, contexts, strict=True)
    ]


@pytest.mark.parametrize(
    ("administrator", "world"),
    [
        pytest.param(ADMINISTRATOR, {}, id="no-leave"),
        pytest.param(FILTERING, {"installed": frozenset(ChildKind) - {ChildKind.ENVOY_FILTER}}, id="no-such-kind"),
    ],
)
def test_none_where_none_may_be(administrator: Any, world: Any) -> None:
    """Without leave, or without the kind, everything that needs one is left out."""
    of = policy(retries=CAPPED, timeouts=Timeouts(None, None, 1_000, "x-deadline"), circuit_breaker=BREAKER)

    decision = decide(of, observed(of, **world), administrator, NOW)

    assert {"retries.backoff.max", "timeouts.idle", "timeouts.deadlineHeader"} == {b.subject for b in decision.skipped}


def test_none_is_rendered_without_leave() -> None:
    """The kind is not touched at all."""
    assert [] == filters(policy(retries=CAPPED), ADMINISTRATOR)


def test_without_the_gateway_filter_only_what_it_does_is_left_out() -> None:
    """Routes keep what needs no filter in the listener."""
    of = policy(retries=CAPPED, rate_limits=(RateLimit("all", 1, 1_000, 1, None),))
    world = observed(of, lacking=frozenset({Feature.GATEWAY_FILTER}))

    decision = decide(of, world, FILTERING, NOW)

    assert [("rateLimits", "GatewayFilterMissing")] == [(b.subject, str(b.reason)) for b in decision.skipped]
    assert decision.policy is not None
    assert CAPPED == decision.policy.retries


def test_every_route_is_patched_by_its_name() -> None:
    """Waits differ between the halves of a route: only idempotent requests get answers that are retried."""
    of = policy(retries=retries(status_codes=(503,), retry_after=5_000, backoff=Backoff(100, 300)))
    [body, _] = filters(of)

    by_name = {
        patch["match"]["routeConfiguration"]["vhost"]["route"]["name"]: patch["patch"]["value"]["route"]["retry_policy"]
        for patch in body["spec"]["configPatches"]
    }

    waits = {"retry_back_off": {"base_interval": "0.100s", "max_interval": "0.300s"}}
    after = {"max_interval": "5.000s", "reset_headers": [{"name": "retry-after", "format": "SECONDS"}]}
    assert {"models/chat": waits, "models/chat#idempotent": {**waits, "rate_limited_retry_back_off": after}} == by_name


def test_limits_are_kept_by_host() -> None:
    """Each host has a bucket for all of its routes."""
    of = policy(hosts=("a.example.com", "b.example.com"), rate_limits=(RateLimit("all", 1, 1_000, 1, None),))
    [body, _] = filters(of)

    hosts = [
        patch["match"]["routeConfiguration"]["vhost"]["domainName"]
        for patch in body["spec"]["configPatches"]
        if patch["applyTo"] == "VIRTUAL_HOST"
    ]

    assert ["a.example.com", "b.example.com"] == hosts


def test_a_breaker_acts_at_once_and_by_share_where_asked() -> None:
    """Ejected replicas get nothing more, in place of up to a second's requests."""
    judged = dataclasses.replace(BREAKER, failure_percent=40)

    plain = [value for kind, value in patches(policy(circuit_breaker=BREAKER)) if kind == "CLUSTER"]
    by_share = [value for kind, value in patches(policy(circuit_breaker=judged)) if kind == "CLUSTER"]

    assert [{"common_lb_config": {"update_merge_window": "0s"}}] * 2 == plain
    assert {40} == {value["outlier_detection"]["failure_percentage_threshold"] for value in by_share}


def test_nothing_is_patched_that_a_listener_holds() -> None:
    """A changed listener would drain the connections of every policy."""
    of = policy(
        retries=CAPPED,
        timeouts=Timeouts(None, None, 1_000, "x-deadline"),
        circuit_breaker=BREAKER,
        rate_limits=(RateLimit("all", 1, 1_000, 1, None),),
    )

    assert {"HTTP_ROUTE", "VIRTUAL_HOST", "CLUSTER"} == {kind for kind, _ in patches(of)}
