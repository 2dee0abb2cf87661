"""KEDA: operator, external metrics adapter and admission webhooks, registered as its chart would.

Called by :mod:`tests.stack.stack`.
"""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.stack.addresses import (
    HOST,
    KEDA_ADAPTER_METRICS,
    KEDA_GRPC,
    KEDA_METRICS_API,
    KEDA_OPERATOR_METRICS,
    KEDA_OPERATOR_READY,
    KEDA_WEBHOOKS,
    KEDA_WEBHOOKS_METRICS,
    KEDA_WEBHOOKS_READY,
)
from tests.stack.build import Tools
from tests.stack.cluster import Cluster, Manifest
from tests.stack.control_plane import KEDA
from tests.stack.istio import answers
from tests.stack.pki import Pki
from tests.stack.processes import Processes
from tests.stack.services import api_service, is_available, namespace_manifest, service_on_host

NAMESPACE = "keda"
_METRICS = "keda-metrics-apiserver"
_WEBHOOKS = "keda-admission-webhooks"
_API = "v1beta1.external.metrics.k8s.io"


@dataclass(frozen=True)
class Keda:
    """Starts KEDA's programs into ``processes``."""

    tools: Tools
    processes: Processes
    pki: Pki
    cluster: Cluster
    folder: Path

    def start(self) -> None:
        """Install KEDA's definitions and start its programs, without waiting for them."""
        for definition in self.tools.asset_files("keda"):
            self.cluster.apply_file(definition)
        self.cluster.apply(
            namespace_manifest(NAMESPACE),
            *service_on_host(_METRICS, NAMESPACE, HOST, {"https": (443, KEDA_METRICS_API)}),
            *service_on_host(_WEBHOOKS, NAMESPACE, HOST, {"https": (443, KEDA_WEBHOOKS)}),
            api_service(_API, _METRICS, NAMESPACE, self.pki.ca_bundle),
        )
        certificates = self._certificates()
        self._start_operator(certificates)
        self._start_webhooks(certificates)
        self._start_adapter(certificates)

    def wait(self) -> None:
        """Wait until all three answer, then let the webhook judge ScaledObjects."""
        for name, port in (("keda-operator", KEDA_OPERATOR_READY), ("keda-webhooks", KEDA_WEBHOOKS_READY)):
            self.processes.wait_until(name, functools.partial(answers, f"http://127.0.0.1:{port}/readyz"))
        self.cluster.apply(_webhook(self.pki.ca_bundle))
        self.processes.wait_until("keda-adapter", lambda: is_available(self.cluster, _API))

    def _certificates(self) -> Path:
        names = (f"{_METRICS}.{NAMESPACE}.svc", f"{_WEBHOOKS}.{NAMESPACE}.svc", "keda-operator", "localhost")
        issued = self.pki.issue("keda", *names)
        folder = self.folder / "keda"
        folder.mkdir()
        for source, name in ((issued.cert, "tls.crt"), (issued.key, "tls.key"), (self.pki.ca_cert, "ca.crt")):
            shutil.copyfile(source, folder / name)
        return folder

    def _environment(self) -> dict[str, str]:
        return {
            "KUBECONFIG": str(self.pki.kubeconfig(KEDA)),
            "POD_NAMESPACE": NAMESPACE,
            "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE,
            "WATCH_NAMESPACE": "",
        }

    def _start_operator(self, certificates: Path) -> None:
        self.processes.start(
            "keda-operator",
            self.tools.path("keda-operator"),
            f"--cert-dir={certificates}",
            "--enable-cert-rotation=false",
            f"--metrics-bind-address=127.0.0.1:{KEDA_OPERATOR_METRICS}",
            f"--health-probe-bind-address=127.0.0.1:{KEDA_OPERATOR_READY}",
            f"--metrics-service-bind-address=127.0.0.1:{KEDA_GRPC}",
            "--zap-log-level=info",
            "--zap-encoder=console",
            environment=self._environment(),
        )

    def _start_webhooks(self, certificates: Path) -> None:
        self.processes.start(
            "keda-webhooks",
            self.tools.path("keda-webhooks"),
            f"--cert-dir={certificates}",
            f"--port={KEDA_WEBHOOKS}",
            f"--metrics-bind-address=127.0.0.1:{KEDA_WEBHOOKS_METRICS}",
            f"--health-probe-bind-address=127.0.0.1:{KEDA_WEBHOOKS_READY}",
            "--zap-log-level=info",
            "--zap-encoder=console",
            environment=self._environment(),
        )

    def _start_adapter(self, certificates: Path) -> None:
        kubeconfig = self.pki.kubeconfig(KEDA)
        self.processes.start(
            "keda-adapter",
            self.tools.path("keda-adapter"),
            f"--secure-port={KEDA_METRICS_API}",
            f"--bind-address={HOST}",
            f"--port={KEDA_ADAPTER_METRICS}",
            f"--client-ca-file={self.pki.ca_cert}",
            f"--tls-cert-file={certificates / 'tls.crt'}",
            f"--tls-private-key-file={certificates / 'tls.key'}",
            f"--cert-dir={certificates}",
            f"--lister-kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--metrics-service-address=localhost:{KEDA_GRPC}",
            "--zap-log-level=info",
            environment=self._environment(),
        )


def _webhook(ca_bundle: str) -> Manifest:
    service = {"name": _WEBHOOKS, "namespace": NAMESPACE, "path": "/validate-keda-sh-v1alpha1-scaledobject"}
    rule = {
        "apiGroups": ["keda.sh"],
        "apiVersions": ["v1alpha1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["scaledobjects"],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "keda-admission"},
        "webhooks": [
            {
                "name": "vscaledobject.kb.io",
                "clientConfig": {"caBundle": ca_bundle, "service": service},
                "rules": [rule],
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
