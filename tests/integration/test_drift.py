"""Someone changes what the operator wrote: once, again and again, or beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.integration.operator_process import Audit, OperatorProcess, install, quiet
from tests.stack.cluster import Cluster, Manifest
from tests.stack.models import Model
from tests.stack.stack import Stack
from tests.stack.waiting import eventually

CONTENDED_SECONDS = 15
"""Far more than the operator needs to undo an edit; within the minute for which its repairs are bounded."""


@pytest.fixture(scope="module")
def operator(stack: Stack) -> Iterator[OperatorProcess]:
    """Run the operator."""
    settings = {"default-gateway": "istio-system/ai-gateway"}
    with OperatorProcess(install(stack.cluster), stack.folder / "logs" / "operator-drift.log", settings) as running:
        yield running


@pytest.fixture
def route(operator: OperatorProcess, cluster: Cluster, model: Callable[..., Model], namespace: str, host: str) -> Route:  # noqa: ARG001 (it has to run)
    """Apply a policy and give its VirtualService."""
    model("llm")
    cluster.apply(
        {
            "apiVersion": "aigateway.dev/v1alpha1",
            "kind": "AIGatewayPolicy",
            "metadata": {"name": "chat", "namespace": namespace},
            "spec": {"hosts": [host], "backends": [{"name": "v1", "service": {"name": "llm"}}]},
        }
    )
    found = Route(cluster, namespace)
    eventually(lambda: found.programmed() == "Programmed", "the policy is in effect")
    return found


class Route:
    """The VirtualService of a policy, and what the policy says of it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def read(self) -> Manifest:
        """Return the VirtualService."""
        return self.cluster.get("VirtualService", "chat-gateway", self.namespace)

    def edit(self, timeout: str) -> None:
        """Change it by hand."""
        spec = self.read()["spec"]
        spec["http"][0]["timeout"] = timeout
        self.cluster.patch("VirtualService", "chat-gateway", self.namespace, {"spec": spec})

    def edited(self) -> bool:
        """Whether an edit stands."""
        return "timeout" in self.read()["spec"]["http"][0]

    def programmed(self) -> str:
        """Return the reason of the policy's Programmed condition."""
        status = self.cluster.get("AIGatewayPolicy", "chat", self.namespace)["status"]
        return next(str(c["reason"]) for c in status["conditions"] if c["type"] == "Programmed")


def test_someone_who_keeps_changing_a_route_is_named_and_not_fought(stack: Stack, route: Route) -> None:
    """Against a writer that never stops the operator writes a few times a minute, says so, and wins when it stops."""
    audit = Audit.begin(stack.audit_log)
    end = time.monotonic() + CONTENDED_SECONDS
    number = 0
    while time.monotonic() < end:
        number += 1
        route.edit(f"{number}s")
        time.sleep(0.2)

    eventually(lambda: route.programmed() == "DriftContested", "the policy says that it is contested")
    writes = [w for w in audit.writes() if (w.resource, w.namespace) == ("virtualservices", route.namespace)]
    assert 1 <= len(writes) <= 3
    assert number > 3 * len(writes)

    eventually(lambda: not route.edited(), "the edit is undone once the writer has stopped", within=90)
    eventually(lambda: route.programmed() == "Programmed", "the policy is in effect again")


def test_annotations_of_others_stay_through_repairs_and_changes(stack: Stack, route: Route) -> None:
    """What people and GitOps tools write beside our fields is kept, and is no reason to write."""
    audit = Audit.begin(stack.audit_log)
    annotations = {"argocd.argoproj.io/tracking-id": "x", "team": "search"}
    metadata = {"metadata": {"annotations": annotations, "labels": {"owner": "search"}}}
    route.cluster.patch("VirtualService", "chat-gateway", route.namespace, metadata)
    quiet(audit)
    assert [] == [write for write in audit.writes() if write.namespace == route.namespace]

    route.edit("7s")
    eventually(lambda: not route.edited(), "the edit is undone")

    found = route.read()["metadata"]
    assert annotations.items() <= found["annotations"].items()
    assert "search" == found["labels"]["owner"]
