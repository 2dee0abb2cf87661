"""The harness itself: what every other integration test stands on."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from kubernetes.client.exceptions import ApiException

from tests.stack.backend import Backend, Behaviour
from tests.stack.cluster import Cluster, Manifest
from tests.stack.models import Model
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually


def _split(host: str, weights: dict[Model, int]) -> Manifest:
    route = [
        {"destination": {"host": model.host, "port": {"number": 80}}, "weight": weight}
        for model, weight in weights.items()
    ]
    spec = {
        "hosts": [host],
        "gateways": ["istio-system/ai-gateway"],
        "http": [{"route": route, "retries": {"attempts": 0}}],
    }
    metadata = {"name": "split", "namespace": next(iter(weights)).namespace}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata, "spec": spec}


def test_pods_become_ready_at_addresses_of_the_pod_network(model: Callable[..., Model]) -> None:
    """A Deployment's pods are scheduled, run and get addresses, by the real controllers and kwok."""
    addresses = model("llm", replicas=2).addresses()
    assert 2 == len({address for address in addresses if address.startswith("10.244.")})


def test_audit_log_names_the_account_of_every_request(stack: Stack, namespace: str) -> None:
    """Requests can be counted by account, verb and resource from the audit log."""
    stack.cluster.get("Namespace", namespace)
    lines = [json.loads(line) for line in stack.audit_log.read_text().splitlines()]
    mine = [line for line in lines if line.get("objectRef", {}).get("name") == namespace]
    assert {("admin", "patch", "namespaces"), ("admin", "get", "namespaces")} <= {
        (line["user"]["username"], line["verb"], line["objectRef"]["resource"]) for line in mine
    }
    assert {"ResponseComplete"} == {line["stage"] for line in lines}


def test_istiod_refuses_a_bad_virtual_service(cluster: Cluster, host: str, model: Callable[..., Model]) -> None:
    """Istiod's validating webhook answers for the apiserver, so what a test applies is what Istio accepts."""
    llm = model("llm")
    with pytest.raises(ApiException, match="weight -5"):
        cluster.apply(_split(host, {llm: -5}))


def test_gateway_splits_requests_by_weight(
    stack: Stack, gateway: Traffic, host: str, model: Callable[..., Model]
) -> None:
    """A VirtualService's 80/20 reaches Envoy, which sends its share to each version's pods."""
    v1, v2 = model("llm-v1", replicas=2), model("llm-v2")
    stack.cluster.apply(_split(host, {v1: 80, v2: 20}))
    eventually(lambda: gateway.get(host).status == 200)
    stack.backend.reset()
    answers = gateway.send(host, 2000)
    assert {200: 2000} == answers.statuses
    # Six standard deviations around 400: a right split fails once in some hundred million runs.
    assert 292 < answers.count(v2.addresses()) < 508
    assert answers.count(v1.addresses()) == sum(stack.backend.counts()[address, 200] for address in v1.addresses())
    assert {} == stack.gateway.rejected_updates()


@pytest.fixture
def routed(cluster: Cluster, gateway: Traffic, host: str, model: Callable[..., Model]) -> Model:
    """Give a model that the gateway sends all requests for ``host`` to."""
    llm = model("llm")
    cluster.apply(_split(host, {llm: 100}))
    eventually(lambda: gateway.get(host).status == 200)
    return llm


@pytest.mark.parametrize(
    ("behaviour", "statuses"),
    [
        pytest.param(Behaviour(status=429), {429: 10}, id="status"),
        pytest.param(Behaviour(reset="accept"), {503: 10}, id="reset at accept"),
        pytest.param(Behaviour(reset="request"), {503: 10}, id="reset after the request"),
    ],
)
def test_backend_fails_as_told(
    behaviour: Behaviour, statuses: dict[int, int], routed: Model, gateway: Traffic, host: str
) -> None:
    """A fault set for one pod's address is what clients of that pod get."""
    Backend().behave(*routed.addresses(), behaviour=behaviour)
    assert statuses == gateway.send(host, 10).statuses


def test_backend_cut_off_cannot_be_connected_to(backend: Backend, routed: Model, gateway: Traffic, host: str) -> None:
    """A pod that is cut off receives nothing, and answers again after a reset."""
    backend.reset()
    backend.cut_off(*routed.addresses())
    assert {503: 10} == gateway.send(host, 10).statuses
    assert [] == backend.seen()
    backend.reset()
    assert 200 == gateway.get(host).status


def test_sidecar_routes_mesh_requests(cluster: Cluster, mesh: Traffic, model: Callable[..., Model]) -> None:
    """A VirtualService without gateways splits what a pod of its namespace sends to the Service's name."""
    v1, v2 = model("llm-v1"), model("llm-v2")
    eventually(lambda: v1.addresses() == {mesh.get(v1.name).address})
    split = _split(v1.host, {v2: 100})
    split["spec"]["gateways"] = ["mesh"]
    cluster.apply(split)
    eventually(lambda: v2.addresses() == {mesh.get(v1.name).address})


def test_requests_and_attempts_are_counted_apart(stack: Stack, routed: Model, gateway: Traffic, host: str) -> None:
    """Istio's metrics count a retried request once, with its whole duration; Envoy's own count each attempt."""
    fast = len(stack.backend.seen())
    stack.backend.behave(status=503, share=0.4, delay=0.3)
    route = _split(host, {routed: 100})
    route["spec"]["http"][0]["retries"] = {"attempts": 3, "retryOn": "503", "perTryTimeout": "5s"}
    stack.cluster.apply(route)
    gateway.send(host, 40)
    attempts = len(stack.backend.seen())
    requests = len({attempt.request_id for attempt in stack.backend.seen()})
    assert requests < attempts
    labels = f'destination_service_namespace="{routed.namespace}",destination_service_name="{routed.name}"'
    count = f'istio_requests_total{{reporter="source",{labels}}}'
    eventually(lambda: stack.prometheus.value(f"sum({count})") == requests)
    tried = f'envoy_cluster_upstream_rq_total{{cluster_name="outbound|80||{routed.host}"}}'
    assert attempts == stack.prometheus.value(f"sum({tried})")
    buckets = f"sum by (le) (istio_request_duration_milliseconds_bucket{{{labels}}})"
    expected = {"le=250.0": fast, "le=+Inf": requests}.items()
    eventually(lambda: expected <= stack.prometheus.query(buckets).items())


def test_replicas_follow_request_rate_and_cpu(
    stack: Stack, cluster: Cluster, gateway: Traffic, host: str, model: Callable[..., Model]
) -> None:
    """KEDA, the HPA controller and both metric sources move Deployments up and down."""
    by_rate, by_cpu = model("by-rate"), model("by-cpu")
    cluster.apply(_split(host, {by_rate: 100}))
    service = f'destination_service_namespace="{by_rate.namespace}",destination_service_name="{by_rate.name}"'
    rate = f"sum(rate(istio_requests_total{{{service}}}[10s]))"
    trigger = {"serverAddress": stack.prometheus.url, "query": rate, "threshold": "20"}
    cluster.apply(_scaled(by_rate, {"type": "prometheus", "metadata": trigger}))
    cluster.apply(_scaled(by_cpu, {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "50"}}))
    stack.cpu.use(by_cpu.namespace, by_cpu.name, millicores=90)
    with gateway.steady(host, 50):
        eventually(lambda: by_rate.replicas() == 3, within=60)
        eventually(lambda: by_cpu.replicas() > 1, within=60)
    stack.cpu.use(by_cpu.namespace, by_cpu.name, millicores=5)
    eventually(lambda: by_rate.replicas() == by_cpu.replicas() == 1, within=60)


def _scaled(model: Model, trigger: Manifest) -> Manifest:
    at_once = {"stabilizationWindowSeconds": 3, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 3}]}
    spec = {
        "scaleTargetRef": {"name": model.name},
        "minReplicaCount": 1,
        "maxReplicaCount": 5,
        "pollingInterval": 2,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": at_once}}},
        "triggers": [trigger],
    }
    metadata = {"name": model.name, "namespace": model.namespace}
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata, "spec": spec}
