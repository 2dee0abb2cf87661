"""What the cluster's versions of Istio and KEDA can do, read off their definitions.

:mod:`aigateway.cluster.watches` asks :func:`lacking` for each kind's definition; rendering leaves out what
is lacking, and the status lists it.  The API server drops a field that a definition lacks without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aigateway.core.observation import ChildKind, Feature, Json

_ITEMS = "[]"


_MARKERS: Mapping[Feature, tuple[ChildKind, tuple[str, ...]]] = {
    # The condition is a word in a string, so its version shows in what came with it: rules on durations.
    Feature.RESET_BEFORE_REQUEST: (
        ChildKind.VIRTUAL_SERVICE,
        ("spec", "http", _ITEMS, "timeout", "x-kubernetes-validations"),
    ),
    Feature.RETRY_BACKOFF: (ChildKind.VIRTUAL_SERVICE, ("spec", "http", _ITEMS, "retries", "backoff")),
    Feature.WARMUP: (ChildKind.DESTINATION_RULE, ("spec", "trafficPolicy", "loadBalancer", "warmup")),
    Feature.RETRY_BUDGET: (ChildKind.DESTINATION_RULE, ("spec", "trafficPolicy", "retryBudget")),
    Feature.HTTP2_KEEP_ALIVE: (
        ChildKind.DESTINATION_RULE,
        ("spec", "trafficPolicy", "connectionPool", "http", "http2KeepAlive"),
    ),
    # A field of Envoy's own; its version shows in what came to Istio with it.
    Feature.BODY_BUFFER: (
        ChildKind.DESTINATION_RULE,
        ("spec", "trafficPolicy", "loadBalancer", "consistentHash", "httpCookie", "attributes"),
    ),
    # Without it the patch of one host would be pruned to one of every host.
    Feature.VIRTUAL_HOST_DOMAIN: (
        ChildKind.ENVOY_FILTER,
        ("spec", "configPatches", _ITEMS, "match", "routeConfiguration", "vhost", "domainName"),
    ),
    Feature.FALLBACK_BEHAVIOR: (ChildKind.SCALED_OBJECT, ("spec", "fallback", "behavior")),
}


def lacking(kind: ChildKind, definition: Json, version: str) -> frozenset[Feature]:
    """Return what a CustomResourceDefinition's schema of ``version`` does not have."""
    schemas = {
        item["name"]: item.get("schema", {}).get("openAPIV3Schema", {}) for item in definition["spec"]["versions"]
    }
    schema = schemas.get(version, {})
    return frozenset(feature for feature, (of, path) in _MARKERS.items() if of is kind and not _has(schema, path))


def _has(schema: Any, path: tuple[str, ...]) -> bool:  # noqa: ANN401 (any part of a schema)
    """Return whether a schema has what a path names: fields, ``[]`` for items, or a keyword of the last one."""
    for step in path:
        if step == _ITEMS:
            schema = schema.get("items", {})
        elif step in schema.get("properties", {}):
            schema = schema["properties"][step]
        else:
            return step in schema
    return True
