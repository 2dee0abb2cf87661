"""One operator per test behind a proxy that breaks what the test says, and short ways to change a policy and to wait.

An operator that has exited, or has met anything unexpected, fails its test whatever else was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.operator_process import Audit, OperatorProcess, install, quiet
from tests.integration.test_operator import GATEWAY, policy, wait_ready, weights
from tests.stack.build import ensure
from tests.stack.cluster import Cluster, Manifest
from tests.stack.faults import FaultProxy
from tests.stack.models import Model
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


@pytest.fixture
def faults(stack: Stack) -> Iterator[FaultProxy]:
    """Give the proxy between the operator and the apiserver."""
    with FaultProxy(stack.pki) as proxy:
        yield proxy


@pytest.fixture
def settings(namespace: str) -> dict[str, str]:
    """Look at this test's namespace alone, so that no other test's leftovers are counted."""
    return {"namespaces": namespace, "default-gateway": GATEWAY}


@pytest.fixture
def operator(
    stack: Stack, kubeconfig: Path, faults: FaultProxy, namespace: str, settings: dict[str, str]
) -> Iterator[OperatorProcess]:
    """Run the operator behind the proxy, and check at its end that nothing has ended it or was unexpected."""
    log = stack.processes.logs / f"operator-{namespace}.log"
    process = OperatorProcess(faults.kubeconfig(kubeconfig), log, settings)
    try:
        process.start()
        yield process
        assert process.stop() in (0, None), process.tail()
    finally:
        process.stop()
    assert [] == unexpected(log)


@pytest.fixture
def split(
    stack: Stack, cluster: Cluster, namespace: str, model: Callable[..., Model], operator: OperatorProcess
) -> Split:
    """Give a policy of two versions, 80 to 20, in effect and at rest."""
    model("llm-v1")
    model("llm-v2")
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
