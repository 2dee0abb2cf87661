"""A release's life: installed, tested, upgraded, rolled back and uninstalled while policies are in effect."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.chart.conftest import CHART, RELEASE, VALUES, Helm, Installed, pods, probe, wait_leading
from tests.integration.operator_process import MANIFESTS, NAMESPACE, Audit
from tests.integration.test_operator import condition, policy, wait_ready, weights
from tests.stack.cluster import Cluster
from tests.stack.models import Model
from tests.stack.runner import Runner
from tests.stack.stack import Stack
from tests.stack.traffic import Answers, Traffic
from tests.stack.waiting import eventually

pytestmark = pytest.mark.usefixtures("pristine")

Deploy = Callable[..., Model]
NEW_PORTS = {**VALUES, "probes": {"port": 18181}, "metrics": {"port": 18191}}
"""Other ports than before: on the stack's one network, the new replica comes up while the old one still runs."""
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """Give a chart of an earlier version, whose definition does not know `spec.suspend` yet."""
    chart = tmp_path / "earlier"
    shutil.copytree(CHART, chart)
    metadata = chart / "Chart.yaml"
    metadata.write_text(re.sub(r"(?m)^(version|appVersion): .*$", r"\1: 0.0.1", metadata.read_text()))
    crd = chart / "templates" / "crd.yaml"
    without, removed = re.subn(r"(?m)^              suspend:\n(?:                .*\n)+", "", crd.read_text())
    assert 1 == removed
    crd.write_text(without)
    return chart


def knows_suspend(cluster: Cluster) -> bool:
    """Return whether the definition in the cluster has `spec.suspend`."""
    definition = cluster.get("CustomResourceDefinition", "aigatewaypolicies.aigateway.dev")
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return "suspend" in schema["properties"]["spec"]["properties"]


def test_the_installed_operator_answers_and_helm_test_says_so(
    helm: Helm, cluster: Cluster, installed: Installed
) -> None:
    """After `helm install` the definition is served, the operator leads, and `helm test` passes."""
    cluster.patch("Namespace", NAMESPACE, None, {"metadata": {"labels": RESTRICTED}})

    pod = installed()
    said = helm("test", RELEASE, "--timeout=60s")

    assert "Phase:          Succeeded" in said
    assert "aigateway_leader 1.0" in probe(pod, "metrics", VALUES["metrics"]["port"])
    assert f"helm -n {NAMESPACE} test {RELEASE}" in helm("get", "notes", RELEASE)


def test_helm_test_fails_where_no_operator_answers(helm: Helm, cluster: Cluster, stack: Stack, namespace: str) -> None:
    """Where nothing but the test's own pod runs, `helm test` fails and its log says what is missing."""
    helm.install()
    folder = stack.folder / "pods" / namespace
    with Runner(cluster, NAMESPACE, folder, [], "app.kubernetes.io/component=test") as runner:
        said = helm("test", RELEASE, "--timeout=30s", check=False)
        log = runner.log(f"{RELEASE}-test").read_text()

    assert "failed" in said
    assert "no answer" in log


def test_two_replicas_are_kept_apart_and_one_at_a_time_may_go(helm: Helm, cluster: Cluster) -> None:
    """By default two restricted pods run, a budget protects one of them, and updates never take one away first."""
    cluster.patch("Namespace", NAMESPACE, None, {"metadata": {"labels": RESTRICTED}})
    helm.install({"gateways": VALUES["gateways"]})

    deployment = cluster.get("Deployment", RELEASE, NAMESPACE)
    budget = cluster.get("PodDisruptionBudget", RELEASE, NAMESPACE)

    assert (2, 2) == (deployment["spec"]["replicas"], deployment["status"]["readyReplicas"])
    assert 0 == deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"]
    eventually(lambda: cluster.get("PodDisruptionBudget", RELEASE, NAMESPACE)["status"]["disruptionsAllowed"] == 1)
    assert {"maxUnavailable": 1} == {key: budget["spec"][key] for key in ("maxUnavailable",)}


def test_upgrade_rollback_and_uninstall_disturb_nobody(
    stack: Stack,
    helm: Helm,
    cluster: Cluster,
    installed: Installed,
    runner: Runner,
    namespace: str,
    model: Deploy,
    gateway: Traffic,
    earlier: Path,
) -> None:
    """While the operator is replaced twice and then removed, every request is answered and nothing is written twice."""
    model("llm-v1")
    model("llm-v2")
    host = f"{namespace}.example.com"
    installed(VALUES, earlier)
    cluster.apply(policy(namespace))
    wait_ready(cluster, namespace)
    eventually(lambda: gateway.get(host).status == 200, "the host is served")
    assert not knows_suspend(cluster)

    with gateway.steady(host, rate=40) as answers:
        audit = Audit.begin(stack.audit_log)
        helm("upgrade", RELEASE, CHART, "--wait", "--timeout=60s", values=NEW_PORTS)
        wait_leading(cluster, NEW_PORTS["probes"]["port"])
        assert knows_suspend(cluster)

        helm("rollback", RELEASE, "1", "--wait", "--timeout=60s")
        wait_leading(cluster)
        assert not knows_suspend(cluster)
        assert [] == [request for request in audit.writes() if request.resource != "leases"]

        even = [{**backend, "weight": 50} for backend in policy(namespace)["spec"]["backends"]]
        cluster.apply(policy(namespace, backends=even))
        wait_ready(cluster, namespace)
        assert {"llm-v1": 50, "llm-v2": 50} == weights(cluster, namespace)

        helm("uninstall", RELEASE, "--wait", "--timeout=60s")
        running = list(runner.processes.values())
        eventually(lambda: all(one.poll() is not None for one in running), "all replicas have ended")
        assert [0, 0, 0] == [one.returncode for one in running]
        after = len(answers)
        eventually(lambda: len(answers) > after + 40, "requests go on")

    assert {200: len(answers)} == Answers(answers).statuses
    assert {"llm-v1": 50, "llm-v2": 50} == weights(cluster, namespace)
    assert cluster.find("AIGatewayPolicy", "llm", namespace)
    assert [] == cluster.items("ClusterRole", selector=f"app.kubernetes.io/instance={RELEASE}")


def test_a_definition_from_elsewhere_is_taken_over_when_asked(helm: Helm, cluster: Cluster) -> None:
    """A definition that kubectl has applied stops an installation, until helm is told to take it over."""
    cluster.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "crd.yaml"))

    refused = helm("install", RELEASE, CHART, check=False, values=VALUES)
    helm("install", RELEASE, CHART, "--take-ownership", "--wait", "--timeout=60s", values=VALUES)

    assert "aigatewaypolicies.aigateway.dev" in refused
    definition = cluster.get("CustomResourceDefinition", "aigatewaypolicies.aigateway.dev")
    assert RELEASE == definition["metadata"]["annotations"]["meta.helm.sh/release-name"]


def test_without_keeping_the_definition_goes_with_the_release(helm: Helm, cluster: Cluster) -> None:
    """`crds.keep=false` means what it says: uninstalling removes the definition."""
    helm.install({**VALUES, "crds": {"keep": False}})

    helm("uninstall", RELEASE, "--wait", "--timeout=60s")

    eventually(lambda: not cluster.find("CustomResourceDefinition", "aigatewaypolicies.aigateway.dev"))


def test_an_operator_without_its_definition_waits_for_it(helm: Helm, cluster: Cluster, runner: Runner) -> None:
    """With `crds.enabled=false` and no definition the operator is alive and not ready; once there is one, it leads."""
    helm.install({**VALUES, "crds": {"enabled": False}})
    eventually(lambda: [probe(pod, "livez", VALUES["probes"]["port"]) for pod in pods(cluster)] == ["ok"])
    with pytest.raises(AssertionError, match="policies not listed yet"):
        probe(pods(cluster)[0], "readyz", VALUES["probes"]["port"])

    cluster.apply_file(MANIFESTS / "crd.yaml")

    pod = wait_leading(cluster)
    assert "install the AIGatewayPolicy CRD" in runner.log(pod["metadata"]["name"]).read_text()


def test_plain_manifests_install_the_same(cluster: Cluster) -> None:
    """`kubectl apply -f manifests/install` gives two pods that the restricted standard lets in, and the definition."""
    cluster.kubectl("apply", "-f", str(MANIFESTS))

    cluster.wait_served("aigatewaypolicies.aigateway.dev")
    eventually(lambda: len(pods(cluster)) == 2, "two pods are admitted")
    assert RESTRICTED.items() <= cluster.get("Namespace", NAMESPACE)["metadata"]["labels"].items()


def test_a_namespaced_operator_looks_nowhere_else(
    stack: Stack, cluster: Cluster, installed: Installed, namespace: str, model: Deploy
) -> None:
    """With `namespaces` set, only these are served, by Roles in them, and no request is ever denied."""
    other = f"{namespace}-other"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    audit = Audit.begin(stack.audit_log)
    model("llm-v1")
    model("llm-v2")

    installed({**VALUES, "namespaces": [namespace]})
    cluster.apply(policy(other, hosts=[f"{other}.example.com"]), policy(namespace))
    wait_ready(cluster, namespace)

    assert None is cluster.get("AIGatewayPolicy", "llm", other).get("status")
    rules = cluster.get("ClusterRole", RELEASE)["rules"]
    assert [["customresourcedefinitions"]] == [rule["resources"] for rule in rules]
    assert [] == [request for request in audit.requests() if request.code == 403]
    cluster.delete("Namespace", other)


def test_grants_of_the_chart_hold(cluster: Cluster, installed: Installed, namespace: str, model: Deploy) -> None:
    """A host that nobody granted is refused, a granted one is served; the file comes from the chart's ConfigMap."""
    model("llm-v1")
    model("llm-v2")
    grant = {"gateway": "istio-system/ai-gateway", "hosts": [f"{namespace}.example.com"], "namespaces": [namespace]}

    installed({**VALUES, "gateways": {**VALUES["gateways"], "restricted": True, "grants": [grant]}})
    cluster.apply(policy(namespace), policy(namespace, "other", hosts=["other.example.com"]))
    wait_ready(cluster, namespace)

    def refused() -> bool:
        status, _, message = condition(cluster, namespace, "Accepted", "other")
        return status == "False" and "other.example.com" in message

    eventually(refused, "the other host is refused")
