"""EnvoyFilters: what Istio's own API cannot say of a policy's routes, hosts and clusters.

Called by :mod:`aigateway.core.reconcile`, with only those fields left in the policy that may be in effect.  One object
for the gateways' proxies of each namespace where the administrator allows it, and one in the policy's own namespace for
clients in the mesh.  Rules that shape the output:

- Only routes, virtual hosts and clusters are patched, never a listener: a changed listener drains its connections, and
  with them the token streams of every other policy.  Filters of a listener are there already, in the gateway filter,
  and routes switch them on.
- Routes are matched by name alone; a virtual host by its domain, since its name has the port of the gateway in it.
  Such a patch reaches every port of the host, also where others have routes: what it adds acts on this policy's alone.
- MERGE adds to lists; nothing here is in a list that Istio fills.
- A proxy merges changes of health for up to a second (``update_merge_window``) and sends requests to ejected replicas
  meanwhile; where replicas are ejected, that is switched off.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

from aigateway.api.administrator import Administrator
from aigateway.api.resolved import (
    ENVOY_BACKOFF,
    AccessLog,
    CircuitBreaker,
    ErrorFormat,
    Milliseconds,
    ResolvedPolicy,
)
from aigateway.core.decision import Decision
from aigateway.core.gateway.route_extension import bounded_keys, deadline, rate_limits, route_metadata
from aigateway.core.identity import gateway_envoy_filter, generated, mesh_envoy_filter
from aigateway.core.routes import base_name, retries_at_all, route_names, stat_prefix

Body = dict[str, Any]

GATEWAY = "GATEWAY"
SIDECAR = "SIDECAR_OUTBOUND"


def render_envoy_filters(policy: ResolvedPolicy, decision: Decision, administrator: Administrator) -> tuple[Body, ...]:
    """Return the EnvoyFilters that there should be; none where there is nothing to say, or no leave to say it."""
    if not administrator.envoy_filter_namespaces:
        return ()
    rendered = []
    if decision.route_gateway and (patches := list(_patches(policy, decision, administrator, GATEWAY))):
        rendered += [
            generated(policy, gateway_envoy_filter(policy.key, namespace), {"configPatches": patches})
            for namespace in administrator.envoy_filter_namespaces
        ]
    if decision.route_mesh and (patches := list(_patches(policy, decision, administrator, SIDECAR))):
        rendered.append(generated(policy, mesh_envoy_filter(policy.key), {"configPatches": patches}))
    return tuple(rendered)


def _patches(policy: ResolvedPolicy, decision: Decision, administrator: Administrator, context: str) -> Iterator[Body]:
    for name, idempotent in route_names(policy):
        value = _route(policy, idempotent=idempotent)
        if context == GATEWAY:
            value |= _extension(policy, idempotent=idempotent)
        if value:
            yield _patch("HTTP_ROUTE", {"routeConfiguration": {"vhost": {"route": {"name": name}}}}, value, context)
    if context == GATEWAY and policy.rate_limits:
        limits = rate_limits(policy.rate_limits, policy=str(policy.key), stat_prefix=stat_prefix(base_name(policy.key)))
        for host in policy.hosts:
            yield _patch("VIRTUAL_HOST", {"routeConfiguration": {"vhost": {"domainName": host}}}, limits, context)
    if policy.circuit_breaker is not None:
        value = _cluster(policy.circuit_breaker)
        for backend in decision.connected:
            service = f"{backend.service}.{policy.key.namespace}.svc.{administrator.cluster_domain}"
            yield _patch("CLUSTER", {"cluster": {"service": service}}, value, context)


def _patch(target: str, match: Body, value: Body, context: str) -> Body:
    return {
        "applyTo": target,
        "match": {"context": context, **match},
        "patch": {"operation": "MERGE", "value": value},
    }


def _extension(policy: ResolvedPolicy, *, idempotent: bool) -> Body:
    """Return what makes the filters of the gateway act on a route; empty: nothing is asked of them."""
    log = None if policy.access_log is AccessLog.NONE else str(policy.access_log)
    json = policy.error_format is ErrorFormat.JSON
    parts: list[Body] = [bounded_keys(policy.rate_limits)]
    if json or log or policy.rate_limits:
        repeats = retries_at_all(policy.retries, idempotent=idempotent) and idempotent
        parts.append({"metadata": route_metadata(str(policy.key), errors_json=json, log=log, repeats=repeats)})
    if policy.timeouts.deadline_header is not None:
        retries = policy.retries
        part = deadline(
            policy.timeouts.deadline_header,
            request=policy.timeouts.request,
            per_try=policy.timeouts.per_try,
            backoff=retries.backoff.initial if retries.backoff else ENVOY_BACKOFF,
            attempts=retries.attempts if retries_at_all(retries, idempotent=idempotent) else 0,
        )
        parts.append(part)
    return reduce(_merged, parts, {})


def _merged(one: Body, other: Body) -> Body:
    """Return two parts of a route as one; what both have are objects, or the same."""
    both = {name: _merged(one[name], other[name]) for name in one.keys() & other.keys() if isinstance(one[name], dict)}
    return {**one, **other, **both}


def _route(policy: ResolvedPolicy, *, idempotent: bool) -> Body:
    """Return what one of Envoy's routes gets beyond what its VirtualService says; empty: nothing."""
    action: Body = {}
    retry_policy = _retry_policy(policy, idempotent=idempotent)
    if retry_policy:
        action["retry_policy"] = retry_policy
    if policy.timeouts.idle is not None:
        action["idle_timeout"] = _seconds(policy.timeouts.idle)
    if policy.retries.hedge and idempotent:
        action["hedge_policy"] = {"hedge_on_per_try_timeout": True}
    route: Body = {"route": action} if action else {}
    if policy.retries.buffer_limit is not None:
        route["request_body_buffer_limit"] = policy.retries.buffer_limit
    return route


def _retry_policy(policy: ResolvedPolicy, *, idempotent: bool) -> Body:
    """Return the waits before retries, for a route that retries at all."""
    retries = policy.retries
    if not retries_at_all(retries, idempotent=idempotent):
        return {}
    waits: Body = {}
    if retries.backoff is not None and retries.backoff.maximum is not None:
        first, cap = retries.backoff.initial, retries.backoff.maximum
        waits["retry_back_off"] = {"base_interval": _seconds(first), "max_interval": _seconds(cap)}
    if retries.retry_after is not None and idempotent:
        waits["rate_limited_retry_back_off"] = {
            "max_interval": _seconds(retries.retry_after),
            "reset_headers": [{"name": "retry-after", "format": "SECONDS"}],
        }
    return waits


def _cluster(breaker: CircuitBreaker) -> Body:
    cluster: Body = {"common_lb_config": {"update_merge_window": "0s"}}
    detection: Body = {}
    if breaker.max_sleep_window is not None:
        detection["max_ejection_time"] = _seconds(breaker.max_sleep_window)
    if breaker.failure_percent is not None:
        detection |= {
            "failure_percentage_threshold": breaker.failure_percent,
            "enforcing_failure_percentage": 100,
            "enforcing_failure_percentage_local_origin": 100,
            "failure_percentage_minimum_hosts": 1,
            "failure_percentage_request_volume": breaker.min_requests,
        }
    return {**cluster, "outlier_detection": detection} if detection else cluster


def _seconds(milliseconds: Milliseconds) -> str:
    """Return a duration as protobuf's JSON has it: ``0.200s``."""
    return f"{milliseconds // 1000}.{milliseconds % 1000:03}s"
