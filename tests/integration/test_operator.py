"""The operator on a real apiserver: what it writes, repairs, prunes, leaves alone, and that it comes to rest."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.operator_process import Audit, OperatorProcess, install, quiet
from tests.stack.build import ensure
from tests.stack.cluster import Cluster, Manifest
from tests.stack.models import Model, service
from tests.stack.stack import Stack
from tests.stack.waiting import eventually

GATEWAY = "istio-system/ai-gateway"
READY = ("True", "False", "Unknown")
Deploy = Callable[..., Model]


@pytest.fixture(scope="module")
def kubeconfig(stack: Stack) -> Path:
    """Install what the operator stands on and return its own access."""
    if stack.cluster.find("CustomResourceDefinition", "virtualservices.networking.istio.io") is None:
        stack.cluster.apply_file(ensure(["istio"], lambda _: None).asset("istio", "crd-all.gen.yaml"))
    return install(stack.cluster)


@pytest.fixture
def settings(namespace: str) -> dict[str, str]:
    """Look at this test's namespace alone, so that no other test's leftovers are counted."""
    return {"namespaces": namespace, "default-gateway": GATEWAY}


@pytest.fixture
def operator(stack: Stack, kubeconfig: Path, namespace: str, settings: dict[str, str]) -> Iterator[OperatorProcess]:
    """Run the operator, and check at its end that it has neither died nor met anything unexpected."""
    process = OperatorProcess(kubeconfig, stack.processes.logs / f"operator-{namespace}.log", settings)
    with process:
        yield process
    assert "Traceback" not in process.log.read_text()


def policy(namespace: str, name: str = "llm", **spec: Any) -> Manifest:
    """Return a policy of two versions; keywords set or (None) remove fields of its spec."""
    backends = [
        {"name": "v1", "service": {"name": "llm-v1"}, "weight": 80},
        {"name": "v2", "service": {"name": "llm-v2"}, "weight": 20},
    ]
    whole = {"hosts": [f"{namespace}.example.com"], "backends": backends} | spec
    return {
        "apiVersion": "aigateway.dev/v1alpha1",
        "kind": "AIGatewayPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {field: value for field, value in whole.items() if value is not None},
    }


def one_backend(name: str = "llm-v1") -> list[dict[str, Any]]:
    """Return the backends of a policy with one version."""
    return [{"name": "v1", "service": {"name": name}}]


def condition(cluster: Cluster, namespace: str, kind: str, name: str = "llm") -> tuple[str, str, str]:
    """Return status, reason and message of a condition that is up to date with the spec."""
    found = cluster.get("AIGatewayPolicy", name, namespace)
    mine = next(item for item in found["status"]["conditions"] if item["type"] == kind)
    assert found["metadata"]["generation"] == mine["observedGeneration"]
    return mine["status"], mine["reason"], mine["message"]


def wait_ready(cluster: Cluster, namespace: str, name: str = "llm") -> None:
    """Wait until the operator says that the policy's last generation is in effect."""
    eventually(lambda: condition(cluster, namespace, "Ready", name)[0] == "True", "the policy is ready")


def weights(cluster: Cluster, namespace: str, name: str = "llm-gateway") -> dict[str, int]:
    """Return the weights of the last route of a VirtualService by the first label of the destination."""
    routes = cluster.get("VirtualService", name, namespace)["spec"]["http"][-1]["route"]
    return {route["destination"]["host"].partition(".")[0]: route.get("weight", 100) for route in routes}


def hosts(cluster: Cluster, namespace: str) -> list[str]:
    """Return the hosts of the gateway's VirtualService."""
    found: list[str] = cluster.get("VirtualService", "llm-gateway", namespace)["spec"]["hosts"]
    return found


def annotations_of(cluster: Cluster, namespace: str) -> dict[str, str]:
    """Return the annotations of the gateway's VirtualService."""
    found: dict[str, str] = cluster.get("VirtualService", "llm-gateway", namespace)["metadata"]["annotations"]
    return found


def children(cluster: Cluster, namespace: str) -> set[str]:
    """Return kind and name of everything that the operator has generated in a namespace."""
    kinds = ("VirtualService", "DestinationRule")
    selector = "app.kubernetes.io/managed-by=aigateway-operator"
    return {f"{kind}/{item['metadata']['name']}" for kind in kinds for item in cluster.items(kind, namespace, selector)}


def test_a_policy_becomes_a_route_and_says_so(
    cluster: Cluster, namespace: str, model: Deploy, operator: OperatorProcess
) -> None:
    """A valid policy gets its VirtualService, a full status, print columns, and one event."""
    model("llm-v1")
    model("llm-v2", replicas=2)

    cluster.apply(policy(namespace))
    wait_ready(cluster, namespace)

    assert {"llm-v1": 80, "llm-v2": 20} == weights(cluster, namespace)
    eventually(lambda: cluster.get("AIGatewayPolicy", "llm", namespace)["status"]["replicas"] == "v1=1/1,v2=2/2")
    line = cluster.kubectl("get", "aigp", "llm", "-n", namespace, "--no-headers").stdout.split()
    assert ["llm", "True", "Ready", "v1=80,v2=20", "v1=1/1,v2=2/2"] == line[:5]
    eventually(lambda: ["Programmed"] == [event["reason"] for event in cluster.events(namespace, "llm")])
    assert 1 == operator.metric("aigateway_policies", ready="True")
    assert (200, "ok") == operator.probe("livez")


def test_a_changed_weight_is_two_writes_and_no_read(
    stack: Stack, cluster: Cluster, namespace: str, model: Deploy, operator: OperatorProcess
) -> None:
    """A new weight reaches the VirtualService by one write, and one more tells it in status."""
    model("llm-v1")
    model("llm-v2")
    cluster.apply(policy(namespace))
    wait_ready(cluster, namespace)
    quiet(Audit.begin(stack.audit_log))
    audit = Audit.begin(stack.audit_log)

    even = [{**backend, "weight": 50} for backend in policy(namespace)["spec"]["backends"]]
    cluster.apply(policy(namespace, backends=even))
    wait_ready(cluster, namespace)
    quiet(audit)

    assert {"llm-v1": 50, "llm-v2": 50} == weights(cluster, namespace)
    expected = ["patch virtualservices", "patch aigatewaypolicies/status", "create events"]
    assert expected == [f"{request.verb} {request.resource}" for request in audit.requests()]
    assert operator.ready()


def test_noise_and_rest_cause_no_request(
    stack: Stack, cluster: Cluster, namespace: str, model: Deploy, operator: OperatorProcess
) -> None:
    """Changes that no decision looks at cause no request, and neither does time."""
    model("llm-v1")
    cluster.apply(policy(namespace, backends=one_backend()))
    wait_ready(cluster, namespace)
    quiet(Audit.begin(stack.audit_log))
    audit = Audit.begin(stack.audit_log)

    for kind, name in (("Service", "llm-v1"), ("Deployment", "llm-v1"), ("VirtualService", "llm-gateway")):
        cluster.patch(kind, name, namespace, {"metadata": {"annotations": {"example.com/noise": "yes"}}})
    cluster.apply(service(namespace, "nobody-refers-to-it", 80))
    quiet(audit, seconds=4)

    assert [] == audit.requests()
    assert operator.ready()


def test_drift_is_repaired(cluster: Cluster, namespace: str, model: Deploy, operator: OperatorProcess) -> None:
    """What someone changed in a generated object is put back, his own annotation is kept, and an event tells of it."""
    model("llm-v1")
    cluster.apply(policy(namespace, backends=one_backend()))
    wait_ready(cluster, namespace)

    change = {"metadata": {"annotations": {"example.com/mine": "yes"}}, "spec": {"hosts": ["other.example.com"]}}
    cluster.patch("VirtualService", "llm-gateway", namespace, change)

    def repaired() -> bool:
        assert "yes" == annotations_of(cluster, namespace)["example.com/mine"]
        return hosts(cluster, namespace) == [f"{namespace}.example.com"]

    eventually(repaired)
    eventually(lambda: "DriftRepaired" in {event["reason"] for event in cluster.events(namespace, "llm")})
    assert operator.ready()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}, id="our label"),
        pytest.param({"metadata": {"ownerReferences": None}}, id="owner reference"),
    ],
)
def test_an_object_that_is_made_to_look_foreign(
    cluster: Cluster, namespace: str, model: Deploy, operator: OperatorProcess, change: Manifest
) -> None:
    """A lost label is put back; an object without our owner reference counts as somebody else's and is left alone."""
    model("llm-v1")
    cluster.apply(policy(namespace, backends=one_backend()))
    wait_ready(cluster, namespace)

    cluster.patch("VirtualService", "llm-gateway", namespace, change)

    if "labels" in change["metadata"]:
        eventually(lambda: children(cluster, namespace) == {"VirtualService/llm-gateway"})
    else:
        eventually(lambda: condition(cluster, namespace, "Programmed")[1] == "NameTaken")
        assert "ownerReferences" not in cluster.get("VirtualService", "llm-gateway", namespace)["metadata"]
    assert operator.ready()


def test_what_the_policy_no_longer_asks_for_is_pruned(
    cluster: Cluster, namespace: str, model: Deploy, operator: OperatorProcess
) -> None:
    """A removed backend loses its DestinationRule, removed hosts their VirtualService; the rest stays."""
    model("llm-v1")
    model("llm-v2")
    cluster.apply(service(namespace, "llm", 80))
    common: dict[str, Any] = {"service": {"name": "llm"}, "connectionPool": {"maxOpen": 50}}
    cluster.apply(policy(namespace, **common))
    wait_ready(cluster, namespace)
    everything = {
        "DestinationRule/llm-v1",
        "DestinationRule/llm-v2",
        "VirtualService/llm-gateway",
        "VirtualService/llm-mesh",
    }
    assert everything == children(cluster, namespace)

    cluster.apply(policy(namespace, hosts=None, backends=one_backend(), **common))

    eventually(lambda: children(cluster, namespace) == {"DestinationRule/llm-v1", "VirtualService/llm-mesh"})
    wait_ready(cluster, namespace)
    assert operator.ready()


@pytest.mark.parametrize("running", [pytest.param(True, id="running"), pytest.param(False, id="down meanwhile")])
def test_a_deleted_policy_leaves_nothing(
    cluster: Cluster, namespace: str, model: Deploy, operator: OperatorProcess, *, running: bool
) -> None:
    """Generated objects go with their policy, whether the operator runs or not, and nothing brings them back."""
    model("llm-v1")
    cluster.apply(policy(namespace, backends=one_backend(), connectionPool={"maxOpen": 50}))
    wait_ready(cluster, namespace)
    if not running:
        operator.stop()

    cluster.delete("AIGatewayPolicy", "llm", namespace)
    eventually(lambda: cluster.find("AIGatewayPolicy", "llm", namespace) is None)
    if not running:
        operator.start()

    eventually(lambda: children(cluster, namespace) == set(), within=60)


def test_a_restart_into_an_unchanged_world_writes_nothing(
    stack: Stack, cluster: Cluster, namespace: str, model: Deploy, operator: OperatorProcess
) -> None:
    """After a restart the operator looks at everything and finds nothing to do."""
    model("llm-v1")
    model("llm-v2")
    cluster.apply(policy(namespace), policy(namespace, "other", hosts=["other.example.com"], backends=one_backend()))
    wait_ready(cluster, namespace)
    wait_ready(cluster, namespace, "other")
    quiet(Audit.begin(stack.audit_log), seconds=3)
    audit = Audit.begin(stack.audit_log)

    operator.restart()
    quiet(audit, seconds=3)

    assert [] == audit.writes()
    assert 0 == operator.metric("aigateway_reconciles_total", result="changed")
    assert 2 <= operator.metric("aigateway_reconciles_total", result="unchanged")


def test_a_missing_service_is_named_and_picked_up(
    cluster: Cluster, namespace: str, model: Deploy, operator: OperatorProcess
) -> None:
    """A policy waits for its Service, says which one, and goes on by itself when it appears."""
    model("llm-v1")
    cluster.apply(policy(namespace))

    eventually(lambda: condition(cluster, namespace, "ResolvedRefs")[:2] == ("False", "ServiceNotFound"))
    assert "llm-v2" in condition(cluster, namespace, "ResolvedRefs")[2]
    eventually(lambda: weights(cluster, namespace) == {"llm-v1": 100})

    model("llm-v2")
    wait_ready(cluster, namespace)
    eventually(lambda: weights(cluster, namespace) == {"llm-v1": 80, "llm-v2": 20}, within=60)
    assert operator.ready()


def test_weights_follow_readiness(cluster: Cluster, namespace: str, model: Deploy, operator: OperatorProcess) -> None:
    """A backend without ready endpoints loses its share to the other, and gets it back once it is ready again."""
    model("llm-v1")
    second = model("llm-v2")
    cluster.apply(policy(namespace))
    wait_ready(cluster, namespace)

    second.scale(0)
    eventually(lambda: weights(cluster, namespace) == {"llm-v1": 100}, within=30)
    eventually(lambda: cluster.get("AIGatewayPolicy", "llm", namespace)["status"]["weights"] == "v1=100,v2=0")

    second.scale(1)
    eventually(lambda: weights(cluster, namespace) == {"llm-v1": 80, "llm-v2": 20}, within=60)
    assert operator.ready()


def test_a_foreign_object_of_the_same_name_is_untouched(
    cluster: Cluster, namespace: str, model: Deploy, operator: OperatorProcess
) -> None:
    """A VirtualService that somebody else wrote under the generated name stays as it is, until it is gone."""
    model("llm-v1")
    foreign: Manifest = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "llm-gateway", "namespace": namespace},
        "spec": {
            "hosts": ["theirs.example.com"],
            "http": [{"route": [{"destination": {"host": "llm-v1"}}]}],
        },
    }
    (before,) = cluster.apply(foreign)

    cluster.apply(policy(namespace, backends=one_backend()))
    eventually(lambda: condition(cluster, namespace, "Programmed")[:2] == ("False", "NameTaken"))
    after = cluster.get("VirtualService", "llm-gateway", namespace)
    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]

    cluster.delete("VirtualService", "llm-gateway", namespace)
    eventually(lambda: condition(cluster, namespace, "Programmed")[0] == "True", within=90)
    assert operator.ready()


@pytest.mark.parametrize("settings", [pytest.param({}, id="without a default gateway")])
def test_an_invalid_policy_keeps_what_was_in_effect(
    cluster: Cluster,
    namespace: str,
    model: Deploy,
    settings: dict[str, str],
    operator: OperatorProcess,
) -> None:
    """A generation that can't be in effect is refused with its reason; the last good routes are kept."""
    assert {} == settings
    model("llm-v1")
    cluster.apply(policy(namespace, backends=one_backend(), gateways=[GATEWAY]))
    wait_ready(cluster, namespace)
    before = cluster.get("VirtualService", "llm-gateway", namespace)

    cluster.patch("AIGatewayPolicy", "llm", namespace, {"spec": {"gateways": None}})
    eventually(lambda: condition(cluster, namespace, "Accepted")[:2] == ("False", "NoGateway"))
    after = cluster.get("VirtualService", "llm-gateway", namespace)
    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]

    cluster.patch("AIGatewayPolicy", "llm", namespace, {"spec": {"gateways": [GATEWAY]}})
    wait_ready(cluster, namespace)
    assert operator.ready()


def test_it_stops_when_asked_to(operator: OperatorProcess) -> None:
    """SIGTERM ends the operator with exit code 0."""
    assert 0 == operator.stop()


def test_restarting_the_policy_watch_disturbs_nothing(
    stack: Stack, cluster: Cluster, kubeconfig: Path, settings: dict[str, str], namespace: str, model: Deploy
) -> None:
    """While kopf is down drift is still repaired, and what happened to policies meanwhile is caught up with."""
    model("llm-v1")
    log = stack.processes.logs / f"operator-{namespace}.log"
    with OperatorProcess(kubeconfig, log, settings, module="tests.integration.restartable_operator") as operator:
        cluster.apply(policy(namespace, backends=one_backend()))
        cluster.apply(policy(namespace, "gone", hosts=["gone.example.com"], backends=one_backend("gone")))
        wait_ready(cluster, namespace)
        operator.send_signal(signal.SIGUSR1)
        eventually(lambda: "the policy watch is being started" in operator.probe("readyz")[1], every=0.01)
        cluster.delete("AIGatewayPolicy", "gone", namespace)
        cluster.patch("VirtualService", "llm-gateway", namespace, {"spec": {"hosts": ["other.example.com"]}})

        eventually(lambda: hosts(cluster, namespace) == [f"{namespace}.example.com"])
        eventually(lambda: operator.ready() and operator.metric("aigateway_policy_watch_restarts") == 1, within=60)
        eventually(lambda: sum(operator.metric("aigateway_policies", ready=ready) for ready in READY) == 1)
        cluster.patch("AIGatewayPolicy", "llm", namespace, {"spec": {"hosts": ["new.example.com"]}})
        eventually(lambda: hosts(cluster, namespace) == ["new.example.com"])
