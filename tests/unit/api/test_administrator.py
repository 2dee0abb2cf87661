"""What the administrator grants to whom."""

from __future__ import annotations

import pytest

from aigateway.api.administrator import Administrator, Grant

SHARED = "istio-system/ai-gateway"
GRANTS = (
    Grant(SHARED, hosts=("*.team-a.example.com", "a.example.com"), namespaces=("team-a", "team-a-*")),
    Grant(SHARED, hosts=("*",), namespaces=("platform",)),
)


@pytest.mark.parametrize(
    ("namespace", "gateway", "host", "expected"),
    [
        pytest.param("team-a", SHARED, "x.team-a.example.com", True, id="host-under-a-wildcard"),
        pytest.param("team-a", SHARED, "x.y.team-a.example.com", True, id="host-deeper-under-a-wildcard"),
        pytest.param("team-a", SHARED, "*.team-a.example.com", True, id="the-wildcard-itself"),
        pytest.param("team-a", SHARED, "team-a.example.com", False, id="the-domain-is-not-under-its-wildcard"),
        pytest.param("team-a", SHARED, "*.example.com", False, id="a-wider-wildcard"),
        pytest.param("team-a", SHARED, "a.example.com", True, id="exact-host"),
        pytest.param("team-a", SHARED, "b.example.com", False, id="another-host"),
        pytest.param("team-a-dev", SHARED, "a.example.com", True, id="namespace-by-pattern"),
        pytest.param("team-b", SHARED, "a.example.com", False, id="another-namespace"),
        pytest.param("platform", SHARED, "anything.example.org", True, id="any-host"),
        pytest.param("team-a", "istio-system/other", "a.example.com", False, id="another-gateway"),
        pytest.param("team-b", "team-b/own", "b.example.com", True, id="gateway-of-its-own-namespace"),
    ],
)
def test_grants(namespace: str, gateway: str, host: str, expected: bool) -> None:
    """A host may be served on a gateway of one's own, and where a grant covers namespace, gateway and host."""
    assert expected == Administrator(grants=GRANTS).may_use(namespace, gateway, host)


def test_without_grants_every_gateway_may_be_used() -> None:
    """A cluster of one team needs no grants; an empty list of grants grants nothing."""
    assert Administrator().may_use("team-a", SHARED, "a.example.com")
    assert not Administrator(grants=()).may_use("team-a", SHARED, "a.example.com")
