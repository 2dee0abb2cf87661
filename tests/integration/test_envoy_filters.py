"""EnvoyFilters in the gateways' namespace: written, repaired and removed by the operator, and never without leave.

In: policies with a field that needs one.  Asserted: what is in the apiserver and its audit log.  What the patches
do to requests is tested in :mod:`tests.integration.resilience`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aigateway.core.gateway.gateway_filter import NAME as FILTER
from tests.integration.operator_process import Audit, OperatorProcess, allow_envoy_filters, install, quiet
from tests.integration.test_operator import condition, one_backend, policy, wait_ready
from tests.stack.cluster import Cluster, Manifest
from tests.stack.istio import NAMESPACE as GATEWAYS
from tests.stack.models import Model
from tests.stack.stack import Stack
from tests.stack.waiting import eventually

AT_REST_SECONDS = 10
Deploy = Callable[..., Model]


@pytest.fixture(scope="module")
def kubeconfig(stack: Stack) -> Path:
    """Install what the operator stands on, with leave to write EnvoyFilters, and return its own access."""
    access = install(stack.cluster)
    allow_envoy_filters(stack.cluster)
    return access


@pytest.fixture
def operator(stack: Stack, cluster: Cluster, kubeconfig: Path, namespace: str) -> Iterator[OperatorProcess]:
    """Run the operator for this test's namespace; at its end nothing is left in the gateways'."""
    settings = {
        "namespaces": namespace,
        "default-gateway": "istio-system/ai-gateway",
        "allow-envoy-filter": GATEWAYS,
    }
    process = OperatorProcess(kubeconfig, stack.processes.logs / f"operator-{namespace}.log", settings)
    with process:
        yield process
        cluster.kubectl("delete", "aigatewaypolicies", "-n", namespace, "--all")
        eventually(lambda: not filters(cluster, namespace), "nothing is left where the gateways run")
    assert "Traceback" not in process.log.read_text()


def filters(cluster: Cluster, namespace: str) -> list[Manifest]:
    """Return what policies of a namespace have where the gateways run."""
    return cluster.items("EnvoyFilter", GATEWAYS, f"aigateway.dev/policy-namespace={namespace}")


def asking(namespace: str, **spec: Any) -> Manifest:
    """Return a policy with one field that needs an EnvoyFilter, but no gateway filter."""
    alone = {"backends": one_backend(), "timeouts": {"idle": "1m"}, "errorFormat": "Text"}
    return policy(namespace, **(alone | spec))


@pytest.fixture
def applied(operator: OperatorProcess, cluster: Cluster, namespace: str, model: Deploy) -> Manifest:  # noqa: ARG001 (it has to run)
    """Apply such a policy and return its EnvoyFilter."""
    model("llm-v1")
    cluster.apply(asking(namespace))
    wait_ready(cluster, namespace)
    [found] = filters(cluster, namespace)
    return found


def version(body: Manifest) -> str:
    """Return an object's resource version."""
    return str(body["metadata"]["resourceVersion"])


def test_it_is_written_where_the_gateways_run(cluster: Cluster, namespace: str, applied: Manifest) -> None:
    """It says whose it is by labels, has no owner reference, and stands in status with its namespace."""
    uid = cluster.get("AIGatewayPolicy", "llm", namespace)["metadata"]["uid"]
    metadata = applied["metadata"]
    children = cluster.get("AIGatewayPolicy", "llm", namespace)["status"]["children"]

    assert f"{namespace}.llm" == metadata["name"]
    assert "ownerReferences" not in metadata
    assert ("llm", namespace, uid) == tuple(
        metadata["labels"][f"aigateway.dev/{label}"] for label in ("policy", "policy-namespace", "policy-uid")
    )
    assert {"kind": "EnvoyFilter", "name": metadata["name"], "namespace": GATEWAYS} in children


@pytest.mark.parametrize("how", ["edited", "deleted", "unlabelled"])
def test_it_is_put_back(cluster: Cluster, namespace: str, applied: Manifest, how: str) -> None:
    """Whatever someone does to it is undone, and an event says so."""
    name = applied["metadata"]["name"]
    if how == "edited":
        cluster.patch("EnvoyFilter", name, GATEWAYS, {"spec": {"configPatches": []}})
    elif how == "unlabelled":
        cluster.patch("EnvoyFilter", name, GATEWAYS, {"metadata": {"labels": {"aigateway.dev/part": None}}})
    else:
        cluster.delete("EnvoyFilter", name, GATEWAYS)

    def shown() -> list[Any]:
        return [(found["spec"], found["metadata"]["labels"]) for found in filters(cluster, namespace)]

    eventually(lambda: [(applied["spec"], applied["metadata"]["labels"])] == shown(), "it is as it was")
    eventually(
        lambda: any(
            event["reason"] == "DriftRepaired" and f"EnvoyFilter {GATEWAYS}/{name}" in event["message"]
            for event in cluster.events(namespace, "llm")
        ),
        "an event says so",
    )


@pytest.mark.usefixtures("applied")
def test_it_goes_when_nothing_needs_it(cluster: Cluster, namespace: str) -> None:
    """A policy that no longer has such a field keeps its route and loses the EnvoyFilter."""
    cluster.patch("AIGatewayPolicy", "llm", namespace, {"spec": {"timeouts": None}})

    eventually(lambda: not filters(cluster, namespace), "it is gone")
    wait_ready(cluster, namespace)
    assert cluster.find("VirtualService", "llm-gateway", namespace)


@pytest.mark.usefixtures("applied")
def test_it_stays_with_a_policy_that_is_suspended_or_invalid(cluster: Cluster, namespace: str) -> None:
    """As the routes do: the change asks for it to go, and nothing is touched."""
    before = version(filters(cluster, namespace)[0])
    cluster.patch("AIGatewayPolicy", "llm", namespace, {"spec": {"timeouts": None, "suspend": True}})

    eventually(lambda: condition(cluster, namespace, "Ready")[1] == "Suspended", "it is suspended")
    assert before == version(filters(cluster, namespace)[0])


@pytest.mark.usefixtures("applied")
def test_it_goes_with_the_policy(cluster: Cluster, namespace: str) -> None:
    """No garbage collector reaches into another namespace; the operator does."""
    cluster.delete("AIGatewayPolicy", "llm", namespace)

    eventually(lambda: not filters(cluster, namespace), "it is gone")


@pytest.mark.usefixtures("applied")
def test_it_goes_when_the_policy_went_while_the_operator_was_down(
    operator: OperatorProcess, cluster: Cluster, namespace: str
) -> None:
    """Whoever starts looks for what is left behind."""
    operator.stop()
    cluster.delete("AIGatewayPolicy", "llm", namespace)
    eventually(lambda: cluster.find("AIGatewayPolicy", "llm", namespace) is None, "the policy is gone")
    assert filters(cluster, namespace)

    operator.start()

    eventually(lambda: not filters(cluster, namespace), "it is gone")


def test_a_policy_of_the_same_name_gets_its_own(
    operator: OperatorProcess, cluster: Cluster, namespace: str, applied: Manifest
) -> None:
    """What an earlier policy has left is no obstacle: it is removed, and written anew for the other uid."""
    operator.stop()
    cluster.delete("AIGatewayPolicy", "llm", namespace)
    eventually(lambda: cluster.find("VirtualService", "llm-gateway", namespace) is None, "the route is gone")
    cluster.apply(asking(namespace))
    uid = cluster.get("AIGatewayPolicy", "llm", namespace)["metadata"]["uid"]

    operator.start()
    wait_ready(cluster, namespace)

    [found] = filters(cluster, namespace)
    assert uid == found["metadata"]["labels"]["aigateway.dev/policy-uid"]
    assert applied["metadata"]["uid"] != found["metadata"]["uid"]


@pytest.mark.usefixtures("applied")
def test_it_comes_to_rest(stack: Stack, operator: OperatorProcess) -> None:
    """At rest nothing is asked and nothing written; after a restart nothing is written either."""
    audit = Audit.begin(stack.audit_log)
    quiet(audit)
    audit = Audit.begin(stack.audit_log)
    time.sleep(AT_REST_SECONDS)
    assert [] == audit.requests()

    operator.restart()
    quiet(audit)
    assert [] == audit.writes()


def skipped(cluster: Cluster, namespace: str) -> dict[str, str]:
    """Return the reason of each field that has no effect."""
    status = cluster.get("AIGatewayPolicy", "llm", namespace)["status"]
    return {item["field"]: item["reason"] for item in status.get("skipped") or ()}


@pytest.mark.usefixtures("operator")
def test_without_the_gateway_filter(cluster: Cluster, namespace: str, model: Deploy) -> None:
    """Fields that need it have no effect, status says so, and that ends by itself once it is there."""
    model("llm-v1")
    cluster.apply(asking(namespace, timeouts={"idle": "1m", "deadlineHeader": "x-request-deadline"}))
    wait_ready(cluster, namespace)
    assert "timeouts.deadlineHeader" not in skipped(cluster, namespace)

    cluster.delete("EnvoyFilter", FILTER, GATEWAYS)
    try:
        eventually(lambda: skipped(cluster, namespace)["timeouts.deadlineHeader"] == "GatewayFilterMissing")
        assert "timeouts.idle" not in skipped(cluster, namespace), "this needs no gateway filter"
        assert "True" == condition(cluster, namespace, "Ready")[0]
    finally:
        allow_envoy_filters(cluster)

    eventually(lambda: "timeouts.deadlineHeader" not in skipped(cluster, namespace), "it is in effect again")


def test_without_leave_nothing_is_written_or_asked(
    stack: Stack, cluster: Cluster, kubeconfig: Path, namespace: str, model: Deploy
) -> None:
    """The operator does not touch what it was not allowed to, whatever rights it has, and status lists the field."""
    model("llm-v1")
    audit = Audit.begin(stack.audit_log)
    settings = {"namespaces": namespace, "default-gateway": "istio-system/ai-gateway"}
    with OperatorProcess(kubeconfig, stack.processes.logs / f"operator-{namespace}.log", settings):
        cluster.apply(asking(namespace))
        wait_ready(cluster, namespace)
        assert {"timeouts.idle": "EnvoyFilterNotAllowed"} == skipped(cluster, namespace)

    assert [] == filters(cluster, namespace)
    # A watch is logged when it ends, as the operator has.
    assert [] == [request for request in audit.finished() if "envoyfilters" in (request.resource + request.name)]
