"""Inside the namespace: start the stack and the operator, apply the policy, send requests, and check what is shown.

Every claim that is printed is checked; the first that does not hold ends the show with exit code 1.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import yaml
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

from tests.demo.__main__ import POLICY
from tests.integration.operator_process import OperatorProcess, install
from tests.stack import external, models
from tests.stack.addresses import PROMETHEUS
from tests.stack.binaries import PARTS
from tests.stack.build import missing
from tests.stack.cluster import Manifest
from tests.stack.external import ExternalCluster
from tests.stack.models import Model
from tests.stack.stack import Stack
from tests.stack.traffic import Answers, Traffic
from tests.stack.waiting import eventually

NAMESPACE = "models"
NAME = "recommendation"
HOST = "ai-gateway.example.com"
REQUESTS = 5000
RATE = 150.0
"""Requests per second in the scaling act: v1's 80 % are 120 a second, which asks for three replicas of 50 each."""

SETTINGS = {
    "default-gateway": "istio-system/ai-gateway",
    "prometheus-address": f"http://127.0.0.1:{PROMETHEUS}",
    "scaling-window": "10",
    "scaling-polling": "2",
}

console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)


def main() -> int:
    """Return 0 if all that was shown held, else 1."""
    with external.chosen(["cluster", "routing"], lambda line: console.print(line, style="dim", markup=False)) as stack:
        kubeconfig = install(stack.cluster)
        with OperatorProcess(kubeconfig, stack.folder / "logs" / "operator.log", SETTINGS) as operator:
            try:
                Show(stack).run()
            except AssertionError as error:
                console.print(f"✗ {error}", style="bold red", markup=False)
                console.print(operator.tail(), style="dim", markup=False)
                return 1
    console.rule("Everything shown was checked", style="green")
    return 0


class Show:
    """The acts, in order.  Each prints what a user would look at, and checks it."""

    def __init__(self, stack: Stack | ExternalCluster) -> None:
        self.stack = stack
        self.cluster = stack.cluster
        self.traffic = Traffic(stack.gateway.url)

    def run(self) -> None:
        """Play every act."""
        self.v1, self.v2 = self.deploy()
        self.apply_policy()
        self.show_children()
        self.show_split(80)
        self.show_pinned()
        self.change_weights()
        self.scale()
        self.show_events()

    def deploy(self) -> tuple[Model, Model]:
        """Deploy two versions of a model, each with a Service of its own."""
        console.rule("Two versions of a model are running")
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        v1 = models.deploy(self.cluster, NAMESPACE, "recommendation-model-v1", replicas=2)
        v2 = models.deploy(self.cluster, NAMESPACE, "recommendation-model-v2")
        self.kubectl("get", "deployments,services", "-n", NAMESPACE)
        return v1, v2

    def apply_policy(self) -> None:
        """Apply the policy and wait until it is in effect."""
        console.rule("The policy is applied")
        self.kubectl("apply", "-f", str(POLICY))
        eventually(lambda: self.condition("Ready") == "True", "the policy is ready")
        self.kubectl("get", "aigatewaypolicies", "-n", NAMESPACE)
        check("the policy is Ready", self.condition("Ready") == "True")
        eventually(lambda: self.traffic.get(HOST).status == 200, "Envoy has the routes")

    def show_children(self) -> None:
        """Show what the operator wrote."""
        console.rule("The operator has written")
        self.kubectl("get", "virtualservices", "-n", NAMESPACE)
        routes = self.cluster.get("VirtualService", f"{NAME}-gateway", NAMESPACE)["spec"]["http"]
        console.print(Syntax(yaml.safe_dump({"http": routes}, sort_keys=False), "yaml", background_color="default"))

    def show_split(self, v1_percent: int) -> None:
        """Send requests and compare the split with the policy's."""
        console.rule(f"{REQUESTS} requests through Envoy")
        answers = self.traffic.send(HOST, REQUESTS)
        self.table(answers)
        expected = REQUESTS * v1_percent / 100
        tolerance = 5 * (expected * (1 - v1_percent / 100)) ** 0.5
        check("every request was answered with 200", answers.statuses == {200: REQUESTS})
        share = 100 * answers.count(self.v1.addresses()) / REQUESTS
        off = abs(answers.count(self.v1.addresses()) - expected)
        check(f"v1 got {share:.1f} %, the policy says {v1_percent} %", off <= tolerance)

    def show_pinned(self) -> None:
        """Send requests with the header that picks v2."""
        console.rule("500 requests with the header x-model-version: v2")
        answers = self.traffic.send(HOST, 500, headers={"x-model-version": "v2"})
        self.table(answers)
        check("all of them reached v2", answers.count(self.v2.addresses()) == 500)

    def change_weights(self) -> None:
        """Change the weights with kubectl and watch the traffic follow."""
        console.rule("A weight is changed with kubectl")
        backends = yaml.safe_load(POLICY.read_text())["spec"]["backends"]
        patch = {"spec": {"backends": [{**backend, "weight": 50} for backend in backends]}}
        began = time.monotonic()
        self.kubectl("patch", "aigp", NAME, "-n", NAMESPACE, "--type=merge", "-p", json.dumps(patch))
        eventually(self.is_half_and_half, "the traffic follows")
        console.print(f"the traffic was split anew {time.monotonic() - began:.1f} s later", style="dim")
        self.kubectl("get", "aigatewaypolicies", "-n", NAMESPACE)
        self.show_split(50)
        self.kubectl("apply", "-f", str(POLICY))
        eventually(lambda: self.policy()["status"]["weights"] == "v1=80,v2=20", "the weights are back")

    def is_half_and_half(self) -> bool:
        """Return whether a sample of the traffic fits 50 to 50 and no longer 80 to 20."""
        return self.traffic.send(HOST, 400).count(self.v1.addresses()) < 260

    def scale(self) -> None:
        """Start KEDA once it is built, send load, and watch v1 grow."""
        console.rule("Autoscaling by request rate")
        if isinstance(self.stack, ExternalCluster):
            console.print("not shown on a cluster of your own: its KEDA and Prometheus are not the demo's to set up")
            return
        scaling_is_built(lambda text: console.print(text, style="dim"))
        self.stack.start("scaling")
        eventually(lambda: self.policy()["status"]["effective"].get("scaling"), "KEDA is found", within=90)
        eventually(self.scaled_objects_are_there, "the ScaledObjects are written")
        self.kubectl("get", "scaledobjects", "-n", NAMESPACE)
        console.print(f"{RATE:.0f} requests per second; one replica of v1 for every 50 of its own", style="dim")
        with self.traffic.steady(HOST, RATE):
            eventually(lambda: self.v1.replicas() >= 3, "v1 has three replicas", within=180)
            eventually(lambda: self.condition("ScalingReady") == "True", "KEDA is content", within=60)
            self.kubectl("get", "horizontalpodautoscalers", "-n", NAMESPACE)
        check(f"v1 has grown to {self.v1.replicas()} replicas", self.v1.replicas() >= 3)

    def scaled_objects_are_there(self) -> bool:
        """Return whether both versions have a ScaledObject."""
        return len(self.cluster.items("ScaledObject", NAMESPACE)) == 2

    def show_events(self) -> None:
        """Show the status and the events of the policy, as a user sees them."""
        console.rule("Status and events of the policy")
        self.kubectl("get", "aigatewaypolicies", "-n", NAMESPACE)
        for condition in self.policy()["status"]["conditions"]:
            console.print("  {type:14} {status:8} {reason:14} {message}".format(**condition), markup=False)
        self.kubectl("get", "events", "-n", NAMESPACE, "--field-selector", "involvedObject.kind=AIGatewayPolicy")
        check("the policy is Ready", self.condition("Ready") == "True")

    # What the acts are made of -----------------------------------------------------------------------------------

    def policy(self) -> Manifest:
        """Return the policy."""
        return self.cluster.get("AIGatewayPolicy", NAME, NAMESPACE)

    def condition(self, kind: str) -> str | None:
        """Return the status of one of the policy's conditions."""
        conditions = self.policy().get("status", {}).get("conditions", [])
        return next((condition["status"] for condition in conditions if condition["type"] == kind), None)

    def kubectl(self, *words: str) -> None:
        """Run kubectl before the audience."""
        console.print(f"$ kubectl {' '.join(words)}", style="bold", markup=False, soft_wrap=True)
        console.print(self.cluster.kubectl(*words).stdout.rstrip(), markup=False, soft_wrap=True)

    def table(self, answers: Answers) -> None:
        """Show who answered how many requests."""
        table = Table("version", "answered", "share", "")
        for name, model in (("v1", self.v1), ("v2", self.v2)):
            count = answers.count(model.addresses())
            share = 100 * count / len(answers.all)
            table.add_row(name, str(count), f"{share:.1f} %", "█" * round(share / 2))
        console.print(table)


def scaling_is_built(say: Callable[[str], Any]) -> None:
    """Wait for the programs that are still being built outside."""
    deadline = time.monotonic() + 3600
    while unfinished := missing(PARTS["scaling"]):
        if time.monotonic() > deadline:
            raise AssertionError("the programs for scaling were not built within an hour")
        say(f"waiting for the build of {', '.join(module.name for module in unfinished)}")
        time.sleep(15)


def check(claim: str, holds: bool) -> None:
    """Print a claim that holds; one that doesn't ends the show."""
    assert holds, f"not so: {claim}"
    console.print(f"✓ {claim}", style="green", markup=False)


if __name__ == "__main__":
    sys.exit(main())
