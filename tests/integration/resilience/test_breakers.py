"""Replicas that fail are left out, regions stand in for each other, and connections are bounded and kept alive."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.integration.resilience.conftest import Apply, Deploy, cluster_of, on, serving
from tests.stack.addresses import BACKEND
from tests.stack.backend import Backend
from tests.stack.cluster import Cluster
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually

NO_RETRIES = {"attempts": 0}


@pytest.mark.parametrize(
    ("breaker", "fault"),
    [
        pytest.param({"consecutiveErrors": 3}, {"status": 500}, id="server-errors"),
        pytest.param({"consecutiveGatewayErrors": 2}, {"status": 503}, id="gateway-errors"),
        pytest.param({"consecutiveConnectFailures": 2}, {"reset": "accept"}, id="connections"),
        pytest.param(
            {"consecutiveErrors": 1000, "failurePercent": 50, "minRequests": 10},
            {"status": 500, "share": 0.8},
            id="share",
        ),
    ],
)
def test_a_failing_replica_is_left_out_and_comes_back(
    apply: Apply,
    gateway: Traffic,
    backend: Backend,
    model: Deploy,
    host: str,
    breaker: dict[str, Any],
    fault: dict[str, Any],
) -> None:
    """One of two replicas fails; after some failures all requests succeed, and later it is used again."""
    v1 = model("v1", replicas=2)
    apply(
        hosts=[host],
        backends=[on(v1)],
        retries=NO_RETRIES,
        circuitBreaker={**breaker, "interval": "1s", "sleepWindow": "3s", "maxEjectionPercent": 50},
    )
    serving(gateway, host)
    backend.reset()
    failing = min(v1.addresses())
    backend.behave(failing, **fault)

    def ejected() -> bool:
        return gateway.send(host, 60, rate=100).statuses == {200: 60}

    eventually(ejected, "the failing replica is out", within=30)
    backend.reset()
    eventually(lambda: gateway.send(host, 50).count({failing}) > 0, "it is back", within=60)


def test_half_of_the_replicas_at_most_are_out(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """When all of four replicas fail, two stay in: a common cause must not take away the whole model."""
    v1 = model("v1", replicas=4)
    apply(
        hosts=[host],
        backends=[on(v1)],
        retries=NO_RETRIES,
        circuitBreaker={"consecutiveErrors": 2, "interval": "1s", "sleepWindow": "60s"},
    )
    serving(gateway, host)
    backend.reset()
    backend.behave(status=500)
    gateway.send(host, 200)
    backend.reset()

    answers = gateway.send(host, 100)

    assert {200: 100} == answers.statuses
    assert 2 == len(answers.addresses)


def test_a_lone_replica_is_never_out_and_status_says_so(
    apply: Apply, cluster: Cluster, gateway: Traffic, model: Deploy, host: str, namespace: str
) -> None:
    """Half of one replica is none; with a second one the entry is gone."""
    v1 = model("v1")
    policy = apply(hosts=[host], backends=[on(v1)], circuitBreaker={})
    serving(gateway, host)

    assert {"circuitBreaker.maxEjectionPercent[v1]": "TooFewReplicas"} == _skipped(policy)

    v1.scale(2)
    eventually(lambda: _skipped(cluster.get("AIGatewayPolicy", "chat", namespace)) == {}, "it has an effect now")


def _skipped(policy: dict[str, Any]) -> dict[str, str]:
    return {entry["field"]: entry["reason"] for entry in policy["status"].get("skipped", ())}


def test_envoy_has_the_breaker_as_written(
    stack: Stack, apply: Apply, gateway: Traffic, model: Deploy, host: str
) -> None:
    """Every field is in the cluster that Envoy uses; what the gateway does not reach counts apart from answers."""
    v1 = model("v1", replicas=2)
    apply(
        hosts=[host],
        backends=[on(v1)],
        circuitBreaker={
            "consecutiveErrors": 7,
            "consecutiveGatewayErrors": 4,
            "consecutiveConnectFailures": 2,
            "failurePercent": 40,
            "minRequests": 30,
            "interval": "5s",
            "sleepWindow": "20s",
            "maxSleepWindow": "40s",
            "maxEjectionPercent": 60,
        },
    )
    serving(gateway, host)

    expected = {
        "max_ejection_time": "40s",
        "consecutive_5xx": 7,
        "consecutive_gateway_failure": 4,
        "consecutive_local_origin_failure": 2,
        "split_external_local_origin_errors": True,
        "interval": "5s",
        "base_ejection_time": "20s",
        "max_ejection_percent": 60,
        "failure_percentage_threshold": 40,
        "failure_percentage_request_volume": 30,
        "enforcing_failure_percentage": 100,
    }

    def there() -> bool:
        detection = cluster_of(stack, v1).get("outlier_detection", {})
        return expected == {name: detection.get(name) for name in expected}

    eventually(there, "Envoy's outlier detection is the policy's")


def test_pool_of_the_article(
    stack: Stack, apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """50 connections, 10 idle, an hour of life: what Envoy can do is in its cluster, the rest in status.skipped."""
    v1 = model("v1")
    policy = apply(
        hosts=[host],
        backends=[on(v1)],
        retries=NO_RETRIES,
        connectionPool={"maxOpen": 50, "maxIdle": 10, "maxPending": 10, "maxLifetime": "1h", "keepAlive": "30s"},
    )
    serving(gateway, host)
    eventually(lambda: "circuit_breakers" in cluster_of(stack, v1), "the limits are there")
    backend.reset()
    backend.behave(delay=2.5)

    answers = gateway.send(host, 100, rate=100)

    # At first each request opens a connection, then ten wait, and what comes while they do is refused.
    assert {200: 60, 503: 40} == answers.statuses
    assert {"connectionPool.maxIdle": "NotInEnvoy"} == _skipped(policy)
    cluster = cluster_of(stack, v1)
    keepalive = cluster["upstream_connection_options"]["tcp_keepalive"]
    assert (3, 30, 5) == tuple(keepalive[name] for name in ("keepalive_probes", "keepalive_time", "keepalive_interval"))
    assert "3600s" in str(cluster["typed_extension_protocol_options"])


def test_requests_under_way_are_bounded(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """One more than maxRequests is refused at once, with the word that it was overload."""
    v1 = model("v1")
    apply(hosts=[host], backends=[on(v1)], retries=NO_RETRIES, connectionPool={"maxRequests": 5})
    serving(gateway, host)
    backend.reset()
    backend.behave(delay=1)

    answers = gateway.send(host, 40, concurrency=40)

    refused = [answer for answer in answers.all if answer.status == 503]
    assert len(refused) >= 30
    assert {"true"} == {answer.headers.get("x-envoy-overloaded") for answer in refused}


def test_silent_connections_are_probed(
    stack: Stack, cluster: Cluster, apply: Apply, gateway: Traffic, model: Deploy, host: str, namespace: str
) -> None:
    """The kernel probes an idle connection of the gateway; over HTTP/2 Envoy sends pings as well."""
    v1, v2 = model("v1"), model("v2")
    port = {"name": "http", "port": 80, "targetPort": BACKEND, "appProtocol": "kubernetes.io/h2c"}
    cluster.patch("Service", "v2", namespace, {"spec": {"ports": [port]}})
    apply(hosts=[host], backends=[on(v1, 100), on(v2, 0)], connectionPool={"keepAlive": "30s"})
    serving(gateway, host)

    def probed() -> bool:
        gateway.get(host)
        [address] = v1.addresses()
        sockets = subprocess.run(["ss", "-tnoH", "dst", address], check=True, capture_output=True, text=True).stdout
        return "timer:(keepalive," in sockets

    eventually(probed, "a connection to the replica is probed")
    pings = cluster_of(stack, v2)["typed_extension_protocol_options"]
    assert "'connection_keepalive': {'interval': '30s', 'timeout': '5s'" in str(pings)
