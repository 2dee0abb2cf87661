"""``metrics.k8s.io`` as the tests script it: kwok's pods burn no CPU, so tests say how much each pod uses.

The real HPA controller asks it through the apiserver, as it would ask metrics-server.  It runs in a thread of the
stack's owner, and answers for the pods that exist at that moment.
"""

from __future__ import annotations

import json
import ssl
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.stack.addresses import HOST, METRICS_API
from tests.stack.cluster import Cluster, Manifest
from tests.stack.pki import Certificate
from tests.stack.services import api_service, service_on_host

API = "v1beta1.metrics.k8s.io"
SERVICE = "metrics-server"
NAMESPACE = "kube-system"
_GROUP = "metrics.k8s.io/v1beta1"
_RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": _GROUP,
    "resources": [
        {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
    ],
}


class MetricsApi:
    """Pods' CPU as tests set it: ``stack.cpu.use("my-namespace", "llm-v1", millicores=80)``."""

    def __init__(self, cluster: Cluster, certificate: Certificate) -> None:
        self._cluster = cluster
        self._millicores: dict[tuple[str, str], int] = {}
        self._server = ThreadingHTTPServer((HOST, METRICS_API), _handler(self._list))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.cert, certificate.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def start(self, ca_bundle: str) -> None:
        """Serve, and register with the apiserver."""
        threading.Thread(target=self._server.serve_forever, name="metrics-api", daemon=True).start()
        ports = {"https": (443, METRICS_API)}
        service = service_on_host(SERVICE, NAMESPACE, HOST, ports)
        self._cluster.apply(*service, api_service(API, SERVICE, NAMESPACE, ca_bundle))

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def use(self, namespace: str, app: str, *, millicores: int) -> None:
        """Let each pod labelled ``app`` use so much CPU from now on; a pod nobody spoke of has no metrics at all."""
        self._millicores[namespace, app] = millicores

    def forget(self, namespace: str, app: str) -> None:
        """Have no metrics for these pods, as if the metrics pipeline had failed."""
        self._millicores.pop((namespace, app), None)

    def _list(self, namespace: str, selector: str | None) -> Manifest:
        pods = self._cluster.items("Pod", namespace, selector)
        measured = [(pod, self._usage(pod)) for pod in pods if pod["status"].get("phase") == "Running"]
        items = [_pod_metrics(pod, usage) for pod, usage in measured if usage is not None]
        return {"kind": "PodMetricsList", "apiVersion": _GROUP, "metadata": {}, "items": items}

    def _usage(self, pod: Manifest) -> int | None:
        metadata = pod["metadata"]
        return self._millicores.get((metadata["namespace"], metadata.get("labels", {}).get("app", "")))


def _pod_metrics(pod: Manifest, millicores: int) -> dict[str, Any]:
    kept = {key: pod["metadata"][key] for key in ("name", "namespace", "labels")}
    usage = {"cpu": f"{millicores}m", "memory": "64Mi"}
    return {
        "metadata": kept,
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        # The HPA ignores a young pod until a whole window lies after it became ready.
        "window": "1s",
        "containers": [{"name": item["name"], "usage": usage} for item in pod["spec"]["containers"]],
    }


def _handler(list_pods: Any) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            words = url.path.strip("/").split("/")
            match words:
                case ["apis", "metrics.k8s.io", "v1beta1"]:
                    self._send(200, _RESOURCES)
                case ["apis", "metrics.k8s.io", "v1beta1", "namespaces", namespace, "pods"]:
                    self._send(200, list_pods(namespace, parse_qs(url.query).get("labelSelector", [None])[0]))
                case _:
                    self._send(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})

        def _send(self, status: int, body: Manifest) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing: the apiserver asks every few seconds."""

    return Handler
