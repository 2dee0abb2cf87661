"""What a definition's schema tells of a version."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway.core.features import lacking
from aigateway.core.observation import ChildKind, Feature


def definition(spec: dict[str, Any], version: str = "v1") -> dict[str, Any]:
    """Return a CustomResourceDefinition whose spec has these properties."""
    schema = {"properties": {"spec": {"properties": spec}}}
    return {"spec": {"versions": [{"name": version, "schema": {"openAPIV3Schema": schema}}]}}


def with_timeout(*retries: str, **timeout: Any) -> dict[str, Any]:
    """Return VirtualService's properties with a timeout of this schema, and with these fields of retries."""
    block = {"properties": {name: {"type": "string"} for name in retries}}
    return {"http": {"items": {"properties": {"timeout": {"type": "string", **timeout}, "retries": block}}}}


def traffic_policy(*paths: str) -> dict[str, Any]:
    """Return DestinationRule's properties with these fields of a traffic policy, as ``loadBalancer.warmup``."""
    policy: dict[str, Any] = {}
    for path in paths:
        at = policy
        for step in path.split("."):
            at = at.setdefault("properties", {}).setdefault(step, {})
    return {"trafficPolicy": policy}


NEWEST = (
    "loadBalancer.warmup",
    "retryBudget",
    "loadBalancer.consistentHash.httpCookie.attributes",
    "connectionPool.http.http2KeepAlive",
)


RULES = {"x-kubernetes-validations": [{"rule": "duration(self) >= duration('1ms')"}]}


@pytest.mark.parametrize(
    ("kind", "spec", "version", "expected"),
    [
        pytest.param(ChildKind.VIRTUAL_SERVICE, with_timeout("backoff", **RULES), "v1", set(), id="newer-istio"),
        pytest.param(
            ChildKind.VIRTUAL_SERVICE, with_timeout("backoff"), "v1", {Feature.RESET_BEFORE_REQUEST}, id="older-istio"
        ),
        pytest.param(
            ChildKind.VIRTUAL_SERVICE,
            with_timeout(**RULES),
            "v1beta1",
            {Feature.RESET_BEFORE_REQUEST, Feature.RETRY_BACKOFF},
            id="another-version-of-the-kind-says-nothing",
        ),
        pytest.param(ChildKind.VIRTUAL_SERVICE, with_timeout(**RULES), "v1", {Feature.RETRY_BACKOFF}, id="istio-1.25"),
        pytest.param(ChildKind.DESTINATION_RULE, traffic_policy(*NEWEST), "v1", set(), id="newest-istio"),
        pytest.param(
            ChildKind.DESTINATION_RULE,
            traffic_policy(*NEWEST[:3]),
            "v1",
            {Feature.HTTP2_KEEP_ALIVE},
            id="istio-1.30",
        ),
        pytest.param(
            ChildKind.DESTINATION_RULE,
            traffic_policy(*NEWEST[:1]),
            "v1",
            {Feature.HTTP2_KEEP_ALIVE, Feature.RETRY_BUDGET, Feature.BODY_BUFFER},
            id="istio-1.26",
        ),
        pytest.param(
            ChildKind.DESTINATION_RULE,
            {},
            "v1",
            {Feature.HTTP2_KEEP_ALIVE, Feature.RETRY_BUDGET, Feature.WARMUP, Feature.BODY_BUFFER},
            id="istio-1.22",
        ),
        pytest.param(
            ChildKind.ENVOY_FILTER, {}, "v1", {Feature.VIRTUAL_HOST_DOMAIN}, id="filters-for-every-domain-only"
        ),
        pytest.param(
            ChildKind.SCALED_OBJECT, {"fallback": {"properties": {"behavior": {}}}}, "v1", set(), id="newer-keda"
        ),
        pytest.param(
            ChildKind.SCALED_OBJECT,
            {"fallback": {"properties": {"replicas": {}}}},
            "v1",
            {Feature.FALLBACK_BEHAVIOR},
            id="older-keda",
        ),
        pytest.param(ChildKind.SCALED_OBJECT, {}, "v1", {Feature.FALLBACK_BEHAVIOR}, id="without-the-whole-field"),
    ],
)
def test_lacking(kind: ChildKind, spec: dict[str, Any], version: str, expected: set[Feature]) -> None:
    """Only what belongs to the kind and is not in the schema of the version that we write is lacking."""
    found = lacking(kind, definition(spec), version if version == "v1" else "v2")

    assert expected == found
