"""The chart's files as they are committed: generated ones are current, and settings agree with the operator's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import aigateway
from aigateway.cli.run import run
from aigateway.core.gateway.gateway_filter import gateway_filter
from aigateway.metrics.instruments import ALL
from aigateway.settings import Settings
from tools.chart import pages
from tools.chart.generate import CHART, chart_files, stale
from tools.chart.values import read

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / CHART / "templates"
DEFAULTS = {value.name: value.default for value in read((ROOT / CHART / "values.yaml").read_text())}

SETTING_OF = {
    "namespaces": "namespaces",
    "gateways.default": "default_gateway",
    "gateways.namespaces": "gateway_namespaces",
    "gateways.service": "gateway_service",
    "envoyFilter.namespaces": "allow_envoy_filter",
    "envoyFilter.maxBufferLimit": "max_buffer_limit",
    "istio.rootNamespace": "root_namespace",
    "clusterDomain": "cluster_domain",
    "scaling.prometheusAddress": "prometheus_address",
    "scaling.windowSeconds": "scaling_window",
    "scaling.pollingSeconds": "scaling_polling",
    "sampling.address": "sampling_address",
    "sampling.intervalSeconds": "sampling_interval",
    "log.level": "log_level",
    "log.format": "log_format",
    "concurrency": "concurrency",
    "leaderElection.leaseSeconds": "lease_duration",
    "leaderElection.renewDeadlineSeconds": "lease_renew_deadline",
    "leaderElection.retrySeconds": "lease_retry",
}
NOT_FOR_PODS = {
    "kubeconfig": "a pod has its own access",
    "context": "same",
    "leader-election": "a rolling update always has two replicas for a while",
    "lease-namespace": "the pod's own is the only one where the operator has rights",
}


def test_generated_files_are_current() -> None:
    """After a change of models, values or version somebody ran `make generate`."""
    assert [] == stale(ROOT, chart_files(ROOT))


@pytest.mark.parametrize(("value", "setting"), SETTING_OF.items(), ids=SETTING_OF)
def test_a_default_is_the_operators_own(value: str, setting: str) -> None:
    """Whoever sets nothing gets the same from the chart as from the command line."""
    default = DEFAULTS[value]

    assert (getattr(Settings(), setting) or None) == (
        (tuple(default) if isinstance(default, list) else default) or None
    )


def test_every_flag_can_be_set_by_a_value() -> None:
    """No setting is out of reach of who installs the chart, but for those that make no sense in a pod."""
    flags = {option.removeprefix("--") for parameter in run.params for option in parameter.opts}
    deployment = (TEMPLATES / "deployment.yaml").read_text()

    assert flags == set(re.findall(r"- --([a-z-]+)=", deployment)) | set(NOT_FOR_PODS)


def test_version_and_tag_come_from_the_package() -> None:
    """Chart, image tag and label of the definition have the version that the package states."""
    metadata = yaml.safe_load((ROOT / CHART / "Chart.yaml").read_text())

    assert {aigateway.__version__} == {metadata["version"], metadata["appVersion"]}
    assert "" == DEFAULTS["image.tag"]


def test_no_registry_is_named() -> None:
    """Whose image it is, is for who installs it to say."""
    assert "" == DEFAULTS["image.registry"]
    assert "/" not in DEFAULTS["image.repository"]


def alerts() -> dict[str, str]:
    """Return the expression of each alert in the chart."""
    text = (TEMPLATES / "prometheusrule.yaml").read_text()
    return dict(re.findall(r"- alert: (\w+)\n\s+expr: (.+)\n", text))


def test_alerts_ask_for_metrics_that_exist() -> None:
    """An alert on a metric that nobody exports would never fire."""
    exported = {name for one in ALL for name in (one.name, f"{one.name}_total")}

    assert [] == [
        name for text in alerts().values() for name in re.findall(r"aigateway_\w+", text) if name not in exported
    ]


def test_every_alert_has_a_runbook() -> None:
    """Whoever is woken up finds what to do under the alert's name."""
    page = (ROOT / "docs" / "runbooks" / "operator-alerts.md").read_text()

    assert sorted(alerts()) == sorted(re.findall(r"^## (\w+)$", page, flags=re.MULTILINE))


@pytest.mark.parametrize(
    "crd",
    [
        pytest.param("metadata:\n  labels:\n    a: b\nspec: {x: '{{ y }}'}\napiVersion: v1\n", id="braces"),
        pytest.param("apiVersion: v1\nmetadata:\n  name: a\n", id="no-labels"),
    ],
)
def test_a_definition_that_helm_would_misread_is_refused(crd: str) -> None:
    """What helm would take for its own language cannot get into a template unseen."""
    with pytest.raises(ValueError, match="cannot become a template"):
        pages.definition_template(crd)


def test_a_gateway_filter_that_helm_would_misread_is_refused() -> None:
    """The same holds for the gateway filter, with its scripts and formats."""
    with pytest.raises(ValueError, match="cannot become a template"):
        pages.gateway_filter_template(gateway_filter("any") | {"spec": {"script": "a = {{1}}"}})


def test_the_plain_gateway_filter_is_what_the_operator_looks_for() -> None:
    """Who installs with kubectl gets the filter of this version, with nothing that only helm reads."""
    [found] = documents("envoy-filter/gateway-filter.yaml")
    wanted = gateway_filter("istio-system")

    assert wanted["spec"] == found["spec"]
    assert wanted["metadata"]["annotations"] == found["metadata"]["annotations"]
    assert wanted["metadata"]["labels"].items() <= found["metadata"]["labels"].items()


def test_a_page_without_marks_is_refused() -> None:
    """The table of values goes between two marks, and nowhere else."""
    with pytest.raises(ValueError, match="needs the lines"):
        pages.with_table("# A page\n", [])


def documents(manifest: str) -> list[dict[str, Any]]:
    """Return what is in a plain manifest."""
    return list(yaml.safe_load_all((ROOT / "manifests" / manifest).read_text()))


def role_rules(manifest: str) -> list[dict[str, Any]]:
    """Return all rules that a manifest gives the operator."""
    roles = [item for item in documents(manifest) if item["kind"] in ("ClusterRole", "Role")]
    return [rule for role in roles if "aggregate" not in str(role) for rule in role["rules"]]


def test_rights_are_free_of_what_leads_to_more() -> None:
    """No wildcard, no secrets, nothing by which an account gives itself more rights, no write to definitions.

    EnvoyFilters, by which all traffic can be had, come only with a manifest of their own.
    """
    dangerous = {"secrets", "pods/exec", "serviceaccounts/token", "roles", "clusterroles"}
    rules = role_rules("install/operator.yaml")

    assert "envoyfilters" not in str(rules)
    for rule in rules + role_rules("envoy-filter/rights.yaml"):
        words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert set() == words & ({"*", "escalate", "bind", "impersonate"} | dangerous)
        assert rule["resources"] != ["customresourcedefinitions"] or rule["verbs"] == ["get"]
