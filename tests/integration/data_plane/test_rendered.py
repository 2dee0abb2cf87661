"""Whatever is rendered is accepted: by the API server, by the webhooks of Istio and KEDA, and by Envoy."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from aigateway.api.resolved import ResolvedPolicy
from aigateway.cli.assumed import assume
from aigateway.core.reconcile import decide, render
from tests.integration.operator_process import allow_envoy_filters
from tests.resolved import ADMINISTRATOR, resolved
from tests.stack.cluster import Cluster, Manifest
from tests.stack.envoy import Envoy
from tests.stack.stack import Stack
from tests.stack.waiting import eventually
from tests.strategies import policies

FILTERING = dataclasses.replace(ADMINISTRATOR, envoy_filter_namespaces=("istio-system",))
POLICIES = 240
BATCH = 40
"""How many policies Envoy has at a time; each batch is there before the next replaces it."""


def generated(namespace: str) -> list[ResolvedPolicy]:
    """Return many different valid policies, the same ones in every run, under names of their own."""
    found: list[ResolvedPolicy] = []

    @settings(
        max_examples=POLICIES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(policies())
    def collect(raw: dict[str, Any]) -> None:
        policy = resolved(raw)
        key = dataclasses.replace(policy.key, namespace=namespace, name=f"p{len(found)}")
        gateways = ("istio-system/ai-gateway",) if policy.hosts else ()
        found.append(dataclasses.replace(policy, key=key, gateways=gateways, uid=f"uid-{len(found)}"))

    collect()
    return found


def objects(policy: ResolvedPolicy) -> tuple[Manifest, ...]:
    """Return what the policy becomes, without its owner: there is none in the cluster."""
    decision = decide(policy, assume(policy), FILTERING, 0.0)
    bodies = render(decision.policy or policy, decision, FILTERING)
    return tuple({**body, "metadata": {**_metadata(body), "ownerReferences": []}} for body in bodies)


def _metadata(body: Any) -> Manifest:
    metadata: Manifest = body["metadata"]
    return metadata


@pytest.fixture(scope="module")
def sample() -> list[ResolvedPolicy]:
    """Generate once for both tests; the namespace is filled in later."""
    return generated("unset")


def moved(sample: list[ResolvedPolicy], namespace: str) -> Iterator[ResolvedPolicy]:
    """Put the policies into a namespace."""
    for policy in sample:
        yield dataclasses.replace(policy, key=dataclasses.replace(policy.key, namespace=namespace))


def test_webhooks_accept_everything_rendered(cluster: Cluster, namespace: str, sample: list[ResolvedPolicy]) -> None:
    """Schemas, CEL rules and both validating webhooks accept every object of every policy."""
    bodies = [body for policy in moved(sample, namespace) for body in objects(policy)]

    cluster.apply(*bodies, dry_run=True)

    kinds = {"DestinationRule", "EnvoyFilter", "ScaledObject", "VirtualService"}
    assert kinds == {body["kind"] for body in bodies}
    assert len(sample) >= POLICIES * 0.9


def test_envoy_takes_every_route_that_is_rendered(
    stack: Stack, cluster: Cluster, namespace: str, sample: list[ResolvedPolicy]
) -> None:
    """Gateway and sidecar take every generated configuration; neither refuses an update."""
    allow_envoy_filters(cluster)
    with stack.sidecar(namespace) as sidecar:
        for batch in _batches(list(moved(sample, namespace))):
            bodies = [body for policy in batch for body in objects(policy) if body["kind"] != "ScaledObject"]
            cluster.apply(*bodies)
            _wait_for_routes(stack.gateway, {f"{namespace}/{p.key.name}" for p in batch if p.hosts})
            for body in bodies:
                cluster.delete(body["kind"], body["metadata"]["name"], body["metadata"]["namespace"])

        assert {} == sidecar.rejected_updates()
    assert {} == stack.gateway.rejected_updates()


def _batches(sample: list[ResolvedPolicy]) -> Iterator[list[ResolvedPolicy]]:
    """Yield batches in which every policy has a host of its own, so that no route hides another's."""
    numbered = itertools.count()
    own = [dataclasses.replace(p, hosts=(f"h{next(numbered)}.example.com",) if p.hosts else ()) for p in sample]
    for start in range(0, len(own), BATCH):
        yield own[start : start + BATCH]


def _wait_for_routes(proxy: Envoy, names: set[str]) -> None:
    """Wait until the proxy has a route of every policy."""

    def there() -> bool:
        text = proxy.admin("/config_dump?resource=dynamic_route_configs")
        return all(f'"{name}"' in text or f'"{name}#idempotent"' in text for name in names)

    eventually(there, f"{proxy.name} has all {len(names)} routes", within=60)
