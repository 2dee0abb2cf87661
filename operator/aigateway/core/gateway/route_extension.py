"""What a policy puts on its own routes and virtual hosts, so that the filters of the shared gateway filter act on them.

:mod:`aigateway.core.render.envoy_filter` calls it for each route, :mod:`aigateway.core.gateway.gateway_filter` takes
the names from here.  It must not know policies, decisions or EnvoyFilters: it returns parts of Envoy's ``Route`` and
``VirtualHost`` from plain values.  Rules that shape the output:

- The deadline filter is switched on by the name of its script, and what that has to know is the route's metadata under
  the filter's name.  Newer ways to hand it over would be refused, with every other route of the proxy, by an Envoy that
  does not know them yet.
- Envoy ignores the configuration of a filter that is not in the chain, so nothing breaks where the gateway filter is
  missing: there are no deadlines, limits, JSON bodies and log lines then.
- Limits belong on a virtual host: Envoy keeps one set of token buckets for each place where they are written.  Others
  may have routes on the same host, on another port for instance: each bucket is for requests that a route of this
  policy takes, which the route's metadata tells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from aigateway.api.resolved import Milliseconds, RateLimit

Body = dict[str, Any]

EXTENSION = "aigateway.dev"
"""The namespace in a route's metadata that says whose route it is and what the gateway does with it."""
DEADLINE_FILTER = "aigateway.deadline"
DEADLINE_SCRIPT = "deadline"
RATE_LIMIT_FILTER = "aigateway.ratelimit"
RETRY_AFTER_FILTER = "aigateway.retry-after"
"""Puts into Retry-After what the rate limit filter says of the one bucket that was empty."""

RATE_LIMIT_TYPE = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
_LUA_SWITCH = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute"
_RETRY_AFTER_SWITCH = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute"
_MOST_KEYS = 10_000
"""Values of a key header with a bucket of their own; beyond that the one unseen for longest starts afresh."""
_ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
_POLICY = "policy"
_OF_POLICY = {
    "metadata": {
        "descriptor_key": _POLICY,
        "source": "ROUTE_ENTRY",
        "metadata_key": {"key": EXTENSION, "path": [{"key": _POLICY}]},
    }
}
_UNLIMITED = {"max_tokens": 2**32 - 1, "tokens_per_fill": 2**32 - 1, "fill_interval": "1s"}


def route_metadata(policy: str, *, errors_json: bool, log: str | None, repeats: bool = False) -> Body:
    """Return the ``metadata`` of a route: ``policy`` is ``namespace/name``, ``log`` is Requests, Attempts or None.

    ``repeats``: requests of the route are tried again also where a model may have worked on them.
    """
    ours: Body = {"policy": policy}
    if repeats:
        ours["repeats"] = "Processed"
    if errors_json:
        ours["errors"] = "JSON"
    if log is not None:
        ours["log"] = log
    return {"filter_metadata": {EXTENSION: ours}}


def deadline(
    header: str, *, request: Milliseconds | None, per_try: Milliseconds | None, backoff: Milliseconds, attempts: int
) -> Body:
    """Return the ``metadata`` and ``typed_per_filter_config`` of a route whose clients set a deadline in ``header``.

    ``attempts`` are the route's retries after the first try, ``backoff`` the wait before the first of them.  The
    metadata goes beside that of :func:`route_metadata`, under another key.
    """
    parameters: Body = {"header": header, "attempts": attempts, "backoff_ms": backoff}
    if request is not None:
        parameters["request_ms"] = request
    if per_try is not None:
        parameters["per_try_ms"] = per_try
    return {
        "metadata": {"filter_metadata": {DEADLINE_FILTER: parameters}},
        "typed_per_filter_config": {DEADLINE_FILTER: {"@type": _LUA_SWITCH, "name": DEADLINE_SCRIPT}},
    }


def bounded_keys(limits: Sequence[RateLimit]) -> Body:
    """Return what a route carries so that no value of a key header is too long to be kept; empty without such limits.

    The same script does it that looks at deadlines, so that the parameters of both stand under one name.
    """
    keys = [limit.key_header for limit in limits if limit.key_header is not None]
    if not keys:
        return {}
    return {
        "metadata": {"filter_metadata": {DEADLINE_FILTER: {"keys": keys}}},
        "typed_per_filter_config": {DEADLINE_FILTER: {"@type": _LUA_SWITCH, "name": DEADLINE_SCRIPT}},
    }


def rate_limits(limits: Sequence[RateLimit], *, policy: str, stat_prefix: str) -> Body:
    """Return the ``typed_per_filter_config`` of a virtual host with these limits, of which one at most has no key.

    ``policy`` is ``namespace/name``, as in the metadata of its routes.  Counters are
    ``<stat_prefix>.http_local_rate_limit.rate_limited`` and its like.  Responses tell what is left, in
    ``x-ratelimit-limit``, ``-remaining`` and ``-reset``.
    """
    config: Body = {
        "@type": RATE_LIMIT_TYPE,
        "stat_prefix": stat_prefix,
        "filter_enabled": _ALWAYS,
        "filter_enforced": _ALWAYS,
        # The default bucket is for requests that no descriptor is for: those of routes that are not this policy's.
        "token_bucket": _UNLIMITED,
        "always_consume_default_token_bucket": False,
        "rate_limited_as_resource_exhausted": True,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "response_headers_to_add": [_overwrite("retry-after", str(retry_after(limits)))],
        "rate_limits": [{"actions": [_OF_POLICY, *_key(limit)]} for limit in limits],
        "descriptors": [_descriptor(limit, policy) for limit in limits],
        "max_dynamic_descriptors": _MOST_KEYS,
    }
    return {"typed_per_filter_config": {RATE_LIMIT_FILTER: config, RETRY_AFTER_FILTER: {"@type": _RETRY_AFTER_SWITCH}}}


def retry_after(limits: Sequence[RateLimit]) -> int:
    """Return the whole seconds after which the slowest of the limits has filled in a token for certain; at least 1.

    Envoy fills buckets continuously, so that no token takes longer than its share of the interval.  Only the bucket
    itself knows how long it takes now, which the gateway filter puts in its place.
    """
    return max(math.ceil(limit.interval / limit.requests / 1000) for limit in limits)


def _bucket(limit: RateLimit) -> Body:
    interval = f"{limit.interval // 1000}.{limit.interval % 1000:03}s"
    return {"max_tokens": limit.burst, "tokens_per_fill": limit.requests, "fill_interval": interval}


def _key(limit: RateLimit) -> list[Body]:
    if limit.key_header is None:
        return []
    return [{"request_headers": {"header_name": limit.key_header, "descriptor_key": limit.name}}]


def _descriptor(limit: RateLimit, policy: str) -> Body:
    """Return the bucket of a limit; an empty value stands for one bucket for each value."""
    each = [] if limit.key_header is None else [{"key": limit.name, "value": ""}]
    return {"entries": [{"key": _POLICY, "value": policy}, *each], "token_bucket": _bucket(limit)}


def _overwrite(name: str, value: str) -> Body:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
