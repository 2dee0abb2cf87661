"""The table of queries: closed, exact, and one for many backends.

That Prometheus takes them, and what they give, is asked of a real one in the integration tests.
"""

from __future__ import annotations

import re

import pytest

from aigateway.core.observation import Metric
from aigateway.core.signals import Target
from aigateway.metrics.queries import host_of, query

LLM = Target("models", "llm-v1", (80,))


@pytest.mark.parametrize("metric", Metric)
def test_every_metric_has_a_query(metric: Metric) -> None:
    """All that can be wanted can be asked, with brackets that match and the window in every range."""
    text = query(metric, [LLM], 60, "cluster.local")

    assert text.count("(") == text.count(")")
    assert {"60s"} == set(re.findall(r"\[([^\]]*)\]", re.sub(r'"[^"]*"', "", text)))
    assert "destination_service" in text


@pytest.mark.parametrize("metric", Metric)
def test_only_whole_names_match(metric: Metric) -> None:
    """Every regular expression matches the names that were asked for and nothing like them."""
    text = query(metric, [LLM, Target("models", "b", (8080,))], 60, "cluster.local")
    for label, quoted in re.findall(r'(destination_service|cluster_name)=~"([^"]*)"', text):
        pattern = re.compile(quoted.replace("\\\\", "\\"))
        prefix = "" if label == "destination_service" else "outbound|80||"
        assert pattern.fullmatch(f"{prefix}llm-v1.models.svc.cluster.local")
        for other in ("llm-v1xmodels.svc.cluster.local", "llm-v1.models.svc.cluster.local.evil", "c", ""):
            assert not pattern.fullmatch(prefix + other)


def test_attempts_are_asked_of_the_ports_that_are_known() -> None:
    """Envoy's statistics are those of the policy's own port; without one, requests are all that can be counted."""
    two = query(Metric.FAILURE_PERCENT, [Target("models", "llm", (80, 81))], 60, "cluster.local")
    none = query(Metric.FAILURE_PERCENT, [Target("models", "llm")], 60, "cluster.local")

    assert re.search(r'cluster_name=~"outbound\S+80\S+\|outbound\S+81\S+"', two)
    assert "envoy_" not in none
    assert "istio_requests_total" in none


def test_a_full_shard_fits_into_a_request() -> None:
    """Two hundred backends with long names are asked for in well under a megabyte."""
    targets = [Target("n" * 63, f"{index:063}", (65535,)) for index in range(200)]

    assert len(query(Metric.FAILURE_PERCENT, targets, 3600, "cluster.local")) < 500_000


def test_the_host_of_a_service() -> None:
    """Istio names a Service by its full host."""
    assert "llm-v1.models.svc.k8s.example" == host_of(LLM, "k8s.example")
