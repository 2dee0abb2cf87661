"""ScaledObjects: one per model version, safe when metrics are missing.

Called by :mod:`aigateway.core.reconcile`.  Rules of KEDA and the HorizontalPodAutoscaler that shape the output:

- ``ignoreNullValues`` is true by default and turns an empty answer into 0, which scales to the minimum at peak: it is
  set to false, and the fallback ``currentReplicasIfHigher`` holds the replicas where they are.
- ``AverageValue`` divides the metric by the replicas; right for totals such as requests per second, wrong for a
  latency, which is a ``Value`` and is clamped to twice its threshold so that one bad minute at most doubles the
  replicas.
- A latency has no value without traffic.  Only a request rate that is known to be 0 makes it 0; no series at all stays
  no answer.
- Each change of the spec restarts KEDA's loop, so that nothing that flutters (times, floats) is rendered.
"""

from __future__ import annotations

from typing import Any

from aigateway.api.administrator import Administrator, ScalingDefaults
from aigateway.api.resolved import (
    Autoscaling,
    CPURule,
    LatencyRule,
    QueueLengthRule,
    RequestRateRule,
    ResolvedPolicy,
    Rule,
)
from aigateway.core.decision import Decision, Scaler
from aigateway.core.identity import generated, scaled_object

_FAILURES_BEFORE_FALLBACK = 3
"""KEDA falls back when a metric has failed more often than this; until then the HPA gets an error and holds."""

_DEFAULT_SCALE_UP = [
    {"type": "Percent", "value": 100, "periodSeconds": 60},
    {"type": "Pods", "value": 2, "periodSeconds": 60},
]
"""Double, or two more, in a minute: a model takes minutes to load, so more would be an answer to an old question."""

_SCALE_DOWN = [{"type": "Percent", "value": 50, "periodSeconds": 60}]

_CLAMP = 2


def render_scaled_objects(
    policy: ResolvedPolicy, decision: Decision, administrator: Administrator
) -> tuple[dict[str, Any], ...]:
    """Return one ScaledObject for every backend that is scaled."""
    return tuple(
        generated(policy, scaled_object(policy.key, scaler.backend.name), _spec(policy, scaler, administrator))
        for scaler in decision.scalers
    )


def _spec(policy: ResolvedPolicy, scaler: Scaler, administrator: Administrator) -> dict[str, Any]:
    autoscaling = scaler.autoscaling
    spec: dict[str, Any] = {
        "scaleTargetRef": {
            "apiVersion": "apps/v1",
            "kind": str(scaler.backend.workload.kind),
            "name": scaler.backend.workload.name,
        },
        "minReplicaCount": autoscaling.min_replicas,
        "maxReplicaCount": autoscaling.max_replicas,
        "pollingInterval": administrator.scaling.polling_interval_seconds,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(autoscaling)}},
        "triggers": [_trigger(rule, policy, scaler, administrator) for rule in autoscaling.rules],
    }
    if scaler.fallback and any(not isinstance(rule, CPURule) for rule in autoscaling.rules):
        # KEDA refuses a fallback where there is only a CPU trigger; the HPA itself holds on missing CPU metrics.
        spec["fallback"] = {
            "failureThreshold": _FAILURES_BEFORE_FALLBACK,
            "replicas": autoscaling.min_replicas,
            "behavior": "currentReplicasIfHigher",
        }
    return spec


def _behavior(autoscaling: Autoscaling) -> dict[str, Any]:
    up = _DEFAULT_SCALE_UP
    if autoscaling.scale_up is not None:
        period = autoscaling.scale_up.period // 1000
        up = [{"type": "Pods", "value": autoscaling.scale_up.max_add_replicas, "periodSeconds": period}]
    return {
        "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": up},
        "scaleDown": {
            "stabilizationWindowSeconds": autoscaling.scale_down_stabilization // 1000,
            "selectPolicy": "Max",
            "policies": _SCALE_DOWN,
        },
    }


def _trigger(rule: Rule, policy: ResolvedPolicy, scaler: Scaler, administrator: Administrator) -> dict[str, Any]:
    requests = _requests(policy, scaler, administrator.scaling)
    match rule:
        case RequestRateRule(target):
            return _prometheus("request-rate", "AverageValue", requests, target, administrator.scaling)
        case LatencyRule(percentile, threshold):
            query = _latency(policy, scaler, percentile, threshold, administrator.scaling)
            return _prometheus("latency", "Value", f"{query} or {requests} == 0", threshold, administrator.scaling)
        case QueueLengthRule(total):
            query = f"clamp_max({_queue(policy, scaler, administrator.cluster_domain)}, {_CLAMP * total})"
            return _prometheus("queue-length", "Value", query, total, administrator.scaling)
        case CPURule(utilization):
            metadata = {"value": str(utilization)}
            return {"type": "cpu", "name": "cpu", "metricType": "Utilization", "metadata": metadata}


def _prometheus(name: str, metric_type: str, query: str, threshold: int, scaling: ScalingDefaults) -> dict[str, Any]:
    return {
        "type": "prometheus",
        "name": name,
        "metricType": metric_type,
        "metadata": {
            "serverAddress": scaling.prometheus_address or "",
            "query": query,
            "threshold": str(threshold),
            "ignoreNullValues": "false",
        },
    }


def _selector(policy: ResolvedPolicy, scaler: Scaler) -> str:
    # Counted by who sends: that includes requests that never reached a pod, and counts a retried request once.
    return (
        f'reporter="source",destination_service_namespace="{policy.key.namespace}",'
        f'destination_service_name="{scaler.backend.service}"'
    )


def _requests(policy: ResolvedPolicy, scaler: Scaler, scaling: ScalingDefaults) -> str:
    """Return requests per second, over all proxies (Istio's standard metric)."""
    return f"sum(rate(istio_requests_total{{{_selector(policy, scaler)}}}[{scaling.window_seconds}s]))"


def _latency(policy: ResolvedPolicy, scaler: Scaler, percentile: int, threshold: int, scaling: ScalingDefaults) -> str:
    """Return a percentile of the request duration in milliseconds; nothing, not NaN, where there was no request."""
    buckets = f"istio_request_duration_milliseconds_bucket{{{_selector(policy, scaler)}}}[{scaling.window_seconds}s]"
    quantile = f"histogram_quantile(0.{percentile:02d}, sum by (le) (rate({buckets})))"
    return f"clamp_max({quantile}, {_CLAMP * threshold}) >= 0"


def _queue(policy: ResolvedPolicy, scaler: Scaler, cluster_domain: str) -> str:
    """Return the requests that wait in the proxies for a connection to the backend (Envoy's own gauge)."""
    host = f"{scaler.backend.service}.{policy.key.namespace}.svc.{cluster_domain}"
    return f'sum(envoy_cluster_upstream_rq_pending_active{{cluster_name="outbound|{scaler.port}||{host}"}})'
