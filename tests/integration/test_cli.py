"""The command line on the real cluster: what ``plan`` foretells is what the operator then writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from aigateway.cli.views.common import without_bookkeeping
from tests.integration.operator_process import ROOT, Audit, OperatorProcess, install, quiet
from tests.stack.build import ensure
from tests.stack.cluster import Cluster, Manifest
from tests.stack.models import Model, service
from tests.stack.stack import Stack
from tests.stack.waiting import eventually

EXAMPLES = sorted((ROOT / "manifests" / "examples").glob("*/policy.yaml"))
GATEWAY = "istio-system/ai-gateway"
PROMETHEUS = "http://prometheus.monitoring:9090"
SETTINGS = {"default-gateway": GATEWAY, "prometheus-address": PROMETHEUS}
NEW_UID = "(set when the policy is created)"
STATUS_AND_EVENTS = ("aigatewaypolicies/status", "events")
Deploy = Callable[..., Model]


@pytest.fixture(scope="module")
def kubeconfig(stack: Stack) -> Path:
    """Install what the operator stands on and return its own access."""
    if stack.cluster.find("CustomResourceDefinition", "virtualservices.networking.istio.io") is None:
        stack.cluster.apply_file(ensure(["istio"], lambda _: None).asset("istio", "crd-all.gen.yaml"))
    return install(stack.cluster)


@dataclass(frozen=True)
class CommandLine:
    """``aigateway`` as a user of the cluster calls it, in one namespace, without a terminal."""

    cluster: Cluster
    namespace: str

    def __call__(self, *words: str, stdin: str = "", expect: int = 0) -> str:
        """Run a command and return its stdout; fail where it does not end with the exit code."""
        ran = subprocess.run(
            [sys.executable, "-m", "aigateway", *words, "-n", self.namespace],
            env={**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig)},
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert expect == ran.returncode, ran.stdout + ran.stderr
        return ran.stdout

    def plan(self, policy: Manifest, expect: int) -> Any:
        """Return the plan of one policy as data."""
        flags = [f"--{name}={value}" for name, value in SETTINGS.items()]
        text = self("plan", "-f", "-", "-o", "json", *flags, stdin=yaml.safe_dump(policy), expect=expect)
        return json.loads(text)["policies"][0]


@pytest.fixture
def cli(cluster: Cluster, namespace: str) -> CommandLine:
    """Give the command line with the administrator's access."""
    return CommandLine(cluster, namespace)


@pytest.fixture
def operator(stack: Stack, kubeconfig: Path, namespace: str) -> OperatorProcess:
    """Give an operator for this test's namespace that is not started yet."""
    settings = SETTINGS | {"namespaces": namespace}
    return OperatorProcess(kubeconfig, stack.processes.logs / f"operator-{namespace}.log", settings)


def example(path: Path, namespace: str) -> Manifest:
    """Return an example's policy, moved to a namespace and to hosts of its own."""
    policy: Manifest = yaml.safe_load(path.read_text())
    policy["metadata"]["namespace"] = namespace
    if "hosts" in policy["spec"]:
        policy["spec"]["hosts"] = [host.replace("example.com", f"{namespace}.com") for host in policy["spec"]["hosts"]]
    return policy


def two_versions(namespace: str) -> Manifest:
    """Return a policy of two versions with every kind of routing object."""
    path = next(path for path in EXAMPLES if path.parent.name == "02-pinned-by-header")
    policy = example(path, namespace)
    policy["spec"]["connectionPool"] = {"maxOpen": 50, "maxPending": 10}
    return policy


def deploy_for(policy: Manifest, cluster: Cluster, model: Deploy) -> None:
    """Deploy what the policy names."""
    for backend in policy["spec"]["backends"]:
        model(backend["service"]["name"])
    if "service" in policy["spec"]:
        cluster.apply(service(policy["metadata"]["namespace"], policy["spec"]["service"]["name"]))


def settle(stack: Stack, cluster: Cluster, policy: Manifest) -> None:
    """Wait until the operator has looked at the policy as it is now, and has come to rest."""
    name, namespace = policy["metadata"]["name"], policy["metadata"]["namespace"]

    def looked() -> bool:
        found = cluster.get("AIGatewayPolicy", name, namespace)
        return bool(found["metadata"]["generation"] == found.get("status", {}).get("observedGeneration"))

    eventually(looked, "the operator has looked at the policy")
    quiet(Audit.begin(stack.audit_log))


def planned(plan: Any, uid: str) -> dict[tuple[str, str], Any]:
    """Return each planned object by kind and name, with the uid that the policy has got since."""
    text = json.dumps({f"{item['kind']}/{item['name']}": item.get("after") for item in plan["changes"]})
    found = json.loads(text.replace(NEW_UID, uid))
    return {(kind, name): after for (kind, _, name), after in ((key.partition("/"), v) for key, v in found.items())}


def written(cluster: Cluster, namespace: str, objects: dict[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
    """Return the same objects as they are in the cluster (None: not there)."""
    found = {key: cluster.find(*key, namespace) for key in objects}
    for body in found.values():
        if body is not None and body["kind"] == "ScaledObject":
            # What KEDA adds to an object that it has taken over.
            body["metadata"]["labels"].pop("scaledobject.keda.sh/name", None)
            body["spec"].get("advanced", {}).pop("scalingModifiers", None)
    return {key: without_bookkeeping(body) if body else None for key, body in found.items()}


def conditions(items: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """Return type, status and reason of each condition."""
    return {(item["type"], item["status"], item["reason"]) for item in items}


def settled(items: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """Return the conditions but for what KEDA says, which may have come in since, and what Prometheus does."""
    from_keda = {"Pending", "ScalingReady", "ScalerNotReady", "ScalerFallback"}
    told = (condition for condition in conditions(items) if condition[0] != "MetricsAvailable")
    return {condition for condition in told if condition[2] not in from_keda}


@pytest.mark.parametrize("path", [pytest.param(path, id=path.parent.name) for path in EXAMPLES])
def test_what_is_planned_is_what_is_written(
    stack: Stack,
    cluster: Cluster,
    namespace: str,
    model: Deploy,
    cli: CommandLine,
    operator: OperatorProcess,
    path: Path,
) -> None:
    """The operator writes the planned objects, in the planned order, and says what was foretold; then none differs."""
    policy = example(path, namespace)
    deploy_for(policy, cluster, model)
    plan = cli.plan(policy, expect=2)
    (applied,) = cluster.apply(policy)
    audit = Audit.begin(stack.audit_log)

    with operator:
        settle(stack, cluster, policy)

    objects = planned(plan, applied["metadata"]["uid"])
    assert objects == written(cluster, namespace, objects)
    children = [request.name for request in audit.writes() if request.resource not in STATUS_AND_EVENTS]
    assert [item["name"] for item in plan["changes"]] == children
    status = cluster.get("AIGatewayPolicy", policy["metadata"]["name"], namespace)["status"]
    assert plan["weights"] == status["weights"]
    assert settled(plan["conditions"]) == settled(status["conditions"])
    assert [] == cli.plan(policy, expect=0)["changes"]


def test_plan_shows_exactly_the_drift(
    stack: Stack, cluster: Cluster, namespace: str, model: Deploy, cli: CommandLine, operator: OperatorProcess
) -> None:
    """Of three generated objects one was edited while the operator was down: that one, and its lines, are the plan."""
    policy = two_versions(namespace)
    deploy_for(policy, cluster, model)
    cluster.apply(policy)
    with operator:
        settle(stack, cluster, policy)
    name = "recommendation-gateway"
    before = written(cluster, namespace, {("VirtualService", name): None})
    cluster.patch("VirtualService", name, namespace, {"metadata": {"annotations": {"example.com/mine": "yes"}}})
    assert [] == cli.plan(policy, expect=0)["changes"]

    cluster.patch("VirtualService", name, namespace, {"spec": {"hosts": ["hand.example.com"]}})
    (change,) = cli.plan(policy, expect=2)["changes"]
    text = cli("plan", "-f", "-", *(f"--{k}={v}" for k, v in SETTINGS.items()), stdin=yaml.safe_dump(policy), expect=2)

    assert ("repair", "VirtualService", name) == (change["action"], change["kind"], change["name"])
    difference = [line for line in text.splitlines() if line.startswith(("+ ", "- "))]
    assert ["-  - hand.example.com", f"+  - {policy['spec']['hosts'][0]}"] == difference
    assert before["VirtualService", name]["spec"] == change["after"]["spec"]
    assert "yes" == change["after"]["metadata"]["annotations"]["example.com/mine"]


def test_a_changed_policy_is_planned_as_it_is_then_written(
    stack: Stack, cluster: Cluster, namespace: str, model: Deploy, cli: CommandLine, operator: OperatorProcess
) -> None:
    """Updates, removed fields, fields of others and deletions come out as foretold."""
    policy = two_versions(namespace)
    deploy_for(policy, cluster, model)
    cluster.apply(policy)
    with operator:
        settle(stack, cluster, policy)
    theirs = {"spec": {"trafficPolicy": {"loadBalancer": {"simple": "LEAST_REQUEST"}}}}
    cluster.patch("DestinationRule", "recommendation-v1", namespace, theirs)
    policy["spec"]["backends"] = [policy["spec"]["backends"][0] | {"weight": 100}]
    policy["spec"]["connectionPool"] = {"maxOpen": 20}
    del policy["spec"]["routes"]

    plan = cli.plan(policy, expect=2)
    cluster.apply(policy)
    with operator:
        settle(stack, cluster, policy)

    actions = {(item["kind"], item["name"]): item["action"] for item in plan["changes"]}
    assert {
        ("DestinationRule", "recommendation-v1"): "update",
        ("VirtualService", "recommendation-gateway"): "update",
        ("DestinationRule", "recommendation-v2"): "delete",
    } == actions
    objects = planned(plan, "")
    assert objects == written(cluster, namespace, objects)
    assert "LEAST_REQUEST" in json.dumps(objects["DestinationRule", "recommendation-v1"])


def test_a_foreign_object_blocks_the_plan(
    cluster: Cluster, kubeconfig: Path, namespace: str, model: Deploy, cli: CommandLine
) -> None:
    """An object of somebody else under the name of a generated one is foreseen, as the operator will find it."""
    assert kubeconfig.exists()
    policy = two_versions(namespace)
    del policy["spec"]["connectionPool"]
    deploy_for(policy, cluster, model)
    foreign = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "recommendation-gateway", "namespace": namespace},
        "spec": {"hosts": ["theirs.example.com"], "http": [{"route": [{"destination": {"host": "theirs"}}]}]},
    }
    cluster.apply(foreign)

    plan = cli.plan(policy, expect=2)

    assert ["blocked"] == [item["action"] for item in plan["changes"]]
    assert ("Programmed", "False", "NameTaken") in conditions(plan["conditions"])


def test_status_and_explain_tell_what_is_in_effect(
    stack: Stack, cluster: Cluster, namespace: str, model: Deploy, cli: CommandLine, operator: OperatorProcess
) -> None:
    """Both read the real status: the table, the verdict for scripts, and every decision with its inputs."""
    policy = two_versions(namespace)
    deploy_for(policy, cluster, model)
    cluster.apply(policy)
    assert "NotObserved" in cli("status", "--exit-code", expect=1)
    with operator:
        settle(stack, cluster, policy)

    rows = [line.split() for line in cli("status", "--exit-code").splitlines()]
    explained = json.loads(cli("explain", "recommendation", "-o", "json"))["policies"][0]

    assert ["recommendation", "True", "Ready", "v1=80,v2=20", "v1=1/1,v2=1/1", "NotRequested"] == rows[1][:6]
    assert ["v1", "up", "AsSpecified", "80", "%", "1/1"] == rows[2]
    assert [] == explained["expected"]
    assert {("v1", 80, 80, 1), ("v2", 20, 20, 1)} == {
        (item["name"], item["weight"], item["inEffect"], item["endpoints"]) for item in explained["backends"]
    }
    assert {"in place"} == {item["state"] for item in explained["objects"]}
    assert 3 == len(explained["objects"])
    cli("explain", "nobody", expect=1)
    cli("status", "nobody", expect=1)


def test_status_follows_changes(
    cluster: Cluster, kubeconfig: Path, namespace: str, model: Deploy, operator: OperatorProcess, tmp_path: Path
) -> None:
    """Without a terminal every change is a line, until Ctrl-C, which is no failure."""
    assert kubeconfig.exists()
    policy = two_versions(namespace)
    deploy_for(policy, cluster, model)
    words = [sys.executable, "-u", "-m", "aigateway", "status", "-w", "-n", namespace]
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    out = tmp_path / "out"

    def lines() -> list[list[str]]:
        return [line.split()[1:] for line in out.read_text().splitlines()]

    with out.open("w") as file:
        following = subprocess.Popen(words, env=environment, cwd=ROOT, stdout=file)
    try:
        cluster.apply(policy)
        begun = [f"{namespace}/recommendation", "Unknown", "NotObserved", "-", "-", "-"]
        eventually(lambda: lines()[0] == begun, within=60)
        with operator:
            eventually(lambda: lines()[-1][1:4] == ["True", "Ready", "v1=80,v2=20"], within=60)
        following.send_signal(signal.SIGINT)
        assert 0 == following.wait(timeout=20)
    finally:
        following.kill()
        following.wait(timeout=20)


def test_who_may_see_one_namespace_can_plan(cluster: Cluster, kubeconfig: Path, namespace: str, model: Deploy) -> None:
    """Without the right to list other namespaces the plan is made, and says what it could not see."""
    assert kubeconfig.exists()
    policy = two_versions(namespace)
    deploy_for(policy, cluster, model)
    kinds = {
        "aigateway.dev": "*",
        "networking.istio.io": "*",
        "keda.sh": "*",
        "apps": "*",
        "discovery.k8s.io": "*",
        "": "services",
    }
    rules = [{"apiGroups": [group], "resources": [kind], "verbs": ["get", "list"]} for group, kind in kinds.items()]
    group = "rbac.authorization.k8s.io"
    metadata = {"name": "reader", "namespace": namespace}
    cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
        },
    )
    reader = cluster.service_account_kubeconfig(namespace, "reader")

    ran = subprocess.run(
        [sys.executable, "-m", "aigateway", "plan", "-f", "-", f"--kubeconfig={reader}"],
        cwd=ROOT,
        input=yaml.safe_dump(policy),
        capture_output=True,
        text=True,
        check=False,
    )

    assert 2 == ran.returncode, ran.stderr
    assert "note: aigatewaypolicies.aigateway.dev of other namespaces may not be listed" in ran.stderr
    assert f"{namespace}/recommendation: 3 generated objects differ" in ran.stdout


def test_kubectl_finds_the_command_as_its_plugin(cluster: Cluster, kubeconfig: Path, namespace: str) -> None:
    """`kubectl aigateway` runs it with the cluster that kubectl has, and shows its own name in the usage."""
    assert kubeconfig.exists()
    environment = cluster.environment()
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"

    def kubectl(*words: str) -> subprocess.CompletedProcess[str]:
        run = ["kubectl", "aigateway", *words]
        return subprocess.run(run, env=environment, capture_output=True, text=True, check=True)

    assert f"no policies in {namespace}" in kubectl("status", "-n", namespace).stderr
    assert kubectl("plan", "--help").stdout.startswith("Usage: kubectl aigateway plan [OPTIONS] [FILE]...")
