"""Splits, named routes, retries and timeouts, seen from clients and backends."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.data_plane.conftest import Apply, on
from tests.stack.backend import Backend
from tests.stack.cluster import Cluster
from tests.stack.models import Model
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually

Deploy = Callable[..., Model]

SIGMAS = 5
"""A right split of 5,000 fails beyond five standard deviations less than once in a million runs."""


def assert_share(expected_percent: int, got: int, n: int) -> None:
    """Check a share against the binomial distribution that a right split has."""
    share = expected_percent / 100
    tolerance = SIGMAS * math.sqrt(n * share * (1 - share))

    assert abs(got - n * share) <= tolerance, f"{got} of {n} are not {expected_percent} %"


def executions(backend: Backend) -> Counter[str]:
    """Return how often each request arrived at the backends."""
    return Counter(attempt.request_id for attempt in backend.seen())


def serving(gateway: Traffic, host: str, **request: str) -> None:
    """Wait until Envoy has a route for the host."""
    eventually(lambda: gateway.get(host, **request).status == 200, f"{host} is served")


def test_split_is_as_written_and_follows_a_change(
    stack: Stack, cluster: Cluster, apply: Apply, gateway: Traffic, model: Deploy, host: str, namespace: str
) -> None:
    """5,000 requests are split 80 to 20; after kubectl changes the weights, 50 to 50."""
    v1, v2 = model("v1", replicas=2), model("v2")
    policy = apply(hosts=[host], backends=[on(v1, 80), on(v2, 20)])
    serving(gateway, host)

    answers = gateway.send(host, 5000)

    assert {200: 5000} == answers.statuses
    assert_share(20, answers.count(v2.addresses()), 5000)
    assert "v1=80,v2=20" == policy["status"]["weights"]

    patch = json.dumps({"spec": {"backends": [on(v1, 50), on(v2, 50)]}})
    cluster.kubectl("patch", "aigp", "chat", "-n", namespace, "--type=merge", "-p", patch)

    def half_and_half() -> bool:
        sample = gateway.send(host, 400)
        return abs(sample.count(v2.addresses()) - 200) <= SIGMAS * 10

    eventually(half_and_half, "traffic follows the new weights")
    answers = gateway.send(host, 5000)
    assert_share(50, answers.count(v2.addresses()), 5000)
    assert {} == stack.gateway.rejected_updates()


@pytest.mark.parametrize(
    ("match", "request_", "other"),
    [
        pytest.param(
            {"headers": [{"name": "X-Model-Version", "exact": "v2"}]},
            {"headers": {"x-model-version": "v2"}},
            {"headers": {"x-model-version": "v20"}},
            id="header-exact",
        ),
        pytest.param(
            {"headers": [{"name": "x-user", "prefix": "beta-"}]},
            {"headers": {"x-user": "beta-7"}},
            {"headers": {"x-user": "7-beta"}},
            id="header-prefix",
        ),
        pytest.param({"method": "POST"}, {"method": "POST"}, {"method": "GET"}, id="method"),
        pytest.param({"pathPrefix": "/v2"}, {"path": "/v2/chat?x=1"}, {"path": "/v20"}, id="path-in-whole-segments"),
    ],
)
def test_matching_requests_all_reach_the_named_version(
    apply: Apply,
    gateway: Traffic,
    model: Deploy,
    host: str,
    match: object,
    request_: dict[str, Any],
    other: dict[str, Any],
) -> None:
    """Every request that matches reaches v2; those that don't follow the split, which gives v2 nothing."""
    v1, v2 = model("v1"), model("v2")
    apply(
        hosts=[host],
        backends=[on(v1, 100), on(v2, 0)],
        routes=[{"name": "pin", "matches": [match], "backend": "v2"}],
    )
    serving(gateway, host)

    pinned, rest = gateway.send(host, 200, **request_), gateway.send(host, 200, **other)

    assert (200, 0) == (pinned.count(v2.addresses()), pinned.count(v1.addresses()))
    assert (0, 200) == (rest.count(v2.addresses()), rest.count(v1.addresses()))


def test_policies_share_a_host_by_path(apply: Apply, gateway: Traffic, model: Deploy, host: str) -> None:
    """Two policies on one host each serve their path prefix, and nothing beyond it."""
    chat, rank = model("chat"), model("rank")
    apply("chat", hosts=[host], pathPrefix="/chat", backends=[on(chat)])
    apply("rank", hosts=[host], pathPrefix="/rank", backends=[on(rank)])
    serving(gateway, host, path="/chat")
    serving(gateway, host, path="/rank")

    assert 50 == gateway.send(host, 50, path="/chat/completions").count(chat.addresses())
    assert 50 == gateway.send(host, 50, path="/rank").count(rank.addresses())
    assert {404: 20} == gateway.send(host, 20, path="/ranking").statuses


def test_in_mesh_name_is_split(apply: Apply, mesh: Traffic, model: Deploy, namespace: str) -> None:
    """A client's sidecar splits requests for the in-mesh name over the versions' Services."""
    front, v1, v2 = model("front"), model("v1"), model("v2")
    apply(service={"name": "front"}, backends=[on(v1, 70), on(v2, 30)])
    name = f"front.{namespace}.svc.cluster.local"
    eventually(lambda: mesh.send(name, 50).count(front.addresses()) == 0, "the sidecar has the split")

    answers = mesh.send(name, 2000)

    assert {200: 2000} == answers.statuses
    assert_share(30, answers.count(v2.addresses()), 2000)


@pytest.mark.parametrize(
    ("method", "attempts_seen"),
    [pytest.param("GET", {4}, id="idempotent"), pytest.param("POST", {1}, id="not-idempotent")],
)
def test_status_codes_are_retried_for_idempotent_methods_only(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str, method: str, attempts_seen: set[int]
) -> None:
    """With three retries on 503 a GET arrives four times at a failing backend, a POST once."""
    v1 = model("v1", replicas=2)
    apply(hosts=[host], backends=[on(v1)], retries={"attempts": 3, "statusCodes": [503]})
    serving(gateway, host)
    backend.reset()
    for address in v1.addresses():
        backend.behave(address, status=503)

    answers = gateway.send(host, 40, method=method)

    assert {503: 40} == answers.statuses
    assert attempts_seen == set(executions(backend).values())


def test_attempt_is_cut_at_its_bound_and_tried_again(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """An answer that does not begin within perTry is given up; the next attempt may find a quick pod."""
    v1 = model("v1")
    apply(
        hosts=[host],
        backends=[on(v1)],
        timeouts={"perTry": "200ms"},
        retries={"attempts": 1, "conditions": ["ConnectFailure", "GatewayError"]},
    )
    serving(gateway, host)
    backend.reset()
    for address in v1.addresses():
        backend.behave(address, delay=30)

    assert 504 == gateway.get(host).status
    assert {2} == set(executions(backend).values())


def test_request_is_cut_at_its_bound(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """A request ends with 504 at timeouts.request, long before the backend would answer."""
    v1 = model("v1")
    apply(hosts=[host], backends=[on(v1)], timeouts={"request": "300ms"})
    serving(gateway, host)
    for address in v1.addresses():
        backend.behave(address, delay=30)

    answer = gateway.get(host)

    assert 504 == answer.status
    assert answer.seconds < 15


def test_version_without_ready_pods_gets_nothing_until_it_is_back(
    cluster: Cluster, apply: Apply, gateway: Traffic, model: Deploy, host: str, namespace: str
) -> None:
    """A version that loses its pods leaves the split, and returns when it has been ready for a while."""
    v1, v2 = model("v1"), model("v2")
    apply(hosts=[host], backends=[on(v1, 50), on(v2, 50)])
    serving(gateway, host)

    def weights(expected: str) -> bool:
        return bool(expected == cluster.get("AIGatewayPolicy", "chat", namespace)["status"]["weights"])

    v2.scale(0)
    eventually(lambda: weights("v1=100,v2=0"), "v2 has left the split")
    eventually(lambda: gateway.send(host, 200).statuses == {200: 200}, "all requests go to v1")

    v2.scale(1)
    eventually(lambda: weights("v1=50,v2=50"), "v2 is back")
    eventually(lambda: gateway.send(host, 50).count(v2.addresses()) > 0, "v2 gets traffic again")


def test_connection_limits_reach_envoy(stack: Stack, apply: Apply, gateway: Traffic, model: Deploy, host: str) -> None:
    """The pool's limits are in the cluster that Envoy uses."""
    v1 = model("v1")
    apply(hosts=[host], backends=[on(v1)], connectionPool={"maxOpen": 7, "maxPending": 3, "connectTimeout": "1s"})
    serving(gateway, host)

    def limits() -> tuple[int, int]:
        clusters = stack.gateway.config("dynamic_active_clusters")["configs"]
        [cluster] = [c["cluster"] for c in clusters if c["cluster"]["name"] == f"outbound|80||{v1.host}"]
        thresholds = cluster["circuit_breakers"]["thresholds"][0]
        return thresholds["max_connections"], thresholds["max_pending_requests"]

    eventually(lambda: limits() == (7, 3), "Envoy has the limits")
