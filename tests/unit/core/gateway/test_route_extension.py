"""What a policy's routes and virtual hosts carry for the gateway filter."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway.api.resolved import RateLimit
from aigateway.core.gateway.route_extension import (
    DEADLINE_FILTER,
    RATE_LIMIT_FILTER,
    bounded_keys,
    deadline,
    rate_limits,
    retry_after,
    route_metadata,
)

ALL = RateLimit("all", 100, 1_000, 200, None)
BY_KEY = RateLimit("by-key", 1, 1_500, 2, "x-api-key")
BY_TENANT = RateLimit("by-tenant", 10, 60_000, 20, "x-tenant")


@pytest.mark.parametrize(
    ("errors_json", "log", "expected"),
    [
        pytest.param(False, None, {"policy": "models/chat"}, id="bare"),
        pytest.param(True, None, {"policy": "models/chat", "errors": "JSON"}, id="json-errors"),
        pytest.param(
            True, "Attempts", {"policy": "models/chat", "errors": "JSON", "log": "Attempts"}, id="json-errors-and-log"
        ),
    ],
)
def test_route_metadata(errors_json: bool, log: str | None, expected: dict[str, str]) -> None:
    """A route says whose it is, and names only what is wanted of the gateway."""
    repeated = route_metadata("models/chat", errors_json=errors_json, log=log, repeats=True)
    assert {"filter_metadata": {"aigateway.dev": {**expected, "repeats": "Processed"}}} == repeated
    found = route_metadata("models/chat", errors_json=errors_json, log=log)

    assert {"filter_metadata": {"aigateway.dev": expected}} == found


def test_deadline_without_bounds_of_the_route_names_none() -> None:
    """A bound that the route has not is left out of the script's parameters: 0 would be no time at all."""
    pieces = deadline("x-request-deadline", request=None, per_try=None, backoff=200, attempts=2)

    assert {"header": "x-request-deadline", "attempts": 2, "backoff_ms": 200} == pieces["metadata"]["filter_metadata"][
        DEADLINE_FILTER
    ]


def test_deadline_is_switched_on_by_the_name_of_the_script() -> None:
    """The parameters are metadata: in the filter's own configuration an older Envoy might refuse them."""
    pieces = deadline("x-request-deadline", request=60_000, per_try=2_000, backoff=200, attempts=2)

    parameters = pieces["metadata"]["filter_metadata"][DEADLINE_FILTER]
    assert (60_000, 2_000) == (parameters["request_ms"], parameters["per_try_ms"])
    switch = {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute", "name": "deadline"}
    assert {DEADLINE_FILTER: switch} == pieces["typed_per_filter_config"]


def limited(*limits: RateLimit) -> dict[str, Any]:
    """Return the configuration of the rate limit filter."""
    found = rate_limits(limits, policy="models/chat", stat_prefix="models_chat")
    config: dict[str, Any] = found["typed_per_filter_config"][RATE_LIMIT_FILTER]
    return config


def test_buckets_are_for_routes_of_the_policy_alone() -> None:
    """On the same host others may have routes: their requests take from no bucket of ours."""
    config = limited(ALL, BY_KEY)

    assert {"policy": "models/chat"} == {e["key"]: e["value"] for e in config["descriptors"][0]["entries"]}
    [of_policy] = config["rate_limits"][0]["actions"]
    assert ("ROUTE_ENTRY", "aigateway.dev") == (
        of_policy["metadata"]["source"],
        of_policy["metadata"]["metadata_key"]["key"],
    )
    assert all(of_policy == limit["actions"][0] for limit in config["rate_limits"])
    assert (False, 2**32 - 1) == (
        config["always_consume_default_token_bucket"],
        config["token_bucket"]["max_tokens"],
    )


def test_a_bucket_holds_the_burst_and_is_filled_at_the_rate() -> None:
    """Tokens, tokens an interval, and the interval."""
    [descriptor] = limited(ALL)["descriptors"]

    assert {"max_tokens": 200, "tokens_per_fill": 100, "fill_interval": "1.000s"} == descriptor["token_bucket"]


def test_each_limit_by_key_has_a_bucket_for_every_value() -> None:
    """An empty value in Envoy's words; requests without the key match none of them."""
    config = limited(BY_KEY, BY_TENANT)

    assert ["by-key", "by-tenant"] == [each["entries"][1]["key"] for each in config["descriptors"]]
    assert ["", ""] == [each["entries"][1]["value"] for each in config["descriptors"]]
    assert {"header_name": "x-api-key", "descriptor_key": "by-key"} == config["rate_limits"][0]["actions"][1][
        "request_headers"
    ]


def test_keys_are_bounded_where_there_are_any() -> None:
    """The script looks at their length, since the proxy keeps what it counts by."""
    found = bounded_keys([ALL, BY_KEY, BY_TENANT])

    assert {"keys": ["x-api-key", "x-tenant"]} == found["metadata"]["filter_metadata"][DEADLINE_FILTER]
    assert DEADLINE_FILTER in found["typed_per_filter_config"]
    assert {} == bounded_keys([ALL])


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        pytest.param([ALL], 1, id="faster-than-a-second"),
        pytest.param([BY_KEY], 2, id="rounded-up"),
        pytest.param([ALL, BY_TENANT, BY_KEY], 6, id="slowest-of-several"),
    ],
)
def test_retry_after(limits: list[RateLimit], expected: int) -> None:
    """Clients are told whole seconds, never 0, in which the slowest bucket gets a token."""
    assert expected == retry_after(limits)
