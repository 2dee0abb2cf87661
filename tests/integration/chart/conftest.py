"""helm, a cluster that has never seen the operator, and the operator running as its pods say.

In: the chart with values.  Asserted: what helm and the apiserver make of it, and what the operator's process does with
the account, arguments and files of its pod.  No kubelet is there: :mod:`tests.stack.runner` starts the processes.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.integration.operator_process import NAMESPACE, ROOT
from tests.stack.addresses import PROMETHEUS
from tests.stack.cluster import Cluster, Manifest
from tests.stack.runner import Runner
from tests.stack.stack import Stack
from tests.stack.waiting import eventually

CHART = ROOT / "charts" / "aigateway-operator"
RELEASE = "aigateway-operator"
MINE = "app.kubernetes.io/name=aigateway-operator"
OWNED = "deployments,services,pods,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets,configmaps"
GATEWAY_NAME = "istio-system/ai-gateway"

VALUES: dict[str, Any] = {
    # All pods share one network on the stack, so the second replica could not listen.
    "replicas": 1,
    "gateways": {"default": GATEWAY_NAME},
    "scaling": {"prometheusAddress": f"http://127.0.0.1:{PROMETHEUS}", "windowSeconds": 10, "pollingSeconds": 2},
    "probes": {"port": 18180},
    "metrics": {"port": 18190},
}
"""For this stack: its gateway and Prometheus, and ports that nothing else of it listens at."""


@dataclass(frozen=True)
class Helm:
    """The real helm with folders of its own."""

    program: Path
    cluster: Cluster
    home: Path

    def __call__(self, *words: str | Path, values: Manifest | None = None, check: bool = True) -> str:
        """Run helm and return all that it said; ``check`` raises where it fails."""
        given = []
        if values is not None:
            file = self.home / "values.json"
            file.write_text(json.dumps(values))
            given = ["--values", str(file)]
        command = [str(self.program), *map(str, words), "--namespace", NAMESPACE, *given]
        said = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=False)
        if check and said.returncode:
            raise AssertionError(f"helm {' '.join(map(str, words))}: {said.stderr.strip()}")
        return said.stdout + said.stderr

    def environment(self) -> dict[str, str]:
        """Return the environment for helm and for commands that call it."""
        own = {f"HELM_{name}_HOME": str(self.home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        inherited = self.cluster.environment()
        return inherited | own | {"PATH": f"{self.program.parent}{os.pathsep}{inherited['PATH']}"}

    def install(self, values: Manifest | None = None, chart: Path = CHART) -> str:
        """Install the chart and wait until its pods are there."""
        return self("install", RELEASE, chart, "--create-namespace", "--wait", "--timeout=60s", values=values or VALUES)

    def render(self, values: Manifest | None = None) -> list[Manifest]:
        """Return what the chart makes of values, without a cluster."""
        text = self("template", RELEASE, CHART, values=values or {})
        return [document for document in yaml.safe_load_all(text) if document]


@pytest.fixture(scope="session")
def helm(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Give the real helm."""
    return Helm(stack.helm, stack.cluster, tmp_path_factory.mktemp("helm"))


@pytest.fixture
def pristine(helm: Helm, cluster: Cluster) -> Iterator[None]:  # noqa: ARG001 (only the stack has one: no other cluster is cleared)
    """Take away what an earlier test or release has left of the operator."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    _clear(cluster)
    yield
    _clear(cluster)


def _clear(cluster: Cluster) -> None:
    quietly = ["--ignore-not-found", "--wait=true", "--timeout=30s"]
    cluster.kubectl("delete", OWNED, "-n", NAMESPACE, "-l", MINE, *quietly)
    cluster.kubectl("delete", "secrets", "-n", NAMESPACE, "-l", "owner=helm", *quietly)
    cluster.kubectl("delete", "leases", "-n", NAMESPACE, "--all", *quietly)
    cluster.kubectl("delete", "crd,clusterroles,clusterrolebindings", "-l", MINE, *quietly)
    cluster.kubectl("delete", "envoyfilters", "-A", "-l", MINE, *quietly, check=False)  # where there is Istio
    for name in cluster.kubectl("get", "roles,rolebindings", "-A", "-l", MINE, "-o", _PLACES).stdout.split():
        kind, namespace, one = name.split("/")
        cluster.kubectl("delete", kind, one, "-n", namespace, *quietly)


_PLACES = 'jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{"\\n"}{end}'


def entrypoint() -> list[str]:
    """Return what the image starts."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("ENTRYPOINT ")]
    words: list[str] = json.loads(line.removeprefix("ENTRYPOINT "))
    return words


@pytest.fixture
def runner(stack: Stack, cluster: Cluster, pristine: None, namespace: str) -> Iterator[Runner]:  # noqa: ARG001 (order)
    """Run the processes of the operator's pods, and check at the end that none has met anything unexpected."""
    folder = stack.folder / "pods" / namespace
    with Runner(cluster, NAMESPACE, folder, entrypoint()) as running:
        yield running
    for log in folder.glob("*.log"):
        assert "Traceback" not in log.read_text(), log.read_text()


def pods(cluster: Cluster) -> list[Manifest]:
    """Return the operator's pods that are not being deleted."""
    found = cluster.items("Pod", NAMESPACE, f"{MINE},app.kubernetes.io/component=operator")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def probe(pod: Manifest, path: str, port: int) -> str:
    """Return what a pod answers at its own address; raise where it is no 200."""
    answer = requests.get(f"http://{pod['status']['podIP']}:{port}/{path}", timeout=5)
    assert answer.status_code == 200, answer.text
    return answer.text


def wait_leading(cluster: Cluster, port: int = VALUES["probes"]["port"]) -> Manifest:
    """Wait until the only operator's pod leads, with its caches filled; return the pod."""

    def leading() -> Manifest:
        [pod] = pods(cluster)
        assert probe(pod, "readyz", port) == "ok (leader)"
        return pod

    return eventually(leading, "the operator leads", within=60)


Installed = Callable[..., Manifest]


@pytest.fixture
def installed(helm: Helm, cluster: Cluster, runner: Runner) -> Installed:  # noqa: ARG001 (it runs the pods)
    """Install the chart with values and wait until the operator leads."""

    def install(values: Manifest | None = None, chart: Path = CHART) -> Manifest:
        helm.install(values, chart)
        return wait_leading(cluster, (values or VALUES)["probes"]["port"])

    return install


@pytest.fixture(autouse=True)
def no_policy_is_left(helm: Helm, cluster: Cluster) -> Iterator[None]:  # noqa: ARG001 (same)
    """Delete every test's policies while their definition is still there."""
    yield
    cluster.kubectl("delete", "aigatewaypolicies", "-A", "--all", check=False)
