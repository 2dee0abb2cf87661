"""One operator per file behind a proxy that breaks what a test says, and short ways to change a policy and to wait.

Each test finds the policy ``llm`` in effect, 80 to 20, and everything at rest.  An operator that has exited fails the
test, and one that met anything unexpected fails the file, whatever else was seen.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.operator_process import Audit, OperatorProcess, install, quiet
from tests.integration.test_operator import GATEWAY, policy, wait_ready, weights
from tests.stack import models
from tests.stack.build import ensure
from tests.stack.cluster import Cluster, Manifest
from tests.stack.faults import FaultProxy
from tests.stack.services import namespace_manifest
from tests.stack.stack import Stack
from tests.stack.waiting import eventually

RECOVERY_SECONDS = 60.0
"""A deadline with ample room: the longest waits between tries are half as long."""


@dataclass(frozen=True)
class Split:
    """The policy ``llm`` of two versions, as its owner changes it and looks at it."""

    cluster: Cluster
    namespace: str

    def manifest(self, first: int) -> Manifest:
        """Return the policy with so many percent for the first version and the rest for the second."""
        backends = policy(self.namespace)["spec"]["backends"]
        halves = zip(backends, (first, 100 - first), strict=True)
        return policy(self.namespace, backends=[{**backend, "weight": weight} for backend, weight in halves])

    def change(self, first: int) -> None:
        """Ask for other weights."""
        self.cluster.apply(self.manifest(first))

    def written(self) -> int:
        """Return the first version's weight in the VirtualService."""
        return weights(self.cluster, self.namespace).get("llm-v1", 0)

    def wait(self, first: int) -> None:
        """Wait until these weights are in effect, and said to be."""
        what = f"the first weight is {first}"
        eventually(lambda: self.written() == first, what, within=RECOVERY_SECONDS)
        wait_ready(self.cluster, self.namespace)


@pytest.fixture(scope="session")
def kubeconfig(stack: Stack) -> Path:
    """Install what the operator stands on and return its own access."""
    if stack.cluster.find("CustomResourceDefinition", "virtualservices.networking.istio.io") is None:
        stack.cluster.apply_file(ensure(["istio"], lambda _: None).asset("istio", "crd-all.gen.yaml"))
    return install(stack.cluster)


@pytest.fixture(scope="module")
def namespace(stack: Stack) -> Iterator[str]:
    """Give the name of a Kubernetes namespace of this file's own; its deletion is started at the end."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    stack.cluster.apply(namespace_manifest(name))
    yield name
    stack.cluster.delete("Namespace", name)


@pytest.fixture(scope="module")
def faults(stack: Stack) -> Iterator[FaultProxy]:
    """Give the proxy between the operator and the apiserver."""
    with FaultProxy(stack.pki) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def settings(namespace: str) -> dict[str, str]:
    """Look at this file's namespace alone, so that no other test's leftovers are counted."""
    return {"namespaces": namespace, "default-gateway": GATEWAY}


@pytest.fixture(scope="module")
def running(
    stack: Stack, kubeconfig: Path, faults: FaultProxy, namespace: str, settings: dict[str, str]
) -> Iterator[OperatorProcess]:
    """Run the operator behind the proxy among its models; at its end nothing unexpected must be in its log."""
    for name in ("llm-v1", "llm-v2"):
        models.deploy(stack.cluster, namespace, name)
    log = stack.processes.logs / f"operator-{namespace}.log"
    with OperatorProcess(faults.kubeconfig(kubeconfig), log, settings) as process:
        yield process
    assert [] == unexpected(log)


@pytest.fixture
def operator(running: OperatorProcess) -> Iterator[OperatorProcess]:
    """Give the operator that runs, and check after the test that nothing has ended it."""
    pid = running.pid
    eventually(running.ready, "the operator is ready", within=RECOVERY_SECONDS)
    yield running
    assert pid == running.pid
    eventually(running.ready, "the operator is ready again", within=RECOVERY_SECONDS)


@pytest.fixture
def split(stack: Stack, cluster: Cluster, namespace: str, operator: OperatorProcess) -> Split:
    """Give the policy of two versions, 80 to 20, in effect and at rest."""
    split = Split(cluster, namespace)
    split.change(80)
    split.wait(80)
    assert operator.ready()
    quiet(Audit.begin(stack.audit_log))
    return split


def unexpected(log: Path) -> list[str]:
    """Return the tracebacks in a log, but for those with which kopf reports what ended its watch."""
    lines = log.read_text().splitlines()
    return [line for line in lines if "Traceback" in line and '"logger": "kopf.' not in line]


def changes(audit: Audit) -> list[str]:
    """Return what the operator has changed, events left out, as ``patch virtualservices``."""
    return [f"{request.verb} {request.resource}" for request in audit.writes() if request.resource != "events"]


ONE_CHANGE = ["patch virtualservices", "patch aigatewaypolicies/status"]
"""All that a new weight may cost."""
