"""DestinationRules: how each proxy connects to one backend, and when it leaves a replica out.

Called by :mod:`aigateway.core.reconcile`.  One object per backend's Service, and only where the policy asks for
something: an empty traffic policy is refused by Istio, and a rule without content would still shadow the
mesh's defaults.  Rules of Istio that shape the output:

- ``retryBudget`` needs both of its fields: some versions take an absent percentage for 0.2 %.  ``budgetInterval`` is
  never written: with it the budget counts retries under way against the requests of the whole interval.
- ``consecutiveLocalOriginFailures`` needs ``splitExternalLocalOriginErrors``, which also keeps failures to connect out
  of the other counts.
- ``localityLbSetting`` moves traffic only where outlier detection says that replicas are lost.  Where the policy names
  no regions, what the mesh has set holds.
"""

from __future__ import annotations

from typing import Any

from aigateway.api.administrator import Administrator
from aigateway.api.resolved import (
    Balancing,
    Budget,
    CircuitBreaker,
    ConnectionPool,
    LoadBalancing,
    Milliseconds,
    ResolvedPolicy,
)
from aigateway.api.types import format_duration
from aigateway.core.decision import Decision
from aigateway.core.identity import destination_rule, generated

_SIMPLE = {
    Balancing.LEAST_REQUEST: "LEAST_REQUEST",
    Balancing.ROUND_ROBIN: "ROUND_ROBIN",
    Balancing.RANDOM: "RANDOM",
}
_KEEP_ALIVE_PROBES = 3
"""Lost probes after which a connection counts as dead."""
_KEEP_ALIVE_INTERVAL: Milliseconds = 5_000
"""Time between the probes of a silent connection; a live one answers within a round trip."""

Body = dict[str, Any]


def render_destination_rules(
    policy: ResolvedPolicy, decision: Decision, administrator: Administrator
) -> tuple[Body, ...]:
    """Return one DestinationRule for every backend whose connections the policy configures."""
    asked = traffic_policy(policy)
    if not asked:
        return ()
    return tuple(
        generated(
            policy,
            destination_rule(policy.key, backend.name),
            {
                "host": f"{backend.service}.{policy.key.namespace}.svc.{administrator.cluster_domain}",
                "exportTo": administrator.export_to(policy.key.namespace),
                "trafficPolicy": asked,
            },
        )
        for backend in decision.connected
    )


def traffic_policy(policy: ResolvedPolicy) -> Body:
    """Return everything but what is empty."""
    breaker = policy.circuit_breaker
    parts = {
        "connectionPool": _connection_pool(policy.connection_pool) if policy.connection_pool else {},
        "outlierDetection": _outlier_detection(breaker) if breaker else {},
        "loadBalancer": _load_balancer(policy.load_balancing or LoadBalancing()),
        "retryBudget": _retry_budget(policy.retries.budget) if policy.retries.budget else {},
    }
    return {name: part for name, part in parts.items() if part}


def _connection_pool(pool: ConnectionPool) -> Body:
    tcp: Body = {}
    if pool.max_open is not None:
        tcp["maxConnections"] = pool.max_open
    if pool.connect_timeout is not None:
        tcp["connectTimeout"] = format_duration(pool.connect_timeout)
    if pool.max_lifetime is not None:
        tcp["maxConnectionDuration"] = format_duration(pool.max_lifetime)
    if pool.keep_alive is not None:
        tcp["tcpKeepalive"] = {
            "time": format_duration(pool.keep_alive),
            "interval": format_duration(_KEEP_ALIVE_INTERVAL),
            "probes": _KEEP_ALIVE_PROBES,
        }
    return {name: part for name, part in (("tcp", tcp), ("http", _http(pool))) if part}


def _http(pool: ConnectionPool) -> Body:
    http: Body = {}
    if pool.max_pending is not None:
        http["http1MaxPendingRequests"] = pool.max_pending
    if pool.max_requests is not None:
        http["http2MaxRequests"] = pool.max_requests  # of its time: Envoy counts requests over HTTP/1.1 by it as well
    if pool.keep_alive is not None and pool.pings:
        http["http2KeepAlive"] = {
            "interval": format_duration(pool.keep_alive),
            "timeout": format_duration(_KEEP_ALIVE_INTERVAL),
        }
    return http


def _outlier_detection(breaker: CircuitBreaker) -> Body:
    body: Body = {
        "consecutive5xxErrors": breaker.consecutive_errors,
        "splitExternalLocalOriginErrors": True,
        "consecutiveLocalOriginFailures": breaker.consecutive_connect_failures,
        "interval": format_duration(breaker.interval),
        "baseEjectionTime": format_duration(breaker.sleep_window),
        "maxEjectionPercent": breaker.max_ejection_percent,
    }
    if breaker.consecutive_gateway_errors is not None:
        body["consecutiveGatewayErrors"] = breaker.consecutive_gateway_errors
    return body


def _load_balancer(balancing: LoadBalancing) -> Body:
    body: Body = {}
    if balancing.hash_header is not None:
        body["consistentHash"] = {"httpHeaderName": balancing.hash_header}
    elif balancing.hash_query_parameter is not None:
        body["consistentHash"] = {"httpQueryParameterName": balancing.hash_query_parameter}
    elif balancing.policy is not None or balancing.warmup is not None:
        body["simple"] = _SIMPLE[balancing.policy or Balancing.LEAST_REQUEST]
    if balancing.warmup is not None:
        body["warmup"] = {"duration": format_duration(balancing.warmup)}
    if balancing.locality_failover:
        pairs = [{"from": source, "to": to} for source, to in balancing.locality_failover]
        body["localityLbSetting"] = {"enabled": True, "failover": pairs}
    return body


def _retry_budget(budget: Budget) -> Body:
    return {"percent": budget.percent, "minRetryConcurrency": budget.min_concurrency}
