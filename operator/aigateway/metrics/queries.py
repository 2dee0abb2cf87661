"""The closed table of what is asked of Prometheus: one query for each metric, for many backends at once.

:mod:`aigateway.metrics.sampler` asks them.  Names of Services and the cluster's domain are the only texts that get in,
matched as a whole and letter by letter; nobody can write PromQL.  Every row of an answer names its backend's host in
the label ``destination_service``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aigateway.core.observation import Counted, Metric
from aigateway.core.signals import Target

HOST = "destination_service"
COUNTED = "counted"
"""The label that says what a share is a share of."""

_CLUSTER = r"outbound\\|[0-9]+\\|\\|(.+)"
"""Istio's name of an Envoy cluster without subset: direction, port, subset, host.  In PromQL's quotes."""


_FAILED = 'response_code=~"5.."'


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a query is about: ``hosts`` of Services, their Envoy ``clusters``, and the range of rates in seconds."""

    hosts: Sequence[str]
    clusters: Sequence[str]
    window: int


def host_of(target: Target, cluster_domain: str) -> str:
    """Return the name by which Istio knows a Service."""
    return f"{target.service}.{target.namespace}.svc.{cluster_domain}"


def query(metric: Metric, targets: Sequence[Target], window: int, cluster_domain: str) -> str:
    """Return the PromQL that gives a metric of all targets; ``window`` must span at least four scrapes."""
    hosts = {target: host_of(target, cluster_domain) for target in targets}
    clusters = [f"outbound|{port}||{hosts[target]}" for target in targets for port in target.ports]
    return _QUERIES[metric](Scope(sorted(set(hosts.values())), clusters, window))


def _request_rate(scope: Scope) -> str:
    return _sum(_requests(scope))


def _latency_p99(scope: Scope) -> str:
    """Return the P99 of whole requests, retries included; no row, not NaN, where there was no request."""
    buckets = _requests(scope, name="istio_request_duration_milliseconds_bucket")
    return f"histogram_quantile(0.99, sum by ({HOST}, le) ({buckets})) >= 0"


def _failure_percent(scope: Scope) -> str:
    """Return the share of attempts that failed, or of requests where attempts are not counted; no row without traffic.

    Only Envoy's own statistics show an attempt that was retried.
    """
    failed = f"{_requests(scope, _FAILED)} or 0 * {_requests(scope)}"
    of_requests = _share(_sum(failed), _sum(_requests(scope)), Counted.REQUESTS)
    if not scope.clusters:
        return of_requests
    return f"{_share_of_attempts(scope)} or on ({HOST}) {of_requests}"


def _share_of_attempts(scope: Scope) -> str:
    """Return the share of the attempts that are over: final answers, and what was retried.

    A retried attempt has failed, unless it was answered with a status below 500 that the policy retries.  Series of the
    united rates never have the same labels, but for the last, which are a 0 where nothing has failed.
    """
    final = _attempts(scope, "envoy_cluster_upstream_rq", 'response_code!=""')
    final_failed = _attempts(scope, "envoy_cluster_upstream_rq", _FAILED)
    retried = _attempts(scope, "envoy_cluster_upstream_rq_retry")
    retried_unfailed = _attempts(scope, "envoy_cluster_retry_upstream_rq", 'response_code=~"[1-4].."')
    failed = f"{final_failed} or {retried} or -{retried_unfailed} or 0 * {final}"
    return _share(_sum(_by_host(failed)), _sum(_by_host(f"{final} or {retried}")), Counted.ATTEMPTS)


def _share(part: str, whole: str, counted: Counted) -> str:
    """Return a percentage, with a label that says of what; no row where the whole is 0."""
    return f'label_replace(clamp(100 * {part} / ({whole} > 0), 0, 100), "{COUNTED}", "{counted}", "", "")'


def _requests(scope: Scope, *matchers: str, name: str = "istio_requests_total") -> str:
    """Return rates of Istio's metrics, counted by who sends: that includes requests that never reached a pod."""
    selector = ",".join(['reporter="source"', f'{HOST}=~"{_any_of(scope.hosts)}"', *matchers])
    return f"rate({name}{{{selector}}}[{scope.window}s])"


def _attempts(scope: Scope, name: str, *matchers: str) -> str:
    """Return rates of Envoy's statistics."""
    selector = ",".join([f'cluster_name=~"{_any_of(scope.clusters)}"', *matchers])
    return f"rate({name}{{{selector}}}[{scope.window}s])"


def _by_host(rates: str) -> str:
    """Return rates with the host in place of Envoy's cluster."""
    return f'label_replace({rates}, "{HOST}", "$1", "cluster_name", "{_CLUSTER}")'


def _sum(rates: str) -> str:
    return f"sum by ({HOST}) ({rates})"


def _any_of(texts: Sequence[str]) -> str:
    """Return a regular expression, for PromQL's quotes, that matches these texts alone; Prometheus anchors it."""
    return "|".join(re.sub(r"([^0-9A-Za-z_-])", r"\\\\\1", text) for text in texts)


_QUERIES: Mapping[Metric, Callable[[Scope], str]] = {
    Metric.FAILURE_PERCENT: _failure_percent,
    Metric.LATENCY_P99: _latency_p99,
    Metric.REQUEST_RATE: _request_rate,
}
