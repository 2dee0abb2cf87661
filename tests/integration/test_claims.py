"""Several policies, and objects of others, that want the same: one holds it, the others say who."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.integration.operator_process import OperatorProcess, install
from tests.stack.cluster import Cluster, Manifest
from tests.stack.models import Model
from tests.stack.services import namespace_manifest
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually

GATEWAY = "istio-system/ai-gateway"
FOREIGN = "test-claims-foreign"


@pytest.fixture(scope="module")
def operator(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """Run the operator with grants: tests' namespaces may use the shared gateway, but not for reserved hosts."""
    grants = tmp_path_factory.mktemp("grants") / "grants.yaml"
    grants.write_text(yaml.safe_dump([{"gateway": GATEWAY, "hosts": ["*.example.com"], "namespaces": ["test-*"]}]))
    settings = {"default-gateway": GATEWAY, "gateway-grants": str(grants)}
    with OperatorProcess(install(stack.cluster), stack.folder / "logs" / "operator-claims.log", settings) as running:
        yield running


@pytest.fixture
def policies(operator: OperatorProcess, cluster: Cluster, namespace: str) -> Policies:  # noqa: ARG001 (it has to run)
    """Give short ways to write policies in this test's namespace."""
    return Policies(cluster, namespace)


class Policies:
    """Policies of one namespace, and what their status says."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def apply(self, name: str, service: str, **spec: Any) -> None:
        """Create or change a policy with one backend."""
        body = {
            "apiVersion": "aigateway.dev/v1alpha1",
            "kind": "AIGatewayPolicy",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"backends": [{"name": "only", "service": {"name": service}}], **spec},
        }
        self.cluster.apply(body)

    @staticmethod
    def later() -> None:
        """Wait until what is created next is younger: creation times are in whole seconds."""
        time.sleep(1.1)

    def conditions(self, name: str) -> dict[str, tuple[str, str, str]]:
        """Return status, reason and message by condition type, once they are about the newest generation."""
        policy = self.cluster.get("AIGatewayPolicy", name, self.namespace)
        status = policy.get("status", {})
        assert policy["metadata"]["generation"] == status.get("observedGeneration")
        return {c["type"]: (c["status"], c["reason"], c["message"]) for c in status["conditions"]}

    def becomes(self, name: str, reason: str, kind: str = "Ready") -> str:
        """Wait until a condition has a reason; return its message."""
        return eventually(lambda: self._message(name, reason, kind), f"{name}: {kind} is {reason}")

    def _message(self, name: str, reason: str, kind: str) -> str:
        status, found, message = self.conditions(name)[kind]
        assert reason == found, (status, found, message)
        return message or reason


def virtual_service(name: str, namespace: str, host: str, destination: str) -> Manifest:
    """Return a VirtualService as somebody else would write it."""
    route = {"route": [{"destination": {"host": destination}}]}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"hosts": [host], "gateways": [GATEWAY], "http": [route]},
    }


def test_older_policy_keeps_the_host_and_the_younger_takes_over(
    policies: Policies, gateway: Traffic, model: Callable[..., Model], host: str
) -> None:
    """The second policy of a host says who has it, and serves it when that one goes."""
    first, second = model("first"), model("second")
    policies.apply("first", "first", hosts=[host])
    policies.becomes("first", "Ready")
    eventually(lambda: gateway.get(host).status == 200)

    policies.later()
    policies.apply("second", "second", hosts=[host])
    message = policies.becomes("second", "Conflicted")

    assert (
        f"host {host} on gateway {GATEWAY} is held by the older AIGatewayPolicy {policies.namespace}/first" == message
    )
    assert policies.cluster.find("VirtualService", "second-gateway", policies.namespace) is None
    assert 50 == gateway.send(host, 50).count(first.addresses())

    policies.cluster.delete("AIGatewayPolicy", "first", policies.namespace)
    policies.becomes("second", "Ready")
    eventually(lambda: gateway.send(host, 50).count(second.addresses()) == 50, "the second policy serves the host")


def test_policy_gives_a_host_up_without_a_gap(
    policies: Policies, gateway: Traffic, model: Callable[..., Model], host: str
) -> None:
    """An older policy that starts to claim a host takes it over; no request fails on the way."""
    older, younger = model("older"), model("younger")
    policies.apply("older", "older", hosts=[f"other-{host}"])
    policies.becomes("older", "Ready")
    policies.later()
    policies.apply("younger", "younger", hosts=[host])
    policies.becomes("younger", "Ready")
    eventually(lambda: gateway.get(host).status == 200)

    with gateway.steady(host, 100) as answers:
        eventually(lambda: len(answers) > 50)
        policies.apply("older", "older", hosts=[host])
        policies.becomes("younger", "Conflicted")
        eventually(lambda: answers[-1].address in older.addresses(), "the older policy serves the host")

    assert {200} == {answer.status for answer in answers}
    assert younger.addresses() >= {answers[0].address}


def test_hundred_policies_share_a_host_by_path(
    policies: Policies, gateway: Traffic, model: Callable[..., Model], host: str
) -> None:
    """Every policy of a host serves its own path, with its own header routes."""
    one, two = model("one"), model("two")
    for number in range(100):
        routes = [{"name": "pin", "matches": [{"headers": [{"name": "x-version", "exact": "two"}]}], "backend": "two"}]
        backends = [
            {"name": "one", "service": {"name": "one"}, "weight": 100},
            {"name": "two", "service": {"name": "two"}, "weight": 0},
        ]
        policies.apply(f"p{number}", "one", hosts=[host], pathPrefix=f"/p{number}", backends=backends, routes=routes)
    for number in range(100):
        policies.becomes(f"p{number}", "Ready")
    for number in (0, 1, 10, 57, 99):
        path = f"/p{number}/chat"
        eventually(lambda path=path: gateway.get(host, path=path).status == 200, f"{path} is served")  # type: ignore[misc]

        assert 10 == gateway.send(host, 10, path=path).count(one.addresses())
        assert 10 == gateway.send(host, 10, path=path, headers={"x-version": "two"}).count(two.addresses())


@pytest.mark.parametrize(
    ("spec", "claim"),
    [
        pytest.param({"pathPrefix": "/chat/v2"}, "path /chat/v2", id="nested-path"),
        pytest.param({}, "host", id="whole-host-over-a-path"),
    ],
)
def test_paths_within_paths_conflict(
    policies: Policies, model: Callable[..., Model], host: str, spec: dict[str, str], claim: str
) -> None:
    """A path within another policy's path is held by that policy, as is a whole host of which a path is taken."""
    model("llm")
    policies.apply("first", "llm", hosts=[host], pathPrefix="/chat")
    policies.becomes("first", "Ready")

    policies.later()
    policies.apply("second", "llm", hosts=[host], **spec)

    assert claim in policies.becomes("second", "Conflicted")


def test_virtual_service_of_somebody_else_is_not_touched(
    policies: Policies, cluster: Cluster, model: Callable[..., Model], host: str
) -> None:
    """A host that a hand-written VirtualService serves stays with it until that goes."""
    llm = model("llm")
    cluster.apply(namespace_manifest(FOREIGN), virtual_service("legacy", FOREIGN, host, llm.host))
    before = cluster.get("VirtualService", "legacy", FOREIGN)
    policies.later()

    policies.apply("chat", "llm", hosts=[host])

    assert f"VirtualService {FOREIGN}/legacy" in policies.becomes("chat", "Conflicted")
    assert before == cluster.get("VirtualService", "legacy", FOREIGN)
    cluster.delete("VirtualService", "legacy", FOREIGN)
    policies.becomes("chat", "Ready")


@pytest.mark.parametrize(
    ("rule_namespace", "rule_host"),
    [
        pytest.param("{namespace}", "llm", id="by-its-name"),
        pytest.param("istio-system", "*.{namespace}.svc.cluster.local", id="by-a-wildcard-in-the-root-namespace"),
    ],
)
def test_destination_rule_of_somebody_else_is_not_shadowed(
    policies: Policies, cluster: Cluster, model: Callable[..., Model], host: str, rule_namespace: str, rule_host: str
) -> None:
    """While somebody's rule covers the Service none of ours is written; routing goes on, and status says so."""
    model("llm")
    place = rule_namespace.format(namespace=policies.namespace)
    cluster.apply(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": "theirs", "namespace": place},
            "spec": {
                "host": rule_host.format(namespace=policies.namespace),
                "trafficPolicy": {"tls": {"mode": "DISABLE"}},
            },
        }
    )
    try:
        policies.apply("chat", "llm", hosts=[host], connectionPool={"maxOpen": 5})

        assert f"DestinationRule {place}/theirs" in policies.becomes("chat", "DestinationRuleConflict")
        assert cluster.find("DestinationRule", "chat-only", policies.namespace) is None
        assert cluster.find("VirtualService", "chat-gateway", policies.namespace)
    finally:
        cluster.delete("DestinationRule", "theirs", place)
    policies.becomes("chat", "Ready")
    assert cluster.find("DestinationRule", "chat-only", policies.namespace)


def test_host_that_is_not_granted_is_refused(policies: Policies, model: Callable[..., Model]) -> None:
    """A namespace serves only hosts that the administrator grants it on a shared gateway."""
    model("llm")

    policies.apply("chat", "llm", hosts=["login.example.org"])

    assert "may not serve login.example.org" in policies.becomes("chat", "NotGranted")
