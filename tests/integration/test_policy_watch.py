"""The watch of policies ends again and again while the operator is at work."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.operator_process import Audit, OperatorProcess, install, quiet, traceback_in
from tests.integration.test_operator import GATEWAY, one_backend, policy
from tests.stack.build import ensure
from tests.stack.cluster import Cluster
from tests.stack.models import service
from tests.stack.stack import Stack
from tests.stack.waiting import eventually

POLICIES = 24


@pytest.fixture(scope="module")
def kubeconfig(stack: Stack) -> Path:
    """Install what the operator stands on and return its own access."""
    if stack.cluster.find("CustomResourceDefinition", "virtualservices.networking.istio.io") is None:
        stack.cluster.apply_file(ensure(["istio"], lambda _: None).asset("istio", "crd-all.gen.yaml"))
    return install(stack.cluster)


def test_a_burst_of_policies_outlives_restarts_of_the_watch(
    stack: Stack, cluster: Cluster, kubeconfig: Path, namespace: str
) -> None:
    """Policies that come while the watch ends and starts are each written once: none is lost, doubled or broken off."""
    names = [f"llm-{number}" for number in range(POLICIES)]
    cluster.apply(*(service(namespace, name) for name in names))
    log = stack.processes.logs / f"operator-{namespace}.log"
    settings = {"namespaces": namespace, "default-gateway": GATEWAY}
    with OperatorProcess(kubeconfig, log, settings, module="tests.integration.restartable_operator") as operator:
        audit = Audit.begin(stack.audit_log)
        for number, name in enumerate(names):
            cluster.apply(policy(namespace, name, hosts=[f"{name}.example.com"], backends=one_backend(name)))
            if number % 8 == 3:  # in the middle of eight: four are in work, four come while there is no watch
                operator.send_signal(signal.SIGUSR1)
            if number % 8 == 7:
                restarts = number // 8 + 1
                eventually(lambda: operator.metric("aigateway_policy_watch_restarts") == restarts, within=60)  # noqa: B023
                eventually(operator.ready)
        eventually(lambda: len(cluster.items("VirtualService", namespace)) == POLICIES, within=60)
        quiet(audit)

    written = Counter(request.name for request in audit.writes() if request.resource == "virtualservices")
    assert dict.fromkeys((f"{name}-gateway" for name in names), 1) == written
    assert [] == [request for request in audit.writes() if request.code >= 400]
    assert "" == traceback_in(log)
