"""What holds for every policy: it resolves, its weights are whole, and durations survive writing and reading."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aigateway.api.administrator import Administrator
from aigateway.api.problems import MOST_PROBLEMS, Rejection
from aigateway.api.resolve import load, parse
from aigateway.api.resolved import ResolvedPolicy
from aigateway.api.types import format_duration, parse_duration
from tests.policies import Raw
from tests.strategies import policies

ADMINISTRATOR = Administrator(default_gateway="istio-system/ai-gateway")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(policies())
def test_every_valid_policy_resolves(raw: Raw) -> None:
    """What is valid by construction is accepted, completely, and left as it was."""
    before = copy.deepcopy(raw)

    policy = load(raw, ADMINISTRATOR)

    assert isinstance(policy, ResolvedPolicy)
    assert before == raw
    assert 100 == sum(backend.weight for backend in policy.backends)
    assert [backend["name"] for backend in raw["spec"]["backends"]] == [backend.name for backend in policy.backends]
    assert bool(policy.hosts) == bool(policy.gateways)
    for backend in policy.backends:
        if backend.autoscaling:
            assert 1 <= backend.autoscaling.min_replicas <= backend.autoscaling.max_replicas


@given(st.dictionaries(st.sampled_from(("apiVersion", "kind", "metadata", "spec", "x")), JSON))
def test_no_object_is_an_exception(raw: dict[str, Any]) -> None:
    """Whatever JSON there is in place of a policy is answered with problems."""
    parsed = parse(raw)

    assert isinstance(parsed, Rejection)
    assert 1 <= len(parsed.problems) <= MOST_PROBLEMS


@given(policies(), JSON)
def test_no_spec_is_an_exception(raw: Raw, value: Any) -> None:
    """A value of any kind at any place is at worst a problem."""
    for field in list(raw["spec"]):
        parse({**raw, "spec": {**raw["spec"], field: value}})


@given(st.integers(0, 99_999 * 3_600_000))
def test_a_duration_survives(milliseconds: int) -> None:
    """Writing and reading a duration gives the same milliseconds."""
    assert milliseconds == parse_duration(format_duration(milliseconds))
