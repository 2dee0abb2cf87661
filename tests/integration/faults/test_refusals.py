"""Single writes are refused: by rights taken away, by webhooks that refuse or are down, by other people's rules."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from kubernetes.client.exceptions import ApiException

from tests.integration.faults.conftest import RECOVERY_SECONDS, Split
from tests.integration.operator_process import ACCOUNT, OperatorProcess
from tests.integration.test_operator import children, condition, one_backend, policy, wait_ready
from tests.stack.build import ensure
from tests.stack.cluster import Cluster, Manifest
from tests.stack.faults import Asked, FaultProxy, refusal, watches, writes
from tests.stack.waiting import eventually

POOL = {"connectionPool": {"maxOpen": 50}}
PATIENCE_SECONDS = 90.0
"""A deadline with ample room for a backoff that has grown as long as what it waited for."""


def rules(asked: Asked) -> bool:
    """Match writes of DestinationRules."""
    return writes(asked) and asked.concerns("destinationrules")


def is_ready(cluster: Cluster, namespace: str, name: str = "llm") -> bool:
    """Return whether a policy's last generation is in effect."""
    return condition(cluster, namespace, "Ready", name)[0] == "True"


def failed(cluster: Cluster, namespace: str, name: str = "llm", kind: str = "Programmed") -> str:
    """Return what a policy says of the write that failed, once it does, in this condition."""

    def said() -> str:
        status, reason, message = condition(cluster, namespace, kind, name)
        assert ("False", "ApplyFailed") == (status, reason)
        return message

    return eventually(said, "the policy says what failed")


@contextlib.contextmanager
def rights_taken(cluster: Cluster, resource: str) -> Iterator[None]:
    """Take every right to a resource from the operator inside the block."""
    before = cluster.get("ClusterRole", ACCOUNT)["rules"]
    left = [{**rule, "resources": [item for item in rule["resources"] if item != resource]} for rule in before]
    cluster.patch("ClusterRole", ACCOUNT, None, {"rules": [rule for rule in left if rule["resources"]]})
    try:
        yield
    finally:
        cluster.patch("ClusterRole", ACCOUNT, None, {"rules": before})


def test_a_right_that_is_taken_away_is_named(
    cluster: Cluster, namespace: str, faults: FaultProxy, split: Split
) -> None:
    """Who needs the forbidden kind says so in the API server's words, others go on, and it heals by itself."""
    with rights_taken(cluster, "destinationrules"):
        faults.cut(watches)
        cluster.apply(policy(namespace, "pooled", hosts=["pooled.example.com"], backends=one_backend(), **POOL))
        said = failed(cluster, namespace, "pooled")
        split.change(50)
        split.wait(50)
    assert "DestinationRule pooled-v1" in said
    assert "forbidden" in said
    assert ACCOUNT in said

    eventually(lambda: is_ready(cluster, namespace, "pooled"), within=PATIENCE_SECONDS)
    assert {"DestinationRule/pooled-v1", "VirtualService/pooled-gateway"} <= children(cluster, namespace)
    cluster.delete("AIGatewayPolicy", "pooled", namespace)
    eventually(lambda: children(cluster, namespace) == {"VirtualService/llm-gateway"}, within=PATIENCE_SECONDS)


def test_a_route_waits_for_the_rule_that_it_needs(
    cluster: Cluster, namespace: str, operator: OperatorProcess, faults: FaultProxy, split: Split
) -> None:
    """While the DestinationRule is refused its VirtualService is not written; afterwards both are."""
    pooled = split.manifest(50)
    pooled["spec"] |= POOL
    with faults.inject(refusal(500, "failed calling webhook"), rules) as rule:
        cluster.apply(pooled)
        said = failed(cluster, namespace)
        eventually(lambda: rule.hits >= 3, "it is tried again", within=RECOVERY_SECONDS)
        assert 80 == split.written()
        assert {"VirtualService/llm-gateway"} == children(cluster, namespace)
        assert "v1=80,v2=20" == cluster.get("AIGatewayPolicy", "llm", namespace)["status"]["weights"]
    assert "failed calling webhook" in said

    split.wait(50)
    assert {"DestinationRule/llm-v1", "DestinationRule/llm-v2"} <= children(cluster, namespace)
    assert operator.ready()


def test_a_fix_is_tried_at_once(cluster: Cluster, operator: OperatorProcess, faults: FaultProxy, split: Split) -> None:
    """However long a policy has failed, a change of its spec is carried out by the next try."""
    pooled = split.manifest(50)
    pooled["spec"] |= POOL
    with faults.inject(refusal(422, "no"), rules) as rule:
        cluster.apply(pooled)
        eventually(lambda: rule.hits >= 5, "its backoff has grown", within=RECOVERY_SECONDS)
        hits = rule.hits
        cluster.apply(split.manifest(60))
        split.wait(60)
        assert hits == rule.hits, "the fixed policy was tried, not the broken one once more"
    assert operator.ready()


def test_an_object_in_the_way_that_goes_is_noticed(cluster: Cluster, namespace: str, operator: OperatorProcess) -> None:
    """The name is taken over when it becomes free, not at some later try."""
    spec: dict[str, Any] = {"hosts": ["z.example.com"], "http": [{"route": [{"destination": {"host": "llm-v1"}}]}]}
    metadata = {"name": "late-gateway", "namespace": namespace}
    cluster.apply(
        {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata, "spec": spec}
    )
    cluster.apply(policy(namespace, "late", hosts=["late.example.com"], backends=one_backend()))
    eventually(lambda: condition(cluster, namespace, "Programmed", "late")[:2] == ("False", "NameTaken"))
    tries = operator.metric("aigateway_reconciles_total", result="failed")

    cluster.delete("VirtualService", "late-gateway", namespace)
    wait_ready(cluster, namespace, "late")

    assert tries == operator.metric("aigateway_reconciles_total", result="failed")


def test_a_scaling_webhook_that_is_down_does_not_hold_routing_up(
    cluster: Cluster, namespace: str, operator: OperatorProcess, split: Split
) -> None:
    """What KEDA's webhook can't judge is not scaled and is said so; routes change all the same."""
    for definition in ensure(["keda"], lambda _: None).asset_files("keda"):
        cluster.apply_file(definition)
    watched = {"resource": "scaledobjects.keda.sh"}
    eventually(
        lambda: operator.metric("aigateway_watch_age_seconds", **watched) > 0,
        "ScaledObjects are watched",
        within=PATIENCE_SECONDS,
    )
    webhook = dead_webhook()
    cluster.apply(webhook)
    eventually(lambda: is_refused(cluster, namespace), "the webhook is asked")
    try:
        wanted = split.manifest(50)
        wanted["spec"]["backends"][0]["autoscaling"] = {
            "maxReplicas": 2,
            "rules": [{"type": "CPU", "cpu": {"utilizationPercent": 70}}],
        }
        cluster.apply(wanted)
        said = failed(cluster, namespace, kind="ScalingReady")
        split.wait(50)
    finally:
        cluster.delete("ValidatingWebhookConfiguration", webhook["metadata"]["name"])
    assert "ScaledObject llm-v1" in said
    assert "failed calling webhook" in said
    eventually(lambda: cluster.find("ScaledObject", "llm-v1", namespace), within=PATIENCE_SECONDS)


def is_refused(cluster: Cluster, namespace: str) -> bool:
    """Return whether a ScaledObject would be refused now."""
    scaled: Manifest = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "any", "namespace": namespace},
        "spec": {"scaleTargetRef": {"name": "any"}, "triggers": [{"type": "cpu", "metadata": {"value": "1"}}]},
    }
    try:
        cluster.apply(scaled, dry_run=True)
    except ApiException as refused:
        return "failed calling webhook" in str(refused.body)
    return False


def dead_webhook() -> Manifest:
    """Return a webhook over ScaledObjects behind which nobody answers."""
    rule = {
        "apiGroups": ["keda.sh"],
        "apiVersions": ["v1alpha1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["scaledobjects"],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "dead-keda-admission"},
        "webhooks": [
            {
                "name": "vscaledobject.kb.io",
                "clientConfig": {"url": "https://127.0.0.1:1/validate"},
                "rules": [rule],
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
