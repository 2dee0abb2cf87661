"""The script's text; what it does is asked of a real Envoy in tests/integration/gateway_filter."""

from __future__ import annotations

from aigateway.core.gateway.deadline_lua import deadline_lua

SCRIPT = deadline_lua(
    filter_name="a.filter", late=("gone", "too late"), invalid=("bad", "no time"), too_long=("bad", "too long")
)


def test_answers_are_named_as_given() -> None:
    """Types, messages and the filter's name are put into the script."""
    assert 'message = "too late"' in SCRIPT
    assert 'error_type = "gone"' in SCRIPT
    assert 'dynamic:set("a.filter", "error_type", refusal.error_type)' in SCRIPT


def test_patterns_are_those_of_lua() -> None:
    """The dollar signs of Lua's patterns survive."""
    assert '"^(%d+)([HMSmun])$"' in SCRIPT
