"""What objects of others claim and cover, by Istio's resolution of names."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway.core.claims import Claim, gateway_claim, mesh_claim
from aigateway.core.foreign import claims_of_virtual_service, rule_covers

GATEWAY = "istio-system/ai-gateway"


def virtual_service(*routes: Any, **spec: Any) -> dict[str, Any]:
    """Return somebody's VirtualService in namespace shop."""
    return {"metadata": {"namespace": "shop", "name": "x"}, "spec": {"http": list(routes) or [{}], **spec}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            virtual_service(hosts=["a.example.com"], gateways=[GATEWAY]),
            {gateway_claim("a.example.com", GATEWAY, "/")},
            id="whole-host",
        ),
        pytest.param(
            virtual_service(hosts=["a.example.com"], gateways=["own"]),
            {gateway_claim("a.example.com", "shop/own", "/")},
            id="gateway-of-its-own-namespace",
        ),
        pytest.param(
            virtual_service(
                {"match": [{"uri": {"prefix": "/v1/"}}, {"uri": {"exact": "/v2"}}]},
                hosts=["a.example.com"],
                gateways=[GATEWAY],
            ),
            {gateway_claim("a.example.com", GATEWAY, "/v1"), gateway_claim("a.example.com", GATEWAY, "/v2")},
            id="some-paths",
        ),
        pytest.param(
            virtual_service({"match": [{"uri": {"regex": "/v.*"}}]}, hosts=["a.example.com"], gateways=[GATEWAY]),
            {gateway_claim("a.example.com", GATEWAY, "/")},
            id="a-pattern-may-be-anything",
        ),
        pytest.param(virtual_service(hosts=["chat"]), {mesh_claim("shop", "chat")}, id="short-in-mesh-name"),
        pytest.param(
            virtual_service(hosts=["chat.shop.svc.cluster.local"], gateways=["mesh"]),
            {mesh_claim("shop", "chat")},
            id="full-in-mesh-name",
        ),
        pytest.param(
            virtual_service(hosts=["chat.models.svc.cluster.local"], gateways=["mesh"]),
            set(),
            id="in-mesh-name-of-another-namespace",
        ),
        pytest.param(virtual_service(hosts=["api.example.com"]), set(), id="outside-name-in-the-mesh"),
        pytest.param({"metadata": {"namespace": "shop"}, "spec": {}}, set(), id="empty"),
    ],
)
def test_claims_of_virtual_service(body: dict[str, Any], expected: set[Claim]) -> None:
    """A VirtualService takes its hosts' paths on its gateways, or in-mesh names."""
    assert expected == claims_of_virtual_service(body, "cluster.local")


@pytest.mark.parametrize(
    ("host", "namespace", "expected"),
    [
        pytest.param("chat-v1", "models", True, id="short-name-in-the-same-namespace"),
        pytest.param("chat-v1", "shop", False, id="short-name-elsewhere"),
        pytest.param("chat-v1.models.svc.cluster.local", "istio-system", True, id="full-name"),
        pytest.param("chat-v2.models.svc.cluster.local", "istio-system", False, id="another-service"),
        pytest.param("*.models.svc.cluster.local", "istio-system", True, id="wildcard-over-the-namespace"),
        pytest.param("*.local", "istio-system", True, id="wildcard-over-the-mesh"),
        pytest.param("*.shop.svc.cluster.local", "istio-system", False, id="wildcard-elsewhere"),
        pytest.param("*", "istio-system", True, id="everything"),
    ],
)
def test_rule_covers(host: str, namespace: str, expected: bool) -> None:
    """A rule covers a Service by name, full name or wildcard."""
    rule = {"metadata": {"namespace": namespace}, "spec": {"host": host}}

    assert expected == rule_covers(rule, "chat-v1", "models", "cluster.local")


def test_rule_for_one_client_is_not_in_the_way() -> None:
    """A rule with a workload selector is for the pods that it selects."""
    rule = {"metadata": {"namespace": "models"}, "spec": {"host": "chat-v1", "workloadSelector": {}}}

    assert not rule_covers(rule, "chat-v1", "models", "cluster.local")
