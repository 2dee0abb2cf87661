"""Objects in files as an API server would give them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aigateway.cli.recorded import RecordedObjects
from aigateway.cluster.resources import CHILDREN, ENDPOINT_SLICES, SERVICES, Resource
from aigateway.core.observation import ChildKind
from tests.objects import endpoints, service, virtual_service

VIRTUAL_SERVICES = CHILDREN[ChildKind.VIRTUAL_SERVICE]
ELSEWHERE = {**service("b"), "metadata": {"name": "b", "namespace": "elsewhere"}}
OLD = {**virtual_service("old"), "apiVersion": "networking.istio.io/v1beta1"}
GATEWAY_API = {"apiVersion": "example.com/v1", "kind": "Service", "metadata": {"name": "not-core"}}
BROKEN = {"kind": "Service", "apiVersion": "v1", "metadata": None}
API = RecordedObjects([service("a"), ELSEWHERE, endpoints("a", 1), OLD, GATEWAY_API, BROKEN], "models")


def names(resource: Resource, namespace: str | None = None, selector: str = "") -> list[str]:
    """Return the names that a list gives."""

    async def listed() -> list[Any]:
        return [raw async for page in API.pages(resource, namespace, selector) for raw in page.items]

    return [raw["metadata"]["name"] for raw in asyncio.run(listed())]


@pytest.mark.parametrize(
    ("resource", "namespace", "selector", "found"),
    [
        pytest.param(SERVICES, None, "", ["a", "b"], id="everywhere"),
        pytest.param(SERVICES, "elsewhere", "", ["b"], id="one-namespace"),
        pytest.param(ENDPOINT_SLICES, None, "kubernetes.io/service-name=a", ["a-x"], id="selected"),
        pytest.param(ENDPOINT_SLICES, None, "kubernetes.io/service-name=b", [], id="not-selected"),
        pytest.param(ENDPOINT_SLICES, None, "kubernetes.io/service-name", ["a-x"], id="with-a-label"),
        pytest.param(SERVICES, None, "kubernetes.io/service-name", [], id="without-it"),
        pytest.param(VIRTUAL_SERVICES, "models", "", ["old"], id="another-version-of-the-group"),
    ],
)
def test_lists(resource: Resource, namespace: str | None, selector: str, found: list[str]) -> None:
    """A list has what is of the kind, the namespace and the label."""
    assert found == names(resource, namespace, selector)


def test_reads_one() -> None:
    """An object is found by its name, completed with what only a cluster gives; another is not there."""
    found = asyncio.run(API.get(SERVICES, "models", "a"))

    assert found is not None
    assert found["metadata"]["uid"]
    assert asyncio.run(API.get(SERVICES, "models", "b")) is None


def test_istio_and_keda_count_as_installed() -> None:
    """Files don't say what a cluster lacks."""
    for resource in CHILDREN.values():
        assert resource.plural in asyncio.run(API.kinds(resource))
