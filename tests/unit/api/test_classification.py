"""Failures have one name each, and what may be retried is told apart from what may not."""

from __future__ import annotations

import pytest

from aigateway.api.classification import (
    ANSWERS,
    GATEWAY_ERRORS,
    RETRYABLE_STATUS_CODES,
    Severity,
    error_type,
    gateway_error,
)


def test_names_and_statuses_are_unique() -> None:
    """A type or status that stood twice would be decided by the order of a table."""
    assert len(ANSWERS) == len({answer.status for answer in ANSWERS}) == len({answer.type for answer in ANSWERS})
    assert len(GATEWAY_ERRORS) == len({error.type for error in GATEWAY_ERRORS})
    flags = [flag for error in GATEWAY_ERRORS for flag in error.flags]
    assert len(flags) == len(set(flags))


def test_what_is_never_retried() -> None:
    """The same request gets the same answer; nobody may ask for such a retry."""
    assert not {400, 401, 403, 404, 422, 501, 505} & set(RETRYABLE_STATUS_CODES)
    assert {429, 500, 503} <= set(RETRYABLE_STATUS_CODES)


@pytest.mark.parametrize("answer", [pytest.param(answer, id=str(answer.status)) for answer in ANSWERS])
def test_severity_is_by_hundreds(answer: object) -> None:
    """A 4xx is the client's fault, a 5xx the server's (RFC 9110, 15)."""
    status, severity = answer.status, answer.severity  # type: ignore[attr-defined]

    assert severity is (Severity.CLIENT if status < 500 else Severity.SERVER)


@pytest.mark.parametrize(
    ("status", "flags", "expected"),
    [
        pytest.param(200, set(), None, id="no-failure"),
        pytest.param(503, set(), "unavailable", id="the-models-own"),
        pytest.param(503, {"UO"}, "overloaded", id="limit-of-the-pool"),
        pytest.param(503, {"URX", "UF"}, "connect_failure", id="retries-used-up"),
        pytest.param(504, {"UT"}, "upstream_timeout", id="too-slow"),
        pytest.param(0, {"DC"}, "client_disconnected", id="client-gone"),
        pytest.param(0, set(), "gateway_error", id="no-answer-and-no-reason"),
        pytest.param(418, set(), "client_error", id="client-error-without-a-name"),
        pytest.param(599, set(), "server_error", id="server-error-without-a-name"),
    ],
)
def test_error_type(status: int, flags: set[str], expected: str | None) -> None:
    """What the gateway made of it goes before the status."""
    assert expected == error_type(status, frozenset(flags))


def test_only_what_was_not_sent_may_be_repeated_by_anyone() -> None:
    """A client is told to repeat a request of any method only where no model has seen it."""
    assert {"rate_limited", "overloaded", "no_healthy_upstream", "connect_failure"} == {
        error.type for error in GATEWAY_ERRORS if error.retryable
    }
    assert gateway_error(frozenset()) is None
