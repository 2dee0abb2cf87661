"""The place where the figures are measured: a stack with the operator at work, and the sides that are compared there.

A side is a host that the gateway serves, either by a policy or by a hand-written route.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.resilience import routes
from tests.bench.resilience.load import Client
from tests.bench.resilience.sizes import Sizes
from tests.integration import operator_process
from tests.integration.operator_process import OperatorProcess
from tests.stack import models
from tests.stack.istio import NAMESPACE as GATEWAY_NAMESPACE
from tests.stack.models import Model
from tests.stack.services import namespace_manifest
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually

NAMESPACE = "bench-resilience"
_SETTLE_SECONDS = 2
"""From the first answer of a route to what else of it Envoy has to hear of."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison."""

    host: str
    addresses: frozenset[str]
    """Where its model answers."""
    skipped: tuple[str, ...] = ()
    """The fields of its policy that have no effect here."""


@dataclass(frozen=True)
class Place:
    """One stack for all figures of a run, made by :func:`prepared`."""

    stack: Stack
    sizes: Sizes

    def model(self, name: str, replicas: int = 1) -> Model:
        """Deploy a model, and wait until the gateway knows where it is."""
        deployed = models.deploy(self.stack.cluster, NAMESPACE, name, replicas=replicas)
        eventually(lambda: deployed.addresses() == self.stack.gateway.endpoints(deployed.host))
        return deployed

    def another_service(self, model: Model, name: str) -> None:
        """Give a model's pods a second Service, which shares no DestinationRule with the first."""
        manifest = models.service(NAMESPACE, name)
        manifest["spec"]["selector"] = {"app": model.name}
        self.stack.cluster.apply(manifest)
        host = f"{name}.{NAMESPACE}.svc.cluster.local"
        eventually(lambda: model.addresses() == self.stack.gateway.endpoints(host))

    def by_hand(self, name: str, model: Model, service: str = "", **fields: Any) -> Side:
        """Serve a model by a hand-written route; ``fields`` are the route's beside its destination."""
        host = f"{name}.example.com"
        self.stack.cluster.apply(routes.route(NAMESPACE, name, host, service or model.name, **fields))
        self._served(host)
        return Side(host, frozenset(model.addresses()))

    def by_policy(self, name: str, model: Model, spec: Mapping[str, Any]) -> Side:
        """Serve a model by a policy, and wait until the operator and Envoy have it."""
        host = f"{name}.example.com"
        self.stack.cluster.apply(routes.policy(NAMESPACE, name, host, model.name, dict(spec)))
        eventually(lambda: self._status(name).get("Programmed") == "True", f"policy {name} is in effect")
        self._served(host)
        policy = self.stack.cluster.get("AIGatewayPolicy", name, NAMESPACE)
        skipped = tuple(item["field"] for item in policy["status"].get("skipped", []))
        return Side(host, frozenset(model.addresses()), skipped)

    def client(self, side: Side, headers: Callable[[], Mapping[str, str]] = dict, patience: float = 30) -> Client:
        """Return a client of a side; ``headers`` makes those of each request."""
        return Client(self.stack.gateway.url, side.host, headers, patience)

    def _served(self, host: str) -> None:
        eventually(lambda: Traffic(self.stack.gateway.url).get(host).status == 200, f"{host} is served")
        time.sleep(_SETTLE_SECONDS)

    def _status(self, name: str) -> dict[str, str]:
        policy = self.stack.cluster.get("AIGatewayPolicy", name, NAMESPACE)
        return {item["type"]: item["status"] for item in policy.get("status", {}).get("conditions", [])}


@contextlib.contextmanager
def prepared(stack: Stack, sizes: Sizes) -> Iterator[Place]:
    """Run the operator, with leave to write EnvoyFilters, on a stack that has the parts cluster and routing."""
    kubeconfig = operator_process.install(stack.cluster)
    operator_process.allow_envoy_filters(stack.cluster)
    stack.cluster.apply(namespace_manifest(NAMESPACE))
    settings = {"default-gateway": routes.GATEWAY, "allow-envoy-filter": GATEWAY_NAMESPACE}
    try:
        with OperatorProcess(kubeconfig, stack.folder / "logs" / "operator-resilience-bench.log", settings):
            yield Place(stack, sizes)
    finally:
        stack.backend.reset()
        stack.cluster.delete("Namespace", NAMESPACE)
