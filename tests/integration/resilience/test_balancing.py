"""Which replica gets a request: affinity, and the other policies in Envoy's own words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.resilience.conftest import Apply, Deploy, cluster_of, on, serving
from tests.stack.backend import Backend
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually


@pytest.mark.parametrize(
    ("hashed", "of_session"),
    [
        pytest.param({"header": "X-Session"}, lambda s: {"headers": {"x-session": s}}, id="header"),
        pytest.param({"queryParameter": "session"}, lambda s: {"path": f"/chat?session={s}"}, id="query-parameter"),
    ],
)
def test_a_session_stays_on_its_replica(
    stack: Stack, apply: Apply, gateway: Traffic, model: Deploy, host: str, hashed: dict[str, str], of_session: Any
) -> None:
    """Each session's requests reach one replica, which holds its cache; sessions are spread over all replicas."""
    v1 = model("v1", replicas=4)
    apply(hosts=[host], backends=[on(v1)], loadBalancing={"consistentHash": hashed})
    serving(gateway, host)
    eventually(lambda: cluster_of(stack, v1)["lb_policy"] == "RING_HASH", "the hash is there")

    homes = {session: set(gateway.send(host, 20, **of_session(f"s{session}")).addresses) for session in range(20)}

    assert {1} == {len(home) for home in homes.values()}
    assert len(set.union(*homes.values())) >= 3


def test_a_retry_of_a_session_stays_on_its_replica(
    stack: Stack, apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """With one version the retry goes where the cache is; that is Istio's rule, which the reference page tells of."""
    v1 = model("v1", replicas=3)
    apply(
        hosts=[host],
        backends=[on(v1)],
        loadBalancing={"consistentHash": {"header": "x-session"}},
        retries={"attempts": 2, "statusCodes": [503], "backoff": {"initial": "1ms"}},
    )
    serving(gateway, host)
    eventually(lambda: cluster_of(stack, v1)["lb_policy"] == "RING_HASH", "the hash is there")
    backend.reset()
    backend.behave(status=503)

    gateway.send(host, 10, headers={"x-session": "a"})

    assert 30 == len(backend.seen())
    assert 1 == len({attempt.address for attempt in backend.seen()})


@pytest.mark.parametrize(
    ("balancing", "policy", "warm"),
    [
        pytest.param({"policy": "Random"}, "RANDOM", False, id="random"),
        pytest.param({"policy": "RoundRobin", "warmup": "2m"}, "ROUND_ROBIN", True, id="round-robin-warm-up"),
        pytest.param({"warmup": "2m"}, "LEAST_REQUEST", True, id="least-request-warm-up"),
    ],
)
def test_policies_and_warm_up_reach_envoy(
    stack: Stack,
    apply: Apply,
    gateway: Traffic,
    model: Deploy,
    host: str,
    balancing: dict[str, str],
    policy: str,
    warm: bool,
) -> None:
    """The gateway's cluster has the policy, and the time over which a new replica comes to its share."""
    v1 = model("v1")
    apply(hosts=[host], backends=[on(v1)], loadBalancing=balancing)
    serving(gateway, host)

    def there() -> bool:
        cluster = cluster_of(stack, v1)
        return cluster.get("lb_policy", "ROUND_ROBIN") == policy and ("'120s'" in str(cluster)) is warm

    eventually(there, f"{policy} is in effect")
