"""The CRD has the public names, is bounded everywhere, writes no defaults, and explains every field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from aigateway import __version__
from aigateway.api.crd import custom_resource_definition

Node = tuple[str, dict[str, Any]]


def _nodes(schema: dict[str, Any], path: str) -> Iterator[Node]:
    """Yield every schema at and below ``schema`` with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from _nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from _nodes(schema["items"], f"{path}[]")


def _root() -> dict[str, Any]:
    schema: dict[str, Any] = _version()["schema"]["openAPIV3Schema"]
    return schema


def _version() -> dict[str, Any]:
    version: dict[str, Any] = custom_resource_definition()["spec"]["versions"][0]
    return version


OURS = [node for part in ("spec", "status") for node in _nodes(_root()["properties"][part], part)]


def test_the_names_are_the_public_ones() -> None:
    """Group, kind, plural, short name and category are what users and RBAC rules write."""
    definition = custom_resource_definition()

    assert "aigatewaypolicies.aigateway.dev" == definition["metadata"]["name"]
    assert __version__ == definition["metadata"]["labels"]["app.kubernetes.io/version"]
    assert ("aigateway.dev", "Namespaced") == (definition["spec"]["group"], definition["spec"]["scope"])
    assert {
        "kind": "AIGatewayPolicy",
        "listKind": "AIGatewayPolicyList",
        "plural": "aigatewaypolicies",
        "singular": "aigatewaypolicy",
        "shortNames": ["aigp"],
        "categories": ["ai-gateway"],
    } == definition["spec"]["names"]


def test_there_is_one_version_with_a_status_of_its_own() -> None:
    """Users write the spec, the operator the status, each through its own door."""
    version = _version()

    assert ("v1alpha1", True, True) == (version["name"], version["served"], version["storage"])
    assert {"status": {}} == version["subresources"]


def test_the_columns_show_state_and_age() -> None:
    """`kubectl get` answers the first question."""
    columns = _version()["additionalPrinterColumns"]

    assert ["Ready", "Reason", "Weights", "Replicas", "Age"] == [column["name"] for column in columns]


def test_metadata_is_kubernetes_own() -> None:
    """A CRD may say nothing about metadata but the name, which a rule at the root checks."""
    root = _root()

    assert {"type": "object"} == root["properties"]["metadata"]
    assert ["self.metadata.name.matches"] == [rule["rule"].split("(")[0] for rule in root["x-kubernetes-validations"]]


@pytest.mark.parametrize(("path", "node"), [pytest.param(path, node, id=path) for path, node in OURS])
def test_a_field_has_no_default(path: str, node: dict[str, Any]) -> None:
    """A default would be written into every object and differ for ever from what is in Git."""
    del path
    assert "default" not in node


@pytest.mark.parametrize(
    ("path", "node"), [pytest.param(path, node, id=path) for path, node in OURS if not path.endswith("[]")]
)
def test_a_field_is_explained(path: str, node: dict[str, Any]) -> None:
    """`kubectl explain` has a sentence on every field."""
    del path
    assert node["description"].endswith(".")
    assert "\n" not in node["description"]


@pytest.mark.parametrize(
    ("path", "node"), [pytest.param(path, node, id=path) for path, node in OURS if node["type"] == "integer"]
)
def test_a_number_is_whole_and_bounded_below(path: str, node: dict[str, Any]) -> None:
    """There are no fractions in the API, and no number without a lower bound or a list of allowed values."""
    assert "minimum" in node or "enum" in node or path.endswith("statusCodes[]")


def test_no_field_is_a_fraction() -> None:
    """Fractions compare differently in every client, so there are none."""
    assert {"object", "array", "string", "integer", "boolean"} == {node["type"] for _, node in OURS}


def test_no_field_is_called_as_yaml_calls_true() -> None:
    """YAML 1.1 reads on, off, yes and no as truth values."""
    names = {path.rsplit(".", 1)[-1] for path, _ in OURS}

    assert not {"on", "off", "yes", "no", "y", "n"} & names
