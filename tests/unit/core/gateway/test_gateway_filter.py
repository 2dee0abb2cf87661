"""The gateway filter: what it may touch, and that it speaks of failures as the classification does."""

from __future__ import annotations

import re
from typing import Any

import pytest

from aigateway.api.classification import ANSWERS, GATEWAY_ERRORS, error_type
from aigateway.core.gateway.gateway_filter import (
    CONTRACT,
    FLAG_BITS,
    attempt_line,
    error_type_expression,
    gateway_filter,
    request_line,
)


def patches() -> list[dict[str, Any]]:
    """Return what is patched."""
    found: list[dict[str, Any]] = gateway_filter("istio-ingress")["spec"]["configPatches"]
    return found


def mappers() -> list[dict[str, Any]]:
    """Return the rules that turn the gateway's own responses into JSON, in their order."""
    manager = patches()[-1]["patch"]["value"]["typed_config"]
    found: list[dict[str, Any]] = manager["local_reply_config"]["mappers"]
    return found


def test_only_listeners_of_gateways_are_touched() -> None:
    """Sidecars keep their configuration, and nothing that a policy patches is patched here."""
    assert {("GATEWAY", frozenset({"context", "listener"}))} == {
        (patch["match"]["context"], frozenset(patch["match"])) for patch in patches()
    }


def test_filters_are_off_and_in_front_of_the_router() -> None:
    """A late request is refused before it takes a token, and no filter runs where no route asks for it."""
    inserted = [patch["patch"] for patch in patches() if patch["patch"]["operation"] == "INSERT_BEFORE"]

    names = ["aigateway.deadline", "aigateway.retry-after", "aigateway.ratelimit"]
    assert [(name, True) for name in names] == [
        (patch["value"]["name"], patch["value"]["disabled"]) for patch in inserted
    ]


def test_it_says_what_may_be_asked_of_it() -> None:
    """The operator compares the number with what its routes ask for."""
    body = gateway_filter("istio-ingress")

    assert {"aigateway.dev/gateway-filter-contract": str(CONTRACT)} == body["metadata"]["annotations"]


def test_every_flag_of_the_classification_has_a_bit() -> None:
    """A flag that CEL could not test would be missing from the logs."""
    assert {flag for error in GATEWAY_ERRORS for flag in error.flags} == set(FLAG_BITS)


def test_every_error_of_the_classification_has_a_body() -> None:
    """No response of the gateway is left without a type, and the general ones come last."""
    types = [mapper["body_format_override"]["json_format"]["error"]["type"] for mapper in mappers()]

    assert {error.type for error in GATEWAY_ERRORS if error.status} <= set(types)
    assert "gateway_error" == types[-1]


def test_every_body_is_restricted_to_routes_that_ask_for_it() -> None:
    """Each rule first looks at the route's metadata, so that other routes keep their bodies."""
    for mapper in mappers():
        filters = mapper["filter"].get("and_filter", {"filters": [mapper["filter"]]})["filters"]
        expression = filters[0]["extension_filter"]["typed_config"]["expression"]

        assert expression.startswith("xds.route_metadata.filter_metadata['aigateway.dev'].errors == 'JSON' && ")


def test_expressions_end_where_they_should() -> None:
    """Envoy ends an expression at the first percent sign after a bracket; there is none inside."""
    lines = [value for line in (request_line(), attempt_line()) for value in line.values()]

    assert all(re.fullmatch(r"[^%]*|%[^%]+%|%(START|EMIT)_TIME\(.*\)%", value) for value in lines), lines
    assert "%" not in error_type_expression()


def test_path_is_logged_without_its_query() -> None:
    """A query may hold a key or a prompt."""
    assert "%PATH(NQ)%" == request_line()["path"]


@pytest.mark.parametrize("flags", [frozenset({flag}) for flag in FLAG_BITS] + [frozenset()], ids="-".join)
@pytest.mark.parametrize("status", [0, 200, 302, 418, 599, *(answer.status for answer in ANSWERS)])
def test_error_type_is_that_of_the_classification(status: int, flags: frozenset[str]) -> None:
    """The expression in the log lines gives for every status and flag what the table says."""
    assert error_type(status, flags) == evaluated(error_type_expression(), status, flags)


@pytest.mark.parametrize("flags", [frozenset({flag}) for flag in FLAG_BITS], ids="-".join)
def test_a_models_own_answer_goes_by_its_status(flags: frozenset[str]) -> None:
    """Envoy says overload of an answer that a budget kept from being retried, and timeout of one of two attempts."""
    assert "unavailable" == evaluated(error_type_expression(), 503, flags, via_upstream=True)
    assert evaluated(error_type_expression(), 200, flags, via_upstream=True) is None


def evaluated(expression: str, status: int, flags: frozenset[str], *, via_upstream: bool = False) -> str | None:
    """Return what Envoy would make of the chain of conditions, with the numbers it would put in."""
    answered = "has(response.code_details) && response.code_details == 'via_upstream'"
    expression = expression.replace(f"!({answered}) && ", f"{not via_upstream} and ")
    number = str(sum(FLAG_BITS[flag] for flag in flags))
    for part in expression.split(" : "):
        condition, _, value = part.rpartition(" ? ")
        python = condition.replace("response.flags", number).replace("response.code", str(status)).replace("||", "or")
        python = python.replace(f"!has({status})", str(status == 0)).replace("/", "//")
        if "metadata" in condition:
            continue
        if not condition or eval(python, {}):  # noqa: S307 (our own text)
            return None if value == "null" else value.strip("'")
    return None
