"""What ``aigateway retries`` tells of any log: the same in whatever order its lines come, nothing lost, no crash."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from aigateway.cli.gateway_log import Reader
from aigateway.cli.joining import Joiner
from aigateway.cli.main import main
from aigateway.cli.views.retries import RequestView, by_time, request_view
from tests.gateway_lines import Line, as_log, attempt, request


def told(lines: list[Line], most: int = 100_000) -> list[RequestView]:
    """Return what is told of lines in this order."""
    read = Reader().lines([io.StringIO(as_log(*lines))])
    return list(by_time(map(request_view, Joiner(most).join(read)), most))


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[Line], list[Line]]:
    """Return the lines of some requests, some of which are lost, in two orders."""
    lines: list[Line] = []
    for number in range(draw(st.integers(1, 5))):
        name, began = f"request-{number}", draw(st.integers(0, 1000))
        at, statuses = began, draw(st.lists(st.sampled_from((200, 503, 504)), min_size=1, max_size=4))
        for count, status in enumerate(statuses, 1):
            wait, duration = draw(st.integers(0, 300)), draw(st.integers(0, 300))
            lines.append(attempt(name, count, at + wait, duration, status))
            at += wait + duration
        lines.append(request(name, began, at - began, statuses[-1], len(statuses) - 1))
    there = [line for line in lines if draw(st.integers(0, 9))]
    return there, draw(st.permutations(there))


@given(logs())
def test_order_does_not_matter(log: tuple[list[Line], list[Line]]) -> None:
    """Any interleaving of lines gives the same requests, by their time."""
    before, after = map(told, log)

    assert before == after
    assert sorted(view.time or "" for view in after) == [view.time for view in after]


@given(logs(), st.integers(1, 6))
def test_nothing_is_lost(log: tuple[list[Line], list[Line]], most: int) -> None:
    """However few lines can be held, each of them is in exactly one request."""
    _, lines = log
    views = told(lines, most)

    assert Counter(line["request_id"] for line in lines if line["kind"] == "attempt") == Counter(
        view.request_id for view in views for _ in view.attempts
    )
    assert sorted(line["request_id"] for line in lines if line["kind"] == "request") == sorted(
        view.request_id or "" for view in views if view.logged != "attempts"
    )


@given(logs())
def test_waits_and_attempts_fill_the_request(log: tuple[list[Line], list[Line]]) -> None:
    """Of a request of which all lines are there, attempts and the waits between them last no longer than itself."""
    for view in told(log[1]):
        if view.logged == "both" and not view.missing_attempts and view.duration_ms is not None:
            spent = sum((a.duration_ms or 0) + (a.backoff_delay or 0) for a in view.attempts)
            assert spent <= view.duration_ms
            assert [None] == [a.backoff_delay for a in view.attempts if a.backoff_delay is None]


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("2026-03-01T12:00:00.000Z"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Return a line of ours with odd values, cut somewhere, or no line of ours at all."""
    line: dict[str, Any] = draw(st.sampled_from((request("a", 0, 9, retries=1), attempt("a", 1, 0, 9))))
    changes = draw(st.dictionaries(st.sampled_from(sorted(line)), _values, max_size=4))
    text = json.dumps(line | changes)
    return draw(st.sampled_from((text, text[: draw(st.integers(0, len(text)))], draw(st.text(max_size=20)))))


@given(st.lists(damaged(), max_size=6), st.sampled_from([[], ["--all"], ["--summary"], ["--all", "-o", "json"]]))
def test_nothing_in_a_log_is_too_odd(lines: list[str], args: list[str]) -> None:
    """Whatever stands in a log, the command reads it to its end."""
    log = "\n".join(lines).encode(errors="surrogatepass")

    result = CliRunner().invoke(main, ["retries", *args], input=log)

    assert (0, None) == (result.exit_code, result.exception)
