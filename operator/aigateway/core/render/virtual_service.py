"""VirtualServices: named routes first, then the weighted split.

Called by :mod:`aigateway.core.reconcile`.  Rules of Istio that shape the output:

- A route without ``retries`` gets the mesh's default, so every route carries an explicit block, and ``attempts: 0``
  stands alone (Istio refuses other retry fields beside it).
- Durations of zero are refused, so an unset timeout is left out.
- ``prefix`` matches characters; a path prefix of ours means path segments, so ``/v1`` becomes ``/v1`` exactly or
  ``/v1/`` as prefix.
- Envoy retries any method.  Where a policy asks for retries of requests that a backend may have begun to process, each
  route is written twice: for idempotent requests with all conditions, then for the rest with the safe ones.
- ``backoff`` is Envoy's base interval: the wait before the n-th retry is drawn between 0 and (2^n - 1) times as much.
- ``statPrefix`` makes Envoy count retries of each route; it stands in a match, so that every route has one.
- Gateways merge the VirtualServices of a host, sidecars use only one: gateway and mesh traffic get one object each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aigateway.api.administrator import Administrator
from aigateway.api.resolved import (
    Backend,
    Match,
    ResolvedPolicy,
    Retries,
    RetryCondition,
    Route,
)
from aigateway.api.types import format_duration
from aigateway.core.decision import Decision, Target
from aigateway.core.identity import gateway_virtual_service, generated, mesh_virtual_service
from aigateway.core.routes import IDEMPOTENT, base_name, is_split, retry_on, safe_conditions, stat_prefix

Body = dict[str, Any]

_EVERYTHING: Body = {"uri": {"prefix": "/"}}
"""What Istio, too, takes for a route without a match: it stays the last of all routes of the host."""


def render_virtual_services(
    policy: ResolvedPolicy, decision: Decision, administrator: Administrator
) -> tuple[Body, ...]:
    """Return the VirtualServices that there should be, each a whole object."""
    rendered = []
    if decision.route_gateway:
        ref = gateway_virtual_service(policy.key)
        rendered.append(generated(policy, ref, _gateway_spec(policy, decision, administrator)))
    if decision.route_mesh:
        ref = mesh_virtual_service(policy.key)
        rendered.append(generated(policy, ref, _mesh_spec(policy, decision, administrator)))
    return tuple(rendered)


def _gateway_spec(policy: ResolvedPolicy, decision: Decision, administrator: Administrator) -> Body:
    return {
        "hosts": list(policy.hosts),
        "gateways": list(policy.gateways),
        # Seen by this namespace and the gateways' only: nobody else's mesh configuration grows by our routes.
        "exportTo": administrator.export_to(policy.key.namespace),
        "http": list(_http(policy, decision, administrator.cluster_domain, port=None)),
    }


def _mesh_spec(policy: ResolvedPolicy, decision: Decision, administrator: Administrator) -> Body:
    if policy.service is None:
        msg = "route_mesh was decided for a policy without an in-mesh service"
        raise ValueError(msg)
    return {
        "hosts": [_fqdn(policy.service.name, policy, administrator.cluster_domain)],
        "gateways": ["mesh"],
        "exportTo": ["."],
        "http": list(_http(policy, decision, administrator.cluster_domain, port=policy.service.port)),
    }


def _http(policy: ResolvedPolicy, decision: Decision, cluster_domain: str, port: int | None) -> Iterator[Body]:
    """Yield the HTTP routes in the order in which Envoy tries them."""
    split = _split_destinations(policy, decision, cluster_domain)
    by_name = {target.backend.name: target for target in decision.targets}
    base = base_name(policy.key)
    for route in policy.routes:
        destinations = split if route.backend is None else [_pinned(by_name[route.backend], policy, cluster_domain)]
        yield from _with_retries(f"{base}/{route.name}", _matches(route, policy, port), destinations, policy)
    yield from _with_retries(base, _path_matches(policy.path_prefix, _on_port(port)) or [{}], split, policy)


def _with_retries(
    name: str, matches: Sequence[Body], destinations: list[Body], policy: ResolvedPolicy
) -> Iterator[Body]:
    """Yield one route, or two where only idempotent requests may be retried on every condition."""
    safe = safe_conditions(policy.retries)
    full = _retry_block(policy, policy.retries.conditions, policy.retries.status_codes)
    if policy.retries.treat_as_idempotent or not is_split(policy.retries):
        yield _route(name, matches, destinations, full, policy)
        return
    idempotent = list(_only_idempotent(matches, policy.retries))
    if idempotent:
        yield _route(f"{name}{IDEMPOTENT}", idempotent, destinations, full, policy)
    others = [match for match in matches if _method(match) not in policy.retries.idempotent_methods]
    if others:
        yield _route(name, others, destinations, _retry_block(policy, safe, ()), policy)


def _only_idempotent(matches: Sequence[Body], retries: Retries) -> Iterator[Body]:
    """Narrow each match to idempotent requests: by method, or by the header with the key whatever the method."""
    methods = "|".join(retries.idempotent_methods)
    key = retries.idempotency_header
    for match in matches:
        if _method(match) in retries.idempotent_methods:
            yield dict(match)
            continue
        if _method(match) is None:
            yield {**match, "method": {"regex": methods}}
        if key is not None:
            # Where the route asks for the header anyway, what it asks for is narrower than that there is one.
            yield {**match, "headers": {key: {"regex": ".+"}, **match.get("headers", {})}}


def _method(match: Mapping[str, Any]) -> str | None:
    exact: str | None = match.get("method", {}).get("exact")
    return exact


def _route(name: str, matches: Sequence[Body], destinations: list[Body], retries: Body, policy: ResolvedPolicy) -> Body:
    prefix = {"statPrefix": stat_prefix(name)}
    body: Body = {"name": name, "match": [{**(match or _EVERYTHING), **prefix} for match in matches]}
    body["route"] = destinations
    if policy.timeouts.request is not None:
        body["timeout"] = format_duration(policy.timeouts.request)
    body["retries"] = retries
    return body


def _retry_block(policy: ResolvedPolicy, conditions: Sequence[RetryCondition], codes: Sequence[int]) -> Body:
    words = retry_on(conditions, codes)
    if policy.retries.attempts == 0 or not words:
        return {"attempts": 0}
    block: Body = {"attempts": policy.retries.attempts, "retryOn": words}
    if policy.timeouts.per_try is not None:
        block["perTryTimeout"] = format_duration(policy.timeouts.per_try)
    if policy.retries.backoff is not None:
        block["backoff"] = format_duration(policy.retries.backoff.initial)
    if policy.load_balancing is not None and policy.load_balancing.locality_failover:
        block["retryRemoteLocalities"] = True  # else retries stay in the region that is being lost
    return block


def _matches(route: Route, policy: ResolvedPolicy, port: int | None) -> list[Body]:
    return [body for match in route.matches for body in _match_bodies(match, policy, port)]


def _match_bodies(match: Match, policy: ResolvedPolicy, port: int | None) -> list[Body]:
    body = _on_port(port)
    if match.headers:
        # Istio compares header names in lower case and silently never matches another spelling.
        body["headers"] = {
            header.name.lower(): {"exact": header.exact} if header.exact is not None else {"prefix": header.prefix}
            for header in match.headers
        }
    if match.method is not None:
        body["method"] = {"exact": match.method}
    return _path_matches(match.path_prefix or policy.path_prefix, body)


def _on_port(port: int | None) -> Body:
    return {} if port is None else {"port": port}


def _path_matches(prefix: str, match: Body) -> list[Body]:
    """Return ``match`` narrowed to a path prefix in whole segments; nothing to narrow for ``/``."""
    if prefix == "/":
        return [match] if match else []
    return [{**match, "uri": {"exact": prefix}}, {**match, "uri": {"prefix": f"{prefix}/"}}]


def _split_destinations(policy: ResolvedPolicy, decision: Decision, cluster_domain: str) -> list[Body]:
    """Return the weighted destinations; backends without a share are left out, as Envoy would."""
    return [
        {**_destination(target.backend, target.port, policy, cluster_domain), "weight": target.weight}
        for target in decision.targets
        if target.weight > 0
    ]


def _pinned(target: Target, policy: ResolvedPolicy, cluster_domain: str) -> Body:
    """Return the lone destination of a pinned route, also while its Service is missing: the answer is then 503."""
    return _destination(target.backend, target.port or target.backend.port, policy, cluster_domain)


def _destination(backend: Backend, port: int | None, policy: ResolvedPolicy, cluster_domain: str) -> Body:
    destination: Body = {"host": _fqdn(backend.service, policy, cluster_domain)}
    if port is not None:
        destination["port"] = {"number": port}
    return {"destination": destination}


def _fqdn(service: str, policy: ResolvedPolicy, cluster_domain: str) -> str:
    """Return the full name: Istio resolves a short one in the VirtualService's namespace, with warnings."""
    return f"{service}.{policy.key.namespace}.svc.{cluster_domain}"
