"""What is kept of objects: what decisions look at, and nothing that changes by itself."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway.cluster import parse
from aigateway.core.observation import ServicePort, ServiceState, WorkloadState


def raw(**body: Any) -> dict[str, Any]:
    """Return an object with the bookkeeping that every API server adds."""
    metadata = {"name": "x", "namespace": "ns", "uid": "u", "resourceVersion": "5", "managedFields": [{}]}
    return {"metadata": metadata | body.pop("metadata", {}), **body}


def test_bookkeeping_is_no_part_of_a_policy() -> None:
    """managedFields, the version, and kubectl's copy of the object are dropped; other annotations stay."""
    last = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "example.com/kept": "yes"}
    kept = parse.policy(raw(kind="AIGatewayPolicy", metadata={"annotations": last, "generation": 3}, spec={"a": 1}))

    metadata = {"name": "x", "namespace": "ns", "uid": "u", "generation": 3, "annotations": {"example.com/kept": "yes"}}
    assert {"kind": "AIGatewayPolicy", "metadata": metadata, "spec": {"a": 1}} == kept


def test_a_scaled_object_that_was_just_polled_is_unchanged() -> None:
    """KEDA's time of the last activity does not count as a change, its conditions do."""

    def scaled_object(at: str, ready: str) -> Any:
        status = {"lastActiveTime": at, "conditions": [{"type": "Ready", "status": ready}]}
        return parse.child(raw(spec={"min": 1}, status=status, metadata={"resourceVersion": at, "generation": 1}))

    assert scaled_object("1", "True") == scaled_object("2", "True")
    assert scaled_object("1", "True") != scaled_object("1", "False")


def test_a_child_is_kept_whole() -> None:
    """Labels, owners, foreign annotations and the whole spec of a generated object stay comparable."""
    metadata = {"labels": {"a": "b"}, "ownerReferences": [{"uid": "p"}], "annotations": {"c": "d"}}
    kept = parse.child(raw(apiVersion="v1", spec={"deep": [{"er": 1}]}, metadata=metadata, status={"x": 1}))

    expected = {"apiVersion": "v1", "metadata": {"name": "x", "namespace": "ns", "uid": "u"} | metadata}
    assert expected | {"spec": {"deep": [{"er": 1}]}} == kept


@pytest.mark.parametrize(
    ("spec", "ports"),
    [
        pytest.param({"ports": [{"port": 80}]}, (ServicePort(80),), id="unnamed"),
        pytest.param(
            {"ports": [{"port": 80, "name": "http"}, {"port": 9000, "name": "grpc"}]},
            (ServicePort(80, "http"), ServicePort(9000, "grpc")),
            id="named",
        ),
        pytest.param({"type": "ClusterIP"}, (), id="none"),
    ],
)
def test_service_ports(spec: dict[str, Any], ports: tuple[ServicePort, ...]) -> None:
    """The ports of a Service are kept in order."""
    assert ServiceState(ports) == parse.service(raw(spec=spec))


def test_service_that_stands_for_a_name_elsewhere() -> None:
    """A Service without endpoints of its own is known as such."""
    spec = {"type": "ExternalName", "externalName": "x.example.org", "ports": [{"port": 80}]}

    assert ServiceState((ServicePort(80),), external=True) == parse.service(raw(spec=spec))


@pytest.mark.parametrize(
    ("endpoint", "ready"),
    [
        pytest.param({"addresses": ["10.0.0.1"], "conditions": {"ready": True}}, {"10.0.0.1"}, id="ready"),
        pytest.param({"addresses": ["10.0.0.1"], "conditions": {"ready": False}}, set(), id="not ready"),
        pytest.param({"addresses": ["10.0.0.1"], "conditions": {}}, {"10.0.0.1"}, id="unknown counts as ready"),
        pytest.param({"addresses": ["10.0.0.1"]}, {"10.0.0.1"}, id="no conditions"),
        pytest.param({"addresses": []}, set(), id="no address"),
        pytest.param({"addresses": ["10.0.0.1", "10.0.0.2"]}, {"10.0.0.1"}, id="one pod with two addresses"),
    ],
)
def test_ready_endpoints(endpoint: dict[str, Any], ready: set[str]) -> None:
    """An endpoint counts once, and counts unless it says that it is not ready."""
    labels = {"labels": {"kubernetes.io/service-name": "llm"}}

    assert parse.SliceState("llm", frozenset(ready)) == parse.endpoint_slice(raw(metadata=labels, endpoints=[endpoint]))


@pytest.mark.parametrize("endpoints", [pytest.param(None, id="null"), pytest.param([], id="empty")])
def test_a_slice_of_nobody(endpoints: Any) -> None:
    """A slice without a Service and without endpoints is kept as such."""
    assert parse.SliceState("", frozenset()) == parse.endpoint_slice(raw(endpoints=endpoints))


@pytest.mark.parametrize(
    ("resources", "without"),
    [
        pytest.param({"requests": {"cpu": "1"}}, (), id="request"),
        pytest.param({"limits": {"cpu": "1"}}, (), id="limit alone is a request too"),
        pytest.param({"requests": {"memory": "1Gi"}}, ("model",), id="memory only"),
        pytest.param({}, ("model",), id="nothing"),
        pytest.param(None, ("model",), id="null"),
    ],
)
def test_containers_without_cpu_request(resources: Any, without: tuple[str, ...]) -> None:
    """Containers whose CPU utilisation nobody can compute are named."""
    containers = [{"name": "model", "resources": resources}]
    spec = {"replicas": 3, "template": {"spec": {"containers": containers}}}

    assert WorkloadState(3, 2, without) == parse.workload(raw(spec=spec, status={"readyReplicas": 2}))


def test_a_new_workload_has_one_wanted_and_none_ready() -> None:
    """Replicas default as in Kubernetes; a status that is not there yet is none ready."""
    assert WorkloadState(1, 0) == parse.workload(raw(spec={}))


def test_an_envoy_filter_is_kept_as_far_as_it_matters() -> None:
    """A policy's own is kept whole; of the gateways' shared one only its version, since nobody here repairs it."""
    label = "aigateway.dev/part"
    noted = {"annotations": {"aigateway.dev/gateway-filter-contract": "1", "other": "2"}}
    ours = parse.envoy_filter(raw(metadata={"labels": {label: "policy"}} | noted, spec={"a": 1}))
    shared = parse.envoy_filter(raw(metadata={"labels": {label: "gateway-filter"}} | noted, spec={"a": 1}))
    bare = parse.envoy_filter(raw(metadata={"labels": {label: "gateway-filter"}}))

    assert {"a": 1} == ours["spec"]
    assert "2" == ours["metadata"]["annotations"]["other"]
    kept = {"name": "x", "namespace": "ns", "annotations": {"aigateway.dev/gateway-filter-contract": "1"}}
    assert {"metadata": kept} == shared
    assert bare["metadata"]["annotations"] == {"aigateway.dev/gateway-filter-contract": None}
