"""What helm makes of values, without a cluster: refusals that name the value, and files that are rendered from it."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from click.testing import CliRunner

from aigateway.cli.run import run
from tests.integration.chart.conftest import CHART, RELEASE, Helm
from tests.integration.operator_process import NAMESPACE, ROOT
from tests.stack.addresses import PROMETHEUS
from tests.stack.cluster import Manifest
from tests.stack.stack import Stack
from tools.chart.generate import manifest_files, stale

EVERYTHING: dict[str, Any] = {
    "nameOverride": "aigw",
    "replicas": 3,
    "image": {"registry": "registry.example.com/team/", "digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "pull"}],
    "namespaces": ["team-a", "team-b"],
    "gateways": {
        "default": "istio-system/a",
        "service": "istio-system/b",
        "restricted": True,
        "grants": [{"gateway": "istio-system/a"}],
    },
    "envoyFilter": {"namespaces": ["istio-ingress", "edge"]},
    "scaling": {"prometheusAddress": "http://prometheus:9090"},
    "serviceAccount": {"name": "somebody", "annotations": {"a": "b"}},
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    },
    "networkPolicy": {"apiServerCidrs": ["10.0.0.0/8"], "metricsFrom": [{"podSelector": {}}]},
    "podAnnotations": {"a": "b"},
    "podLabels": {"c": "d"},
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    "global": {"of": "a parent chart"},
}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        pytest.param({"replica": 2}, "replica", id="misspelt"),
        pytest.param({"image": {"repo": "a"}}, "repo", id="misspelt-below"),
        pytest.param({"replicas": "two"}, "replicas", id="wrong-type"),
        pytest.param({"replicas": 0}, "replicas", id="none-at-all"),
        pytest.param({"log": {"level": "loud"}}, "log/level", id="unknown-level"),
        pytest.param({"gateways": {"default": "no-namespace"}}, "gateways/default", id="gateway-without-namespace"),
        pytest.param({"gateways": {"service": "a.b/c"}}, "gateways/service", id="service-in-no-namespace"),
        pytest.param({"gateways": {"grants": [{"host": "a"}]}}, "gateways/grants/0", id="grant-without-gateway"),
        pytest.param({"namespaces": ["Team_A"]}, "namespaces/0", id="no-namespace"),
        pytest.param({"envoyFilter": {"namespaces": ["*"]}}, "envoyFilter/namespaces/0", id="any-namespace"),
        pytest.param({"scaling": {"prometheusAddress": "prometheus:9090"}}, "prometheusAddress", id="no-url"),
        pytest.param({"scaling": {"prometheusAddress": "http://a:b@c"}}, "prometheusAddress", id="password-in-url"),
        pytest.param({"image": {"digest": "latest"}}, "image/digest", id="no-digest"),
    ],
)
def test_wrong_values_are_refused_by_name(helm: Helm, values: Manifest, told: str) -> None:
    """A value that the chart does not know, or of a wrong kind, stops helm with the value's name."""
    said = helm("template", RELEASE, CHART, values=values, check=False)

    assert "values don't meet the specifications of the schema" in said
    assert told in said


@pytest.mark.parametrize(
    ("values", "told"),
    [
        pytest.param({"leaderElection": {"leaseSeconds": 12}}, "renewDeadlineSeconds must be at most", id="deadline"),
        pytest.param({"leaderElection": {"retrySeconds": 6}}, "retrySeconds must be at most half", id="retry"),
        pytest.param(
            {"gateways": {"grants": [{"gateway": "a/b"}]}}, "gateways.grants has no effect", id="grants-without-effect"
        ),
        pytest.param(
            {"envoyFilter": {"namespaces": ["edge", "istio-system"]}}, "istio.rootNamespace alone", id="filters-twice"
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(helm: Helm, values: Manifest, told: str) -> None:
    """What no schema can say is refused as well, before anything is installed."""
    assert told in helm("template", RELEASE, CHART, values=values, check=False)


def test_the_plain_manifests_are_current(helm: Helm) -> None:
    """After a change of the chart somebody ran `make generate`."""
    assert [] == stale(ROOT, manifest_files(ROOT, helm.program))


def test_the_chart_is_without_fault(helm: Helm) -> None:
    """The linter of helm has nothing to say, at the strictest."""
    assert "0 chart(s) failed" in helm("lint", CHART, "--strict", values=EVERYTHING)


@pytest.mark.parametrize("values", [pytest.param({}, id="defaults"), pytest.param(EVERYTHING, id="everything-set")])
def test_the_operator_takes_its_rendered_arguments(helm: Helm, values: Manifest) -> None:
    """What the Deployment passes are flags that `aigateway run` knows, with values that it allows."""
    [deployment] = [item for item in helm.render(values) if item["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    command, *flags = container["args"]
    flags = [flag for flag in flags if not flag.startswith("--gateway-grants=")]  # its file is in the pod

    # Without any way to a cluster it ends right after the settings were accepted.
    said = CliRunner().invoke(run, [*flags, "--kubeconfig=/dev/null", "--lease-namespace=a"])

    assert "run" == command
    assert 1 == said.exit_code, said.output


def test_all_values_reach_their_place(helm: Helm) -> None:
    """Names, image, scheduling and labels are as set; no default is left beside them."""
    documents = {(item["kind"], item["metadata"]["name"]): item for item in helm.render(EVERYTHING)}
    pod = documents["Deployment", "aigateway-operator-aigw"]["spec"]["template"]

    assert f"registry.example.com/team/aigateway-operator@sha256:{'0' * 64}" == pod["spec"]["containers"][0]["image"]
    assert {"c": "d"}.items() <= pod["metadata"]["labels"].items()
    assert {"a": "b"}.items() <= pod["metadata"]["annotations"].items()
    for name in ("priorityClassName", "nodeSelector", "tolerations", "affinity", "topologySpreadConstraints"):
        assert EVERYTHING[name] == pod["spec"][name]
    assert "somebody" == pod["spec"]["serviceAccountName"]


def test_rights_are_given_in_each_named_namespace(helm: Helm) -> None:
    """With `namespaces`, a Role and its binding stand in each of them."""
    roles = [item for item in helm.render({"namespaces": ["a", "b"]}) if item["kind"] in ("Role", "RoleBinding")]
    places = {(item["kind"], item["metadata"]["namespace"]) for item in roles if item["metadata"]["name"] == RELEASE}

    assert {(kind, place) for kind in ("Role", "RoleBinding") for place in ("a", "b")} == places


@pytest.mark.parametrize(
    ("namespaces", "places"),
    [
        pytest.param(["a", "b"], ["edge"], id="elsewhere"),
        pytest.param(["a", "edge"], [], id="in-one-of-them"),
        pytest.param([], [], id="across-the-cluster"),
    ],
)
def test_the_gateways_proxies_may_be_counted(helm: Helm, namespaces: list[str], places: list[str]) -> None:
    """With `gateways.service` and `namespaces`, slices may be read in its namespace, where nothing else allows it."""
    documents = helm.render({"namespaces": namespaces, "gateways": {"service": "edge/gateway"}})
    mine = [item for item in documents if item["metadata"]["name"] == f"{RELEASE}-gateway-service"]

    for kind in ("Role", "RoleBinding"):
        assert places == [item["metadata"]["namespace"] for item in mine if item["kind"] == kind]
    [rules] = [item["rules"] for item in mine if item["kind"] == "Role"] or [None]
    expected = [{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}]
    assert (expected if places else None) == rules


def about_envoy_filters(documents: list[Manifest]) -> set[tuple[str, str, str]]:
    """Return kind, name and namespace of the objects in which EnvoyFilters stand, but for the policies' definition."""
    return {
        (item["kind"], item["metadata"]["name"], item["metadata"].get("namespace", ""))
        for item in documents
        if item["kind"] != "CustomResourceDefinition" and "envoyfilter" in str(item).lower().replace("-", "")
    }


def test_envoy_filters_are_not_allowed_by_default(helm: Helm) -> None:
    """Whoever names no namespace gets no right to them and no gateway filter, and the operator is told of none."""
    assert set() == about_envoy_filters(helm.render({}))


def test_envoy_filters_are_allowed_for_named_namespaces(helm: Helm) -> None:
    """With `envoyFilter.namespaces`, each gets the gateway filter, the operator the right, and it is told of them."""
    found = about_envoy_filters(helm.render({"envoyFilter": {"namespaces": ["edge", "istio-ingress"]}}))

    assert found == {
        ("EnvoyFilter", "aigateway-gateway-filter", "edge"),
        ("EnvoyFilter", "aigateway-gateway-filter", "istio-ingress"),
        ("ClusterRole", f"{RELEASE}-envoy-filters", ""),
        ("ClusterRoleBinding", f"{RELEASE}-envoy-filters", ""),
        ("Deployment", RELEASE, NAMESPACE),
    }


def test_rights_to_envoy_filters_stay_in_named_namespaces(helm: Helm) -> None:
    """With `namespaces` too, a Role in each of both kinds of namespaces; nothing may be written across the cluster."""
    documents = helm.render({"namespaces": ["a", "edge"], "envoyFilter": {"namespaces": ["edge", "istio-ingress"]}})
    mine = [item for item in documents if item["metadata"]["name"] == f"{RELEASE}-envoy-filters"]
    roles = [item for item in mine if item["kind"] == "Role"]
    [across] = [item for item in mine if item["kind"] == "ClusterRole"]

    assert ["a", "edge", "istio-ingress"] == [role["metadata"]["namespace"] for role in roles]
    assert [["customresourcedefinitions"]] == [rule["resources"] for rule in across["rules"]]


def test_every_alert_is_one_that_prometheus_can_evaluate(stack: Stack, helm: Helm) -> None:
    """The real Prometheus takes each alert's expression."""
    assert "scaling" in stack.started
    [rule] = [item for item in helm.render(EVERYTHING) if item["kind"] == "PrometheusRule"]

    for alert in rule["spec"]["groups"][0]["rules"]:
        query = {"query": alert["expr"]}
        answer = requests.get(f"http://127.0.0.1:{PROMETHEUS}/api/v1/query", params=query, timeout=10).json()
        assert "success" == answer["status"], (alert["alert"], answer)
