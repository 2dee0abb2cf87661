"""istiod with its validating webhook, and the Gateway object that policies attach to.

Called by :mod:`tests.stack.stack`.  The proxies that istiod configures are in :mod:`tests.stack.envoy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import requests

from tests.stack.addresses import (
    GATEWAY,
    HOST,
    ISTIOD_MONITORING,
    ISTIOD_READY,
    ISTIOD_SECURE_XDS,
    ISTIOD_WEBHOOK,
    ISTIOD_XDS,
)
from tests.stack.build import Tools
from tests.stack.cluster import Cluster, Manifest
from tests.stack.control_plane import ISTIOD
from tests.stack.pki import Pki
from tests.stack.processes import Processes
from tests.stack.services import namespace_manifest, service_on_host
from tests.stack.telemetry import request_metrics

NAMESPACE = "istio-system"
GATEWAY_NAME = "ai-gateway"
"""The Gateway object: HTTP at :data:`tests.stack.addresses.GATEWAY` for every host, in :data:`NAMESPACE`."""
GATEWAY_LABELS = {"istio": "ingressgateway", "app": "istio-ingressgateway"}

_WEBHOOK = "istio-validator-istio-system"
_MESH = f"""\
rootNamespace: {NAMESPACE}
trustDomain: cluster.local
accessLogFile: /dev/stdout
enablePrometheusMerge: false
# Without an istio-agent nobody answers for certificates: clusters with mutual TLS would never warm up.
enableAutoMtls: false
outboundTrafficPolicy: {{mode: REGISTRY_ONLY}}
defaultConfig: {{discoveryAddress: "127.0.0.1:{ISTIOD_XDS}"}}
"""
_ENVIRONMENT = {
    "POD_NAMESPACE": NAMESPACE,
    "POD_NAME": "istiod-0",
    "SERVICE_ACCOUNT": "istiod",
    "REVISION": "default",
    "CLUSTER_ID": "Kubernetes",
    "PILOT_CERT_PROVIDER": "istiod",
    "VALIDATION_WEBHOOK_CONFIG_NAME": "istio-validator",
    "INJECTION_WEBHOOK_CONFIG_NAME": "",
    "ENABLE_LEADER_ELECTION": "false",
    "PILOT_ENABLE_ANALYSIS": "false",
    # Filters that only Istio's own build of Envoy has; the stock Envoy would refuse every listener with one.
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    "PILOT_ENABLE_ALPN_FILTER": "false",
    "PILOT_DISABLE_MX_ALPN": "true",
}


@dataclass(frozen=True)
class Istio:
    """Starts istiod into ``processes``."""

    tools: Tools
    processes: Processes
    pki: Pki
    cluster: Cluster
    folder: Path

    def start(self) -> None:
        """Install Istio's definitions and webhook and start istiod, without waiting for it."""
        self.cluster.apply_file(self.tools.asset("istio", "crd-all.gen.yaml"))
        self.cluster.apply(namespace_manifest(NAMESPACE), *_istiod_service(), _webhook())
        mesh = self.folder / "mesh.yaml"
        mesh.write_text(_MESH)
        self.processes.start(
            "istiod",
            self.tools.path("pilot-discovery"),
            "discovery",
            f"--kubeconfig={self.pki.kubeconfig(ISTIOD)}",
            f"--meshConfig={mesh}",
            f"--grpcAddr=:{ISTIOD_XDS}",
            f"--secureGRPCAddr=:{ISTIOD_SECURE_XDS}",
            f"--httpsAddr=:{ISTIOD_WEBHOOK}",
            f"--monitoringAddr=:{ISTIOD_MONITORING}",
            f"--httpAddr=:{ISTIOD_READY}",
            "--ctrlz_port=0",
            "--domain=cluster.local",
            "--shutdownDuration=1s",
            environment=_ENVIRONMENT,
        )

    def wait(self) -> None:
        """Wait until istiod is ready and its webhook refuses bad objects, then create the Gateway."""
        self.processes.wait_until("istiod", lambda: answers(f"http://127.0.0.1:{ISTIOD_READY}/ready"))
        self.processes.wait_until("istiod's webhook", self._webhook_is_strict)
        self.cluster.apply(_plaintext(), request_metrics(NAMESPACE), gateway_manifest())

    def _webhook_is_strict(self) -> bool:
        # istiod itself fills in its certificate, and lets the webhook fail closed once it is reachable.
        found = self.cluster.get("ValidatingWebhookConfiguration", _WEBHOOK)
        return all(webhook["failurePolicy"] == "Fail" for webhook in found["webhooks"])


def answers(url: str) -> bool:
    """Return whether a GET of ``url`` succeeds."""
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def gateway_manifest() -> Manifest:
    """Return the Gateway for every host that the tests' policies attach to."""
    port = {"number": GATEWAY, "name": "http", "protocol": "HTTP"}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": GATEWAY_NAME, "namespace": NAMESPACE},
        "spec": {"selector": {"istio": GATEWAY_LABELS["istio"]}, "servers": [{"port": port, "hosts": ["*"]}]},
    }


def _plaintext() -> Manifest:
    # A sidecar's inbound listener would wait for a certificate for ever, see enableAutoMtls above.
    metadata = {"name": "default", "namespace": NAMESPACE}
    spec = {"mtls": {"mode": "DISABLE"}}
    return {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": metadata, "spec": spec}


def _istiod_service() -> list[Manifest]:
    ports = {
        "grpc-xds": (15010, ISTIOD_XDS),
        "https-dns": (15012, ISTIOD_SECURE_XDS),
        "https-webhook": (443, ISTIOD_WEBHOOK),
    }
    return service_on_host("istiod", NAMESPACE, HOST, ports)


def _webhook() -> Manifest:
    groups = ["security.istio.io", "networking.istio.io", "telemetry.istio.io", "extensions.istio.io"]
    rule = {"operations": ["CREATE", "UPDATE"], "apiGroups": groups, "apiVersions": ["*"], "resources": ["*"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": _WEBHOOK, "labels": {"app": "istiod", "istio": "istiod", "istio.io/rev": "default"}},
        "webhooks": [
            {
                "name": "rev.validation.istio.io",
                "clientConfig": {"service": {"name": "istiod", "namespace": NAMESPACE, "path": "/validate"}},
                "rules": [rule],
                "failurePolicy": "Ignore",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
