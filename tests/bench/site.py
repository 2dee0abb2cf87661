"""The place where figures are measured: a running stack with policies on it, and the sides that take turns there.

A figure asks it for the number of policies that should stand there, for a running operator, or for the bare client.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench import load, objects
from tests.bench.audit import Trail
from tests.bench.load import Load
from tests.bench.sizes import Sizes
from tests.integration import operator_process
from tests.integration.operator_process import LEASE, OperatorProcess
from tests.stack.build import ensure
from tests.stack.cluster import Cluster, Manifest
from tests.stack.services import namespace_manifest
from tests.stack.stack import ROOT, Stack
from tests.stack.waiting import eventually

BARE = "bench-bare"
BARE_USER = f"system:serviceaccount:{operator_process.NAMESPACE}:{BARE}"
OPERATOR_USER = operator_process.USER
CONCURRENCY = 8
"""Policies in work at once: the operator's default."""
_TEMPLATE = 0
"""The policy whose children and status the bare client copies."""
_BARE_RULES: list[dict[str, list[str]]] = [
    {"apiGroups": ["aigateway.dev"], "resources": ["aigatewaypolicies"], "verbs": ["list", "watch"]},
    {"apiGroups": ["aigateway.dev"], "resources": ["aigatewaypolicies/status"], "verbs": ["patch"]},
    {"apiGroups": ["networking.istio.io"], "resources": ["virtualservices"], "verbs": ["create", "patch"]},
]


@dataclass
class Site:
    """One stack for all figures of a run, prepared by :func:`prepared`."""

    stack: Stack
    sizes: Sizes
    load: Load
    operator_kubeconfig: Path
    bare_kubeconfig: Path
    template: Path
    defined: str = ""
    """A definition that was made for the figures and goes with them."""
    _count: Iterator[int] = field(default_factory=itertools.count)
    extra_namespaces: set[str] = field(default_factory=set)
    _versions: int = 0
    _standing: int = 0

    @property
    def cluster(self) -> Cluster:
        """The administrator's access."""
        return self.stack.cluster

    def trail(self, user: str = OPERATOR_USER) -> Trail:
        """Follow what an account does from now on."""
        return Trail(self.stack.audit_log, user)

    def namespaces(self, *names: str) -> None:
        """Create namespaces that are this site's as well."""
        self.extra_namespaces |= set(names)
        self.cluster.apply(*map(namespace_manifest, names))

    # The policies -------------------------------------------------------------------------------------------------

    def versions(self, policies: int) -> None:
        """See to it that what so many policies refer to is there."""
        new = range(self._versions, policies)
        self.load.send(load.create(manifest) for number in new for manifest in objects.versions(number))
        self._versions = max(self._versions, policies)

    def stand(self, policies: int) -> None:
        """See to it that exactly so many policies are there; where they are not, all are made anew."""
        if self._standing != policies:
            self.clear()
            self.versions(policies)
            self.load.send(load.create(objects.policy(*objects.spot(number))) for number in range(policies))
            self._standing = policies

    def clear(self) -> None:
        """Delete every policy, and wait until what was generated for them is gone as well."""
        found = [item["metadata"] for item in self._items("AIGatewayPolicy")]
        self.load.send(load.delete("AIGatewayPolicy", item["namespace"], item["name"]) for item in found)
        eventually(lambda: not self._items("VirtualService"), "all is gone", within=120)
        self._standing = 0

    def leave(self) -> None:
        """Leave the cluster to others: start the deletion of everything that was made."""
        for name in (*objects.NAMESPACES, *self.extra_namespaces):
            self.cluster.delete("Namespace", name)
        if self.defined:
            self.cluster.delete("CustomResourceDefinition", self.defined)

    def _items(self, kind: str) -> list[Manifest]:
        """Return the objects of a kind in this site's namespaces; others may have theirs elsewhere."""
        mine = {*objects.NAMESPACES, *self.extra_namespaces}
        return [item for item in self.cluster.items(kind) if item["metadata"]["namespace"] in mine]

    def programmed(self) -> int:
        """Return how many policies say that their newest generation is in effect."""
        return sum(map(_is_programmed, self._items("AIGatewayPolicy")))

    def wait_programmed(self, policies: int) -> None:
        """Wait until so many policies are in effect."""
        eventually(lambda: self.programmed() >= policies, f"{policies} policies are in effect", within=180, every=0.5)

    # Who works ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def operator(self, namespaces: tuple[str, ...] = ()) -> Iterator[OperatorProcess]:
        """Run the operator as it is installed, with election, over all namespaces or some."""
        log = self.stack.processes.logs / f"operator-{next(self._count)}.log"
        settings = {
            "default-gateway": objects.GATEWAY,
            **({"namespaces": ",".join(namespaces)} if namespaces else {}),
            "leader-election": "true",
            "lease-namespace": operator_process.NAMESPACE,
            "lease-name": LEASE,
        }
        with OperatorProcess(self.operator_kubeconfig, log, settings) as running:
            eventually(running.leads, "the operator leads")
            yield running

    def settle(self, running: OperatorProcess, seconds: float = 1.5) -> None:
        """Wait until the operator has nothing in work and makes no request."""
        trail = self.trail()
        quiet_since = 0

        def at_rest() -> bool:
            nonlocal quiet_since
            busy = bool(trail.new()) or running.metric("aigateway_queue_depth") > 0
            quiet_since = 0 if busy else quiet_since + 1
            return quiet_since * 0.25 >= seconds

        eventually(at_rest, "the operator is at rest", within=120, every=0.25)

    @contextlib.contextmanager
    def bare(self, namespaces: tuple[str, ...]) -> Iterator[None]:
        """Run the bare client over the policies of some namespaces; :meth:`take_template` comes first."""
        arguments = (str(self.bare_kubeconfig), str(self.template), str(CONCURRENCY), *namespaces)
        command = [sys.executable, "-m", "tests.bench.bare", *arguments]
        log = self.stack.processes.logs / f"bare-{next(self._count)}.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
            try:
                if process.stdout is None or process.stdout.readline() != "ready\n":
                    raise RuntimeError(f"the bare client does not watch: {log.read_text()[-500:]}")
                yield
            finally:
                process.terminate()
                process.wait(10)

    def take_template(self) -> None:
        """Let the bare client write what the operator has written for the first policy, word by word."""
        namespace, name = objects.spot(_TEMPLATE)
        policy = self.cluster.get("AIGatewayPolicy", name, namespace)
        route = self.cluster.get("VirtualService", f"{name}-gateway", namespace)
        kept = ("name", "namespace", "labels", "annotations", "ownerReferences")
        route["metadata"] = {key: value for key, value in route["metadata"].items() if key in kept}
        template = {
            "namespace": namespace,
            "name": name,
            "uid": policy["metadata"]["uid"],
            "virtual_service": json.dumps(route),
            "status": json.dumps(policy["status"]),
        }
        self.template.write_text(json.dumps(template))


def _is_programmed(policy: Manifest) -> bool:
    conditions = {item["type"]: item for item in policy.get("status", {}).get("conditions", [])}
    programmed = conditions.get("Programmed", {})
    newest = policy["metadata"]["generation"]
    return (newest, "True") == (programmed.get("observedGeneration"), programmed.get("status"))


def prepared(stack: Stack, sizes: Sizes) -> Site:
    """Install the definitions, the namespaces and both accounts."""
    cluster = stack.cluster
    if cluster.find("CustomResourceDefinition", "virtualservices.networking.istio.io") is None:
        cluster.apply_file(ensure(["istio"], lambda _: None).asset("istio", "crd-all.gen.yaml"))
    operator_kubeconfig = operator_process.install(cluster)
    cluster.apply(*(namespace_manifest(name) for name in objects.NAMESPACES), *_bare_account())
    eventually(lambda: cluster.find("ServiceAccount", BARE, operator_process.NAMESPACE), "the account exists")
    return Site(
        stack,
        sizes,
        Load(cluster.kubeconfig),
        operator_kubeconfig,
        cluster.service_account_kubeconfig(operator_process.NAMESPACE, BARE),
        stack.folder / "bare-template.json",
        _define_scaled_objects(cluster),
    )


def _define_scaled_objects(cluster: Cluster) -> str:
    """See to it that ScaledObjects are known, which nobody writes here; return the definition that was made.

    The operator looks every half minute for a kind that the cluster lacks: that is a state of its own, not rest.
    """
    name = "scaledobjects.keda.sh"
    if cluster.find("CustomResourceDefinition", name) is not None:
        return ""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": schema, "subresources": {"status": {}}}
    names = {
        "plural": "scaledobjects",
        "singular": "scaledobject",
        "kind": "ScaledObject",
        "listKind": "ScaledObjectList",
    }
    spec = {"group": "keda.sh", "scope": "Namespaced", "names": names, "versions": [version]}
    metadata = {"name": name}
    made = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata}
    cluster.apply({**made, "spec": spec})
    cluster.wait_served(name)
    return name


def _bare_account() -> list[Manifest]:
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": BARE, "namespace": operator_process.NAMESPACE}
    common: dict[str, Any] = {"apiVersion": f"{group}/v1", "metadata": {"name": BARE}}
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {key: subject[key] for key in ("name", "namespace")},
        },
        {**common, "kind": "ClusterRole", "rules": _BARE_RULES},
        {
            **common,
            "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": BARE},
            "subjects": [subject],
        },
    ]
