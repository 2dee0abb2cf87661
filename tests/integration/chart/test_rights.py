"""Least privilege, both ways: the operator is denied nothing, and what its roles grant is what it does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.integration.chart.conftest import RELEASE, VALUES, Helm, Installed
from tests.integration.data_plane.test_routing import assert_share
from tests.integration.operator_process import NAMESPACE, Audit
from tests.integration.test_operator import policy, wait_ready
from tests.stack.cluster import Cluster, Manifest
from tests.stack.models import Model
from tests.stack.runner import Runner
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually

pytestmark = pytest.mark.usefixtures("pristine")

Deploy = Callable[..., Model]
Right = tuple[str, str]
"""A verb and a resource, as ``("patch", "aigatewaypolicies/status")``."""

GATEWAYS = "istio-system"
NEVER_LOGGED: dict[Right, str] = {
    ("create", kind): "a server-side apply of an object that is not there needs it, and is logged as patch"
    for kind in ("virtualservices", "destinationrules", "scaledobjects", "envoyfilters")
}
"""What is granted and stands in no audit log, each with its reason; another test shows that it is needed."""


def granted(helm: Helm, values: Manifest) -> set[Right]:
    """Return every right in the roles of the chart that are bound to the operator."""
    documents = helm.render(values)
    bound = {item["roleRef"]["name"] for item in documents if item["kind"] in ("RoleBinding", "ClusterRoleBinding")}
    roles = [
        item for item in documents if item["kind"] in ("Role", "ClusterRole") and item["metadata"]["name"] in bound
    ]
    return {
        (verb, resource)
        for role in roles
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def whole_life(cluster: Cluster, namespace: str) -> None:
    """Have the operator make, change and remove every kind of object that it generates."""
    full: dict[str, Any] = {
        "service": {"name": "llm", "port": 80},
        "connectionPool": {"connectTimeout": "1s"},
        "autoscaling": {"maxReplicas": 3, "rules": [{"type": "CPU", "cpu": {"utilizationPercent": 70}}]},
    }
    cluster.apply(policy(namespace, **full))
    wait_ready(cluster, namespace)
    cluster.patch("AIGatewayPolicy", "llm", namespace, {"spec": dict.fromkeys(full)})
    wait_ready(cluster, namespace)
    gone = ("DestinationRule", "ScaledObject")
    eventually(lambda: not [item for kind in gone for item in cluster.items(kind, namespace)], "they are gone")
    eventually(lambda: not cluster.find("VirtualService", "llm-mesh", namespace), "the in-mesh route is gone")
    cluster.patch("AIGatewayPolicy", "llm", namespace, {"spec": {"errorFormat": "Text"}})
    wait_ready(cluster, namespace)
    eventually(lambda: not filters(cluster, namespace), "the EnvoyFilter is gone, where there was one")


def filters(cluster: Cluster, namespace: str) -> list[Manifest]:
    """Return what policies of a namespace have where the gateways run."""
    return cluster.items("EnvoyFilter", GATEWAYS, f"aigateway.dev/policy-namespace={namespace}")


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="defaults"),
        pytest.param({"envoyFilter": {"namespaces": [GATEWAYS]}}, id="envoy-filters-allowed"),
    ],
)
def test_the_operator_does_its_job_with_exactly_the_rights_of_the_chart(
    stack: Stack,
    helm: Helm,
    cluster: Cluster,
    installed: Installed,
    runner: Runner,
    namespace: str,
    model: Deploy,
    gateway: Traffic,
    more: Manifest,
) -> None:
    """Under the chart's own account traffic is split as written, no request is denied, no right is unused."""
    audit = Audit.begin(stack.audit_log)
    pod = installed(VALUES | more)
    model("llm-v1")
    v2 = model("llm-v2")
    model("llm")
    cluster.apply(policy(namespace))
    wait_ready(cluster, namespace)
    host = f"{namespace}.example.com"
    eventually(lambda: gateway.get(host).status == 200, "the host is served")

    answers = gateway.send(host, 2000)
    assert bool(more) == bool(filters(cluster, namespace))
    whole_life(cluster, namespace)
    # A watch is logged when it ends, and the lead is handed over at the end: the process has to end first.
    cluster.patch("Deployment", RELEASE, NAMESPACE, {"spec": {"replicas": 0}})
    assert 0 == eventually(runner.processes[pod["metadata"]["name"]].poll, "the operator ends")
    requests = list(audit.finished())

    assert {200: 2000} == answers.statuses
    assert_share(20, answers.count(v2.addresses()), 2000)
    assert [] == [request for request in requests if request.code in (401, 403)]
    used = {(request.verb, request.resource) for request in requests if request.resource}
    rights = granted(helm, more)
    assert rights == used | (set(NEVER_LOGGED) & rights)
    assert set() == used & set(NEVER_LOGGED)


def test_an_apply_needs_the_right_to_create(cluster: Cluster, namespace: str) -> None:
    """The one right that no log shows: without `create`, a server-side apply of a new object is denied."""
    me = f"--as=system:serviceaccount:{namespace}:somebody"
    body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\n"
    words = ("apply", "--server-side", "-n", namespace, "-f", "-", me)

    grant(cluster, namespace, ["get", "patch"])
    eventually(
        lambda: cluster.kubectl("get", "configmap", "new", "-n", namespace, me, check=False).stderr.count("NotFound")
    )
    denied = cluster.kubectl(*words, stdin=body, check=False)
    grant(cluster, namespace, ["get", "patch", "create"])

    assert "cannot create resource" in denied.stderr
    eventually(lambda: cluster.kubectl(*words, stdin=body, check=False).returncode == 0, "it is allowed with create")


def grant(cluster: Cluster, namespace: str, verbs: list[str]) -> None:
    """Give the account `somebody` these rights on ConfigMaps of its namespace."""
    group = "rbac.authorization.k8s.io"
    metadata = {"name": "somebody", "namespace": namespace}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]
    binding: Manifest = {
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "somebody"},
        "subjects": [{"kind": "ServiceAccount", **metadata}],
    }
    cluster.apply(
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": metadata, **binding},
    )


def test_the_clusters_own_roles_learn_of_policies(helm: Helm, cluster: Cluster, namespace: str) -> None:
    """Whoever may view, edit or administer a namespace may do so with its policies, but never set their status."""
    helm.install()
    for role in ("view", "edit", "admin"):
        binding = ("create", "rolebinding", role, "-n", namespace, f"--clusterrole={role}", f"--user=one-to-{role}")
        cluster.kubectl(*binding)

    def may(role: str, verb: str, *more: str) -> bool:
        words = ("auth", "can-i", verb, "aigatewaypolicies", *more, "-n", namespace, f"--as=one-to-{role}")
        return cluster.kubectl(*words, check=False).stdout.strip() == "yes"

    for role, writes in {"view": False, "edit": True, "admin": True}.items():
        eventually(partial(may, role, "get"), f"{role} has taken over the chart's rules")
        assert [True] + 3 * [writes] == [may(role, verb) for verb in ("list", "create", "patch", "delete")]
        assert not may(role, "patch", "--subresource=status")


def test_nothing_of_the_chart_runs_with_more_than_restricted_rights(helm: Helm) -> None:
    """Every container, the test's too, has a read-only root, no capability and no way to get more."""
    pods = [
        item["spec"] if item["kind"] == "Pod" else item["spec"]["template"]["spec"]
        for item in helm.render({})
        if item["kind"] in ("Pod", "Deployment")
    ]

    assert 2 == len(pods)
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert {"type": "RuntimeDefault"} == pod["securityContext"]["seccompProfile"]
        for container in pod["containers"]:
            wanted = {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert wanted == container["securityContext"]
            assert {"requests", "limits"} == set(container["resources"])
