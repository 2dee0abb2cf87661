"""What a policy's routes and virtual hosts carry for the gateway filter."""

from __future__ import annotations

import pytest

from aigateway.api.resolved import RateLimit
from aigateway.core.gateway.route_extension import (
    DEADLINE_FILTER,
    RATE_LIMIT_FILTER,
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


def test_limit_without_a_key_is_the_default_bucket() -> None:
    """All requests take from one bucket, which holds the burst and is filled at the rate."""
    config = rate_limits([ALL], stat_prefix="models_chat")["typed_per_filter_config"][RATE_LIMIT_FILTER]

    assert {"max_tokens": 200, "tokens_per_fill": 100, "fill_interval": "1.000s"} == config["token_bucket"]
    assert config["always_consume_default_token_bucket"] is True
    assert "descriptors" not in config


def test_limits_by_key_alone_leave_requests_without_the_key_free() -> None:
    """Each limit has a bucket for every value of its header, and the default one never runs dry."""
    config = rate_limits([BY_KEY, BY_TENANT], stat_prefix="models_chat")["typed_per_filter_config"][RATE_LIMIT_FILTER]

    assert ["by-key", "by-tenant"] == [each["entries"][0]["key"] for each in config["descriptors"]]
    assert ["", ""] == [each["entries"][0]["value"] for each in config["descriptors"]]
    assert {"header_name": "x-api-key", "descriptor_key": "by-key"} == config["rate_limits"][0]["actions"][0][
        "request_headers"
    ]
    assert config["always_consume_default_token_bucket"] is False
    assert 2**32 - 1 == config["token_bucket"]["max_tokens"]


def test_request_has_to_fit_into_both_kinds_of_limit() -> None:
    """With a limit for all and one by key, a request that its key lets through takes from the common bucket as well."""
    config = rate_limits([BY_KEY, ALL], stat_prefix="models_chat")["typed_per_filter_config"][RATE_LIMIT_FILTER]

    assert 200 == config["token_bucket"]["max_tokens"]
    assert 1 == len(config["descriptors"])
    assert config["always_consume_default_token_bucket"] is True


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
