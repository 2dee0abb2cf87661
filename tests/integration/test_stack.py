"""The harness itself: what every other integration test stands on."""

from __future__ import annotations

import json

from tests.stack.cluster import Cluster, Manifest
from tests.stack.stack import Stack
from tests.stack.waiting import eventually


def _deployment(namespace: str) -> Manifest:
    labels = {"app": "web"}
    container = {"name": "web", "image": "example.invalid/web:1"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def test_pods_become_ready_at_addresses_of_the_pod_network(cluster: Cluster, namespace: str) -> None:
    """A Deployment's pods are scheduled, run and get addresses, by the real controllers and kwok."""
    cluster.apply(_deployment(namespace))
    eventually(lambda: cluster.get("Deployment", "web", namespace)["status"].get("readyReplicas") == 2)
    addresses = [pod["status"]["podIP"] for pod in cluster.items("Pod", namespace)]
    assert 2 == len({address for address in addresses if address.startswith("10.244.")})


def test_audit_log_names_the_account_of_every_request(stack: Stack, namespace: str) -> None:
    """Requests can be counted by account, verb and resource from the audit log."""
    stack.cluster.apply(_deployment(namespace))
    lines = [json.loads(line) for line in stack.audit_log.read_text().splitlines()]
    mine = [line for line in lines if line.get("objectRef", {}).get("namespace") == namespace]
    assert ("admin", "patch", "deployments") in {
        (line["user"]["username"], line["verb"], line["objectRef"]["resource"]) for line in mine
    }
    assert {"ResponseComplete"} == {line["stage"] for line in lines}
