"""Istio's standard request metrics out of stock Envoy: one count and one duration per request, at its source.

Istio's own proxy has a filter for them, which stock Envoy lacks.  Envoy's statistics access logger does the same: it
runs once when a request is over, whatever number of attempts it took.  Applied by :mod:`tests.stack.istio`; the label
that only Istio's filter could split is split when Prometheus scrapes (:data:`RELABELLING`).  Attempts stay countable
under Envoy's own names: ``envoy_cluster_upstream_rq_total``, all of them, and ``envoy_cluster_retry_upstream_rq``, the
retried answers by status.
"""

from __future__ import annotations

from typing import Any

from tests.stack.cluster import Manifest

_LOGGER = "type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config"
_HCM = "envoy.filters.network.http_connection_manager"
_HCM_TYPE = f"type.googleapis.com/{_HCM}.v3.HttpConnectionManager".replace("filters", "extensions.filters", 1)

_TAGS = {
    "reporter": "source",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "request_protocol": "http",
}

_CLUSTER = r"outbound\|\d+\|[^|]*\|(([^.]+)\.([^.]+)\.svc\..+)"
"""Istio's cluster name of a Kubernetes Service: direction, port, subset, host."""

RELABELLING: list[dict[str, Any]] = [
    {"source_labels": ["__name__"], "regex": "envoy_(istio_.+)", "target_label": "__name__", "replacement": "$1"},
    *(
        {"source_labels": ["upstream_cluster"], "regex": _CLUSTER, "target_label": label, "replacement": group}
        for label, group in (
            ("destination_service", "$1"),
            ("destination_service_name", "$2"),
            ("destination_service_namespace", "$3"),
        )
    ),
    {"regex": "upstream_cluster", "action": "labeldrop"},
]
"""Prometheus metric relabelling that gives the metrics Istio's names and destination labels."""


def request_metrics(namespace: str) -> Manifest:
    """Return the EnvoyFilter that counts requests at gateways and at sidecars that send them.

    ``namespace`` is Istio's root namespace: the filter then holds for every proxy.
    """
    contexts = ("GATEWAY", "SIDECAR_OUTBOUND")
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "request-metrics", "namespace": namespace},
        "spec": {"configPatches": [_patch(context) for context in contexts]},
    }


def _patch(context: str) -> dict[str, Any]:
    merged = {"name": _HCM, "typed_config": {"@type": _HCM_TYPE, "access_log": [_logger()]}}
    return {
        "applyTo": "NETWORK_FILTER",
        "match": {"context": context, "listener": {"filterChain": {"filter": {"name": _HCM}}}},
        "patch": {"operation": "MERGE", "value": merged},
    }


def _logger() -> dict[str, Any]:
    tags = [{"name": name, "value_format": value} for name, value in _TAGS.items()]
    duration = {"name": "request_duration_milliseconds", "tags": tags}
    return {
        "name": "envoy.access_loggers.stats",
        "typed_config": {
            "@type": _LOGGER,
            "stat_prefix": "istio",
            "counters": [{"stat": {"name": "requests_total", "tags": tags}, "value_fixed": 1}],
            "histograms": [{"stat": duration, "unit": "Milliseconds", "value_format": "%DURATION%"}],
        },
    }
