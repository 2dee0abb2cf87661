"""The quick start page, command by command, as a reader would type it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.chart.conftest import VALUES, Helm, wait_leading
from tests.integration.operator_process import ROOT
from tests.stack.cluster import Cluster, Manifest
from tests.stack.istio import GATEWAY_LABELS
from tests.stack.runner import Runner
from tests.stack.waiting import eventually

PAGE = (ROOT / "docs" / "quickstart.md").read_text()
MODELS = "models"
LISTENER = 8085
"""Where the stack's gateway listens for the page's port 80."""

FRONT: list[Manifest] = [
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "gateway-0", "namespace": "istio-system", "labels": GATEWAY_LABELS},
        "spec": {"hostNetwork": True, "containers": [{"name": "istio-proxy", "image": "example.invalid/proxy:1"}]},
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "istio-ingressgateway", "namespace": "istio-system"},
        "spec": {"selector": GATEWAY_LABELS, "ports": [{"name": "http2", "port": 80, "targetPort": LISTENER}]},
    },
]
"""What stands for the stack's gateway in a cluster: its pod at the machine's address, and the Service before it."""


def blocks(language: str) -> list[str]:
    """Return the contents of the page's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def checkout(tmp_path: Path, cluster: Cluster) -> Iterator[Path]:
    """Give a folder with what a checkout has, and values for this stack; what the page makes is gone afterwards.

    As in any cluster, a Service in front of the ingress gateway maps port 80 to one that needs no privilege.
    """
    cluster.apply(*FRONT)
    for name in ("charts", "manifests"):
        (tmp_path / name).symlink_to(ROOT / name)
    values = VALUES | {"gateways": {"default": "istio-system/models"}}
    (tmp_path / "values.yaml").write_text(json.dumps(values))
    yield tmp_path
    cluster.delete("Gateway", "models", "istio-system")
    for item in FRONT:
        cluster.delete(item["kind"], item["metadata"]["name"], "istio-system")
    cluster.delete("Namespace", MODELS)


def test_the_pages_own_values_are_valid(helm: Helm) -> None:
    """Whoever copies the page's values.yaml is not stopped by the schema."""
    [text] = blocks("yaml")

    assert helm.render(yaml.safe_load(text))


def test_ten_commands_lead_to_a_routed_and_scaled_model(
    helm: Helm, cluster: Cluster, runner: Runner, checkout: Path
) -> None:
    """Each of the page's ten commands succeeds; at the end more replicas serve than at the beginning."""
    commands = blocks("sh")
    said = {}

    for command in commands:
        said[command] = run(command, checkout, helm.environment() | {"GATEWAY": f"127.0.0.1:{LISTENER}"})
        if command.startswith("helm install"):
            wait_leading(cluster)  # here a kubelet's probes would have made helm wait

    assert 10 == len(commands)
    assert runner.processes
    answer = next(text for command, text in said.items() if command.startswith("curl"))
    assert json.loads(answer)["address"]
    deployments = {name: cluster.get("Deployment", name, MODELS) for name in ("chat-v1", "chat-v2")}
    eventually(lambda: replicas(cluster) > len(deployments), "replicas follow the requests", within=60)


def replicas(cluster: Cluster) -> int:
    """Return how many replicas the policy's status shows for all versions together."""
    shown = cluster.get("AIGatewayPolicy", "chat", MODELS)["status"]["replicas"]
    return sum(int(count) for count in re.findall(r"=(\d+)/", shown))


def run(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Run a command of the page in bash and return what it prints; raise where it fails."""
    said = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, f"{command}{said.stdout}{said.stderr}"
    return said.stdout
