"""Which lines belong together, and what happens where some never come."""

from __future__ import annotations

import pytest

from aigateway.cli.gateway_log import AttemptLine, RequestLine, parse
from aigateway.cli.joining import Joined, Joiner
from tests.gateway_lines import Line, as_log, attempt, request

LOST = 10
"""A number of retries of which attempts never came."""


def parsed(*lines: Line) -> list[RequestLine | AttemptLine]:
    """Return lines as they are read."""
    return [line for line in map(parse, map(as_log, lines)) if line is not None]


def told(joined: Joined) -> tuple[str | None, list[int | None]]:
    """Return a request's path, None where there is no line of it, and the numbers of its attempts."""
    return joined.request.path if joined.request else None, [attempt.attempt for attempt in joined.attempts]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(
            [attempt("a", 1, 0, 5), attempt("a", 2, 9, 5), request("a", 0, 14, retries=1)],
            [("/v1/chat", [1, 2])],
            id="whole",
        ),
        pytest.param(
            [request("a", 0, 14, retries=1), attempt("a", 2, 9, 5), attempt("a", 1, 0, 5)],
            [("/v1/chat", [1, 2])],
            id="in-another-order",
        ),
        pytest.param([request("a", 0, 14, retries=1)], [("/v1/chat", [])], id="no-attempts"),
        pytest.param([attempt("a", 1, 0, 5), attempt("a", 2, 9, 5)], [(None, [1, 2])], id="no-request"),
        pytest.param(
            [attempt("a", 1, 0, 5), request("a", 0, 14, retries=LOST)], [("/v1/chat", [1])], id="attempts-missing"
        ),
        pytest.param(
            [attempt("a", 1, 0, 5), request("a", 0, 5) | {"retry_count": None}], [("/v1/chat", [1])], id="no-count"
        ),
        pytest.param(
            [attempt("a", 1, 0, 5), request("a", 0, 5, policy="models/other")],
            [(None, [1]), ("/v1/chat", [])],
            id="the-same-id-in-another-policy",
        ),
        pytest.param(
            [
                request("a", 0, 5, retries=LOST, path="/first"),
                attempt("a", 1, 50, 5),
                request("a", 49, 9, path="/second"),
            ],
            [("/second", [1]), ("/first", [])],
            id="a-client-sends-an-id-twice",
        ),
        pytest.param(
            [attempt("a", 1, 0, 5), request("a", 50, 9, path="/second")],
            [("/second", []), (None, [1])],
            id="an-attempt-of-an-earlier-request",
        ),
        pytest.param([attempt("a", 1, 3, 5), request("a", 0, 5) | {"time": None}], [("/v1/chat", [1])], id="no-time"),
        pytest.param(
            [attempt("a", 1, 3, 5), request("a", 0, 5) | {"duration_ms": None}], [("/v1/chat", [1])], id="no-duration"
        ),
        pytest.param(
            [attempt("a", 1, 0, 5) | {"request_id": None}, request("a", 0, 5) | {"request_id": None}],
            [(None, [1]), ("/v1/chat", [])],
            id="no-id",
        ),
    ],
)
def test_what_belongs_together(lines: list[Line], expected: list[tuple[str | None, list[int]]]) -> None:
    """Lines are joined by policy, route, id and time; what has no counterpart stands alone."""
    assert expected == [told(joined) for joined in Joiner().join(parsed(*lines))]


def test_a_whole_request_is_not_held() -> None:
    """It is given out with its last line, before the next is read."""
    joiner = Joiner()
    lines = iter(parsed(attempt("a", 1, 0, 5), request("a", 0, 5), request("b", 0, 5)))

    first = next(joiner.join(lines))

    assert ("/v1/chat", [1]) == told(first)
    assert "b" == next(lines).request_id


def test_the_oldest_goes_first() -> None:
    """Where too many lines wait, those that have waited longest go as they are, and it is counted."""
    joiner = Joiner(most=3)
    waiting = [request(name, 0, 5, retries=LOST, path=f"/{name}") for name in "abcde"]

    found = [told(joined) for joined in joiner.join(parsed(*waiting))]

    assert [(f"/{name}", []) for name in "abcde"] == found
    assert 2 == joiner.given_up


def test_one_id_cannot_hold_everything() -> None:
    """A client that sends the same id for ever is no reason to wait for ever."""
    joiner = Joiner()
    lines = [request("a", number, 0, retries=LOST) for number in range(150)]

    assert 150 == len(list(joiner.join(parsed(*lines))))
    assert 101 == joiner.given_up
