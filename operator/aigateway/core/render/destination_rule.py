"""DestinationRules: how each proxy connects to one backend.

Called by :mod:`aigateway.core.reconcile`.  One object per backend's Service, and only where the policy asks for
something: an empty traffic policy is refused by Istio, and a rule without content would still shadow the
mesh's defaults.
"""

from __future__ import annotations

from typing import Any

from aigateway.api.administrator import Administrator
from aigateway.api.resolved import ConnectionPool, ResolvedPolicy
from aigateway.api.types import format_duration
from aigateway.core.decision import Decision
from aigateway.core.identity import destination_rule, generated


def render_destination_rules(
    policy: ResolvedPolicy, decision: Decision, administrator: Administrator
) -> tuple[dict[str, Any], ...]:
    """Return one DestinationRule for every backend whose connections the policy configures."""
    if policy.connection_pool is None:
        return ()
    return tuple(
        generated(
            policy,
            destination_rule(policy.key, backend.name),
            {
                "host": f"{backend.service}.{policy.key.namespace}.svc.{administrator.cluster_domain}",
                "exportTo": administrator.export_to(policy.key.namespace),
                "trafficPolicy": {"connectionPool": _connection_pool(policy.connection_pool)},
            },
        )
        for backend in decision.connected
    )


def _connection_pool(pool: ConnectionPool) -> dict[str, Any]:
    tcp: dict[str, Any] = {}
    if pool.max_open is not None:
        tcp["maxConnections"] = pool.max_open
    if pool.connect_timeout is not None:
        tcp["connectTimeout"] = format_duration(pool.connect_timeout)
    if pool.max_lifetime is not None:
        tcp["maxConnectionDuration"] = format_duration(pool.max_lifetime)
    http = {} if pool.max_pending is None else {"http1MaxPendingRequests": pool.max_pending}
    return {name: part for name, part in (("tcp", tcp), ("http", http)) if part}
