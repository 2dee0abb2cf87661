"""The operator's metrics: one table, names by convention, values at the time of a scrape."""

from __future__ import annotations

import re

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from aigateway.metrics.instruments import ALL, Description, Instruments, Readings


def samples(instruments: Instruments) -> dict[str, float]:
    """Return what a scrape shows, by name and labels."""
    families = text_string_to_metric_families(generate_latest(instruments.registry).decode())
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def running() -> Instruments:
    """Return instruments of an operator with one policy ready, and one watch."""
    instruments = Instruments()
    readings = Readings(
        queue_depth=lambda: 3.0,
        policies_by_ready=lambda: {"True": 1.0, "False": 0.0},
        policies_by_retries=lambda: {"LatencyHigh": 1.0},
        watch_ages=lambda: {"services": 1.5},
        kopf_restarts=lambda: 2.0,
        leads=lambda: 1.0,
        lease_transitions=lambda: 4.0,
    )
    instruments.read_from(readings)
    instruments.reconciled("changed", 0.02)
    instruments.requested("apply", "services", 200, 0.004)
    instruments.queried("Answered")
    instruments.ticked(0.1)
    instruments.sampled({("LatencyP99", "Empty"): 1})
    instruments.sampled({("LatencyP99", "Sample"): 2})
    return instruments


def test_counting() -> None:
    """Passes and requests are counted by result and code."""
    found = samples(running())

    assert 1 == found["aigateway_reconciles_total[changed]"]
    assert 1 == found["aigateway_reconcile_duration_seconds_count"]
    assert 1 == found["aigateway_api_requests_total[200][services][apply]"]
    assert 1 == found["aigateway_api_request_duration_seconds_count[apply]"]


def test_sampling() -> None:
    """Questions are counted by what came of them; of the values only those of the last tick are shown."""
    found = samples(running())

    assert 1 == found["aigateway_prometheus_queries_total[Answered]"]
    assert 1 == found["aigateway_sampling_duration_seconds_count"]
    assert 2 == found["aigateway_samples[LatencyP99][Sample]"]
    assert "aigateway_samples[LatencyP99][Empty]" not in found


def test_reading() -> None:
    """What can be read off is read at the time of the scrape."""
    found = samples(running())

    assert (3, 2) == (found["aigateway_queue_depth"], found["aigateway_policy_watch_restarts"])
    assert (1, 0) == (found["aigateway_policies[True]"], found["aigateway_policies[False]"])
    assert 1 == found["aigateway_adaptive_policies[LatencyHigh]"]
    assert 1.5 == found["aigateway_watch_age_seconds[services]"]
    assert (1, 4) == (found["aigateway_leader"], found["aigateway_lease_transitions"])


def test_before_anything_runs() -> None:
    """A scrape during the start shows the build and no invented numbers."""
    found = samples(Instruments())

    assert ["aigateway_build_info"] == [re.sub(r"\[.*", "", name) for name in found if "duration" not in name]


@pytest.mark.parametrize("description", [pytest.param(item, id=item.name) for item in ALL])
def test_the_table_is_what_is_shown(description: Description) -> None:
    """Every metric of the table is there once the operator runs, with its meaning, under a name by convention."""
    text = generate_latest(running().registry).decode()

    assert re.fullmatch(r"aigateway_[a-z_]+", description.name)
    assert re.search(rf"# HELP {description.name}(_total)? {re.escape(description.meaning)}\n", text)
