"""One operator that may write EnvoyFilters, and short ways to apply a policy and to look at what backends saw.

In: policies as users write them.  Asserted: what requests do.  Nothing is replaced by a stand-in but the model itself,
which is the stack's backend.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.data_plane.conftest import Apply, applying, on
from tests.integration.operator_process import OperatorProcess, allow_envoy_filters, install
from tests.stack.backend import Backend
from tests.stack.cluster import Cluster, Manifest
from tests.stack.models import Model
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually

Deploy = Callable[..., Model]

__all__ = ["Apply", "Deploy", "cluster_of", "executions", "extended", "lines_of", "on", "route_of", "serving"]


GATEWAY_SERVICE = "test-gateways"
"""In istio-system; whoever needs proxies to be counted makes it."""


@pytest.fixture(scope="package")
def operator(stack: Stack) -> Iterator[OperatorProcess]:
    """Run the operator with leave to write EnvoyFilters where the stack's gateway runs."""
    kubeconfig = install(stack.cluster)
    allow_envoy_filters(stack.cluster)
    log = stack.folder / "logs" / "operator-resilience.log"
    settings = {
        "default-gateway": "istio-system/ai-gateway",
        "allow-envoy-filter": "istio-system",
        "gateway-service": f"istio-system/{GATEWAY_SERVICE}",
    }
    with OperatorProcess(kubeconfig, log, settings) as running:
        yield running


@pytest.fixture
def apply(operator: OperatorProcess, cluster: Cluster, namespace: str) -> Apply:  # noqa: ARG001 (it has to run)
    """Apply a policy's spec under a name and wait until it is in effect."""
    return applying(cluster, namespace)


def executions(backend: Backend) -> Counter[str]:
    """Return how often each request arrived at the backends."""
    return Counter(attempt.request_id for attempt in backend.seen())


def serving(gateway: Traffic, host: str, **request: str) -> None:
    """Wait until Envoy has a route for the host."""
    eventually(lambda: gateway.get(host, **request).status == 200, f"{host} is served")


def route_of(stack: Stack, name: str) -> Manifest:
    """Return one of the gateway's routes by its name, as Envoy has it."""
    found = list(_routes(stack.gateway.config("dynamic_route_configs"), name))
    assert found, f"no route {name}"
    return found[0]


def _routes(value: Any, name: str) -> Iterator[Manifest]:
    if isinstance(value, dict):
        if value.get("name") == name and "route" in value:
            yield value
        for member in value.values():
            yield from _routes(member, name)
    elif isinstance(value, list):
        for item in value:
            yield from _routes(item, name)


def cluster_of(stack: Stack, model: Model) -> Manifest:
    """Return the gateway's cluster for a model's Service, as Envoy has it."""
    entries = stack.gateway.config("dynamic_active_clusters")["configs"]
    [found] = [e["cluster"] for e in entries if e["cluster"]["name"] == f"outbound|80||{model.host}"]
    cluster: Manifest = found
    return cluster


def lines_of(stack: Stack, policy: str) -> list[Manifest]:
    """Return the JSON lines in the gateway's log that are about a policy, oldest first."""
    text = (stack.folder / "logs" / "gateway.log").read_text(errors="replace")
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("policy") == policy]


def extended(stack: Stack, name: str) -> bool:
    """Return whether a route of the gateway carries what the filters act on."""
    return "metadata" in route_of(stack, name) and "aigateway.dev" in str(route_of(stack, name)["metadata"])
