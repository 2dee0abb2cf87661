"""etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and kwok in the place of nodes and kubelets.

Called by :mod:`tests.stack.stack`.  It knows flags and start order, and nothing of Istio, KEDA or the operator.
"""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.stack.addresses import APISERVER, ETCD, ETCD_PEER, HOST, POD_CIDR, SERVICE_CIDR
from tests.stack.build import Tools
from tests.stack.cluster import Cluster
from tests.stack.pki import SERVER, Pki
from tests.stack.processes import Processes

ADMIN = "admin"
CONTROLLERS = "system:kube-controller-manager"
SCHEDULER = "system:kube-scheduler"
KWOK = "kwok"
ISTIOD = "istiod"
KEDA = "keda"
NODE = "node-0"

_AUDIT_POLICY = """\
# One line per finished request, without bodies: enough to count requests by account, verb and resource.
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted, Panic]
rules: [{level: Metadata}]
"""


@dataclass(frozen=True)
class ControlPlane:
    """Starts the Kubernetes programs of one run into ``processes``."""

    tools: Tools
    processes: Processes
    pki: Pki
    folder: Path

    @property
    def audit_log(self) -> Path:
        """The apiserver's audit log: one JSON object a line, only finished requests."""
        return self.folder / "audit.log"

    def start(self) -> Cluster:
        """Start everything and return the administrator's access, once a node is ready to take pods."""
        tokens = self.pki.write_tokens(ADMIN, CONTROLLERS, SCHEDULER, KWOK, ISTIOD, KEDA)
        self._start_etcd()
        self._start_apiserver(tokens)
        self.processes.wait_until("kube-apiserver", self._is_ready)
        self._start_controllers()
        self._start_scheduler()
        self._start_kwok()
        cluster = Cluster(self.pki.kubeconfig(ADMIN), self.tools.path("kubectl"))
        cluster.apply(_node())
        self.processes.wait_until("kube-controller-manager", lambda: _has_default_account(cluster))
        self.processes.wait_until("kwok", lambda: _node_is_ready(cluster))
        return cluster

    def stop(self) -> None:
        """Stop the clients of the apiserver together, then the apiserver, then etcd: else each waits for the next."""
        foundation = ("kube-apiserver", "etcd")
        self.processes.stop(*(name for name in self.processes.names() if name not in foundation))
        for name in foundation:
            self.processes.stop(name)

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{ETCD}", f"http://127.0.0.1:{ETCD_PEER}"
        self.processes.start(
            "etcd",
            self.tools.path("etcd"),
            "--name=stack",
            f"--data-dir={self.folder / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=stack={peer}",
            "--log-level=warn",
        )

    def _start_apiserver(self, tokens: Path) -> None:
        policy = self.folder / "audit-policy.yaml"
        policy.write_text(_AUDIT_POLICY)
        self.processes.start(
            "kube-apiserver",
            self.tools.path("kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{ETCD}",
            "--bind-address=127.0.0.1",
            f"--secure-port={APISERVER}",
            f"--advertise-address={HOST}",
            # The loopback address would be refused as an endpoint of the `kubernetes` Service; nobody uses it here.
            "--endpoint-reconciler-type=none",
            # No kube-proxy: webhooks and aggregated APIs are called at their endpoints, not at their Service's address.
            "--enable-aggregator-routing=true",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--allow-privileged=true",
            "--profiling=false",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self.audit_log}",
            *self._apiserver_identity(tokens),
        )

    def _apiserver_identity(self, tokens: Path) -> list[str]:
        names = (
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "127.0.0.1",
            "10.96.0.1",
            HOST,
        )
        serving = self.pki.issue("kube-apiserver", *names)
        proxy = self.pki.issue("front-proxy-client", "front-proxy-client", by=self.pki.front_proxy_ca)
        return [
            f"--tls-cert-file={serving.cert}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self.pki.ca_cert}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--anonymous-auth=true",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={self.pki.service_account_public_key}",
            f"--service-account-signing-key-file={self.pki.service_account_key}",
            f"--requestheader-client-ca-file={self.pki.front_proxy_ca_cert}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={proxy.cert}",
            f"--proxy-client-key-file={proxy.key}",
        ]

    def _start_controllers(self) -> None:
        self.processes.start(
            "kube-controller-manager",
            self.tools.path("kube-controller-manager"),
            *_account_flags(self.pki.kubeconfig(CONTROLLERS)),
            f"--service-account-private-key-file={self.pki.service_account_key}",
            f"--root-ca-file={self.pki.ca_cert}",
            "--use-service-account-credentials=true",
            f"--cluster-signing-cert-file={self.pki.ca_cert}",
            f"--cluster-signing-key-file={self.pki.ca_key}",
            # The default of 20 requests a second makes the first start take 5 s longer.
            "--kube-api-qps=300",
            "--kube-api-burst=600",
            "--horizontal-pod-autoscaler-sync-period=3s",
            "--profiling=false",
        )

    def _start_scheduler(self) -> None:
        flags = _account_flags(self.pki.kubeconfig(SCHEDULER))
        self.processes.start("kube-scheduler", self.tools.path("kube-scheduler"), *flags)

    def _start_kwok(self) -> None:
        stages = self.folder / "kwok-stages.yaml"
        stages.write_text("\n---\n".join(path.read_text() for path in self.tools.asset_files("kwok")))
        self.processes.start(
            "kwok",
            self.tools.path("kwok"),
            f"--kubeconfig={self.pki.kubeconfig(KWOK)}",
            "--manage-all-nodes",
            f"--cidr={POD_CIDR}",
            f"--node-ip={HOST}",
            "--node-lease-duration-seconds=40",
            f"--config={stages}",
        )

    def _is_ready(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.pki.ca_cert))
        try:
            with urllib.request.urlopen(f"{SERVER}/readyz", context=context, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def _account_flags(kubeconfig: Path) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


def _node() -> dict[str, object]:
    labels = {
        "kubernetes.io/hostname": NODE,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "type": "kwok",
    }
    metadata = {"name": NODE, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"podCIDR": POD_CIDR}}


def _has_default_account(cluster: Cluster) -> bool:
    return cluster.find("ServiceAccount", "default", "default") is not None


def _node_is_ready(cluster: Cluster) -> bool:
    node = cluster.find("Node", NODE)
    conditions = (node or {}).get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
