"""Rate limits of gateways: whom they hold for, whom they do not reach, and what the status tells of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.resilience.conftest import (
    GATEWAY_SERVICE,
    Apply,
    Deploy,
    extended,
    on,
    serving,
)
from tests.stack.backend import Backend
from tests.stack.cluster import Cluster, Manifest
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually


def test_limits_hold_for_the_whole_policy(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """All routes of a policy share one bucket; over it comes 429 with Retry-After, and no model sees the request."""
    policy = apply(
        hosts=[host],
        backends=[on(model("v1"))],
        routes=[{"name": "beta", "matches": [{"headers": [{"name": "x-beta", "exact": "1"}]}], "backend": "v1"}],
        rateLimits=[{"name": "all", "requests": 2, "interval": "1m", "burst": 20}],
    )
    serving(gateway, host)
    eventually(lambda: gateway.get(host).status == 429 or None, "the limit is there")
    backend.reset()

    answers = [*gateway.send(host, 30).all, *gateway.send(host, 30, headers={"x-beta": "1"}).all]

    limited = [answer for answer in answers if answer.status == 429]
    assert len(limited) >= 58  # a token is filled in every half minute
    assert len(backend.seen()) == 60 - len(limited)
    assert all(0 < int(answer.headers["retry-after"]) <= 30 for answer in limited)
    assert {"rate_limited"} == {answer.body["error"]["type"] for answer in limited}
    [told] = policy["status"]["effective"]["rateLimits"]
    assert "all: 2 in 1m, up to 20 at once, at each port of each gateway proxy" == told


@pytest.fixture
def proxies(cluster: Cluster) -> Iterator[Callable[[int], None]]:
    """Say how many ready proxies the gateways' Service has; one more is not ready, one is another Service's."""
    place = {"namespace": "istio-system", "name": GATEWAY_SERVICE}

    def endpoints(name: str, service: str, ready: int) -> Manifest:
        labels = {"labels": {"kubernetes.io/service-name": service}}
        addresses = [
            {"addresses": [f"192.0.2.{number}"], "conditions": {"ready": number <= ready}}
            for number in range(1, ready + 2)
        ]
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": place | {"name": name} | labels,
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 80}],
            "endpoints": addresses,
        }

    def count(ready: int) -> None:
        cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": place,
                "spec": {"ports": [{"name": "http", "port": 80}]},
            },
            endpoints(GATEWAY_SERVICE, GATEWAY_SERVICE, ready),
            endpoints(f"{GATEWAY_SERVICE}-others", "others", ready + 5),
        )

    yield count
    cluster.delete("Service", GATEWAY_SERVICE, "istio-system")
    for name in (GATEWAY_SERVICE, f"{GATEWAY_SERVICE}-others"):
        cluster.delete("EndpointSlice", name, "istio-system")


def test_the_total_over_all_proxies_is_told(
    apply: Apply, cluster: Cluster, proxies: Callable[[int], None], model: Deploy, host: str, namespace: str
) -> None:
    """The status has each limit times the number of ready proxies, and follows it."""
    proxies(2)
    apply(hosts=[host], backends=[on(model("v1"))], rateLimits=[{"name": "all", "requests": 20, "burst": 20}])

    def told() -> str:
        [limit] = cluster.get("AIGatewayPolicy", "chat", namespace)["status"]["effective"]["rateLimits"]
        return str(limit)

    each = "all: 20 in 1s, up to 20 at once, at each port of each gateway proxy"
    eventually(lambda: told() == f"{each}; 40 in all at a port with 2 proxies", "the total of two is told")
    proxies(3)
    eventually(lambda: told() == f"{each}; 60 in all at a port with 3 proxies", "the total of three is told")


def test_each_key_has_a_limit_of_its_own(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """One client's flood takes nothing from another; a request without the key counts for the whole policy only."""
    apply(
        hosts=[host],
        backends=[on(model("v1"))],
        rateLimits=[
            {"name": "all", "requests": 1000, "burst": 1000},
            {"name": "client", "requests": 2, "interval": "1m", "burst": 10, "keyHeader": "X-Api-Key"},
        ],
    )
    serving(gateway, host)
    eventually(lambda: gateway.send(host, 15, headers={"x-api-key": "probe"}).statuses.get(429), "the limit is there")
    backend.reset()

    flood = gateway.send(host, 50, headers={"x-api-key": "a"})
    other = gateway.send(host, 10, headers={"x-api-key": "b"})
    without = gateway.send(host, 50)

    assert {200: 10, 429: 40} == flood.statuses
    assert {200: 10} == other.statuses
    assert {200: 50} == without.statuses


def test_keys_that_are_too_long_are_refused(
    stack: Stack, apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str, namespace: str
) -> None:
    """The proxy keeps what it counts by, so that nobody may make it keep much."""
    apply(
        hosts=[host],
        backends=[on(model("v1"))],
        rateLimits=[{"name": "client", "requests": 100, "keyHeader": "X-Api-Key"}],
    )
    serving(gateway, host)
    eventually(lambda: extended(stack, f"{namespace}/chat"), "the keys are looked at")
    backend.reset()

    long, short = (gateway.send(host, 5, headers={"x-api-key": "k" * size}) for size in (257, 256))

    assert ({400: 5}, {200: 5}) == (long.statuses, short.statuses)
    assert ("invalid_request", "x-api-key") == tuple(long.all[0].body["error"][name] for name in ("type", "field"))
    assert 5 == len(backend.seen())


def test_limits_reach_no_route_of_others(
    stack: Stack, apply: Apply, gateway: Traffic, model: Deploy, host: str, namespace: str
) -> None:
    """A policy that limits the same host at a gateway of its own takes nothing from those who serve it elsewhere."""
    v1, v2 = model("v1"), model("v2")
    apply(hosts=[host], backends=[on(v1)])
    serving(gateway, host)
    apply(
        "greedy",
        hosts=[host],
        gateways=[f"{namespace}/own"],
        backends=[on(v2)],
        rateLimits=[{"name": "all", "requests": 1, "interval": "1m"}],
    )
    limited = f'"value": "{namespace}/greedy"'
    dump = "/config_dump?resource=dynamic_route_configs"
    eventually(lambda: limited in stack.gateway.admin(dump), "Envoy has the other's limit on the host")

    assert {200: 50} == gateway.send(host, 50).statuses
