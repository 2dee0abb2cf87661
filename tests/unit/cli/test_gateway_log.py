"""Lines of the gateway's log, whole, cut, odd and foreign."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from aigateway.cli import gateway_log
from aigateway.cli.gateway_log import AttemptLine, DamagedLineError, Reader, RequestLine, parse
from aigateway.core.gateway.gateway_filter import attempt_line, request_line
from tests.gateway_lines import OTHERS, TRACE, as_log, attempt, request


def test_the_lines_of_the_tests_have_the_fields_of_the_gateways() -> None:
    """What is tested here is what the gateway filter writes."""
    assert request_line().keys() == request("a", 0, 1).keys()
    assert attempt_line().keys() == attempt("a", 1, 0, 1).keys()


def test_a_request() -> None:
    """Every field has its value and its unit."""
    assert RequestLine(
        time="2026-03-01T12:00:00.250Z",
        began=1_772_366_400_250,
        policy="models/chat",
        route="models/chat",
        request_id="a",
        trace_id=TRACE,
        status=503,
        error_type="unavailable",
        duration_ms=70,
        retry_count=2,
        method="POST",
        path="/v1/chat",
    ) == parse(as_log(request("a", 250, 70, 503, 2)))


def test_an_attempt() -> None:
    """It has its number, its host and its end."""
    line = parse(as_log(attempt("a", 2, 250, 70)))

    assert isinstance(line, AttemptLine)
    assert (2, "10.244.0.2:9080", 1_772_366_400_320) == (line.attempt, line.host, line.ended)


@pytest.mark.parametrize(
    "prefix",
    [
        pytest.param("[pod/gateway-1/istio-proxy] ", id="of-kubectl-with-pods"),
        pytest.param("2026-03-01T12:00:00.123456789Z ", id="of-kubectl-with-times"),
        pytest.param("2026-03-01T12:00:00.123456789Z stdout F ", id="of-a-container-runtime"),
    ],
)
def test_a_prefix_is_passed_over(prefix: str) -> None:
    """What tools put in front of lines is no part of them."""
    assert isinstance(parse(prefix + as_log(request("a", 0, 1))), RequestLine)


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        pytest.param({"error_type": "my_own"}, "error_type", "my_own", id="type-of-the-line"),
        pytest.param({"error_type": None}, "error_type", "gateway_timeout", id="type-by-status"),
        pytest.param({"error_type": None, "flags": "URX,UF"}, "error_type", "connect_failure", id="type-by-flag"),
        pytest.param({"error_type": None, "status": 0}, "error_type", "gateway_error", id="no-answer"),
        pytest.param({"error_type": None, "status": None}, "error_type", None, id="no-status"),
        pytest.param({"error_type": None, "status": "?", "flags": "UT"}, "error_type", "upstream_timeout", id="flag"),
        pytest.param({"error_type": 3, "status": 200}, "error_type", None, id="type-of-another-kind"),
        pytest.param({"duration_ms": "soon"}, "duration_ms", None, id="no-number"),
        pytest.param({"duration_ms": True}, "duration_ms", None, id="truth-is-no-number"),
        pytest.param({"duration_ms": float("nan")}, "duration_ms", None, id="not-a-number"),
        pytest.param({"retry_count": -1}, "retry_count", None, id="below-zero"),
        pytest.param({"retry_count": 10**40}, "retry_count", None, id="beyond-all-counts"),
        pytest.param({"time": "yesterday"}, "began", None, id="no-time"),
        pytest.param({"time": "2026-03-01T12:00:00.250"}, "began", 1_772_366_400_250, id="time-without-zone"),
        pytest.param({"time": "0001-01-01T00:00:00+14:00"}, "began", -62_135_647_200_000, id="time-before-time"),
        pytest.param({"trace_id": None}, "trace_id", None, id="no-trace"),
        pytest.param({"request_id": "-"}, "request_id", None, id="no-id"),
        pytest.param({"path": "/\x1b[2J\ud800"}, "path", "/\ufffd[2J\ufffd", id="what-terminals-act-on"),
        pytest.param({"path": "/" * 501}, "path", "/" * 500 + "…", id="long-text"),
    ],
)
def test_odd_values(change: dict[str, Any], field: str, expected: object) -> None:
    """A field that is not what it should be is missing, and nothing else of the line is."""
    line = parse(as_log(request("a", 0, 5, 504) | change))

    assert expected == getattr(line, field)
    assert getattr(line, "policy", None) == "models/chat"


@pytest.mark.parametrize("text", OTHERS)
def test_lines_of_others(text: str) -> None:
    """Whatever else is in the log is not ours."""
    assert parse(text) is None


WHOLE = as_log(attempt("a", 1, 0, 1))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(WHOLE[:-20], id="cut-at-the-end"),
        pytest.param(WHOLE[10:], id="cut-at-the-beginning"),
        pytest.param(WHOLE.strip() + WHOLE, id="two-in-one"),
        pytest.param('{"kind":"request","policy":' + "[" * 100_000, id="deep"),
        pytest.param('{"kind":"request","policy":"a","status":' + "9" * 5000 + "}", id="endless-number"),
    ],
)
def test_damaged_lines(text: str) -> None:
    """What is ours and cannot be read is told apart from what is not ours."""
    with pytest.raises(DamagedLineError):
        parse(text)


def test_a_reader_counts() -> None:
    """All lines are read, over all files, whatever is in them."""
    log = as_log(request("a", 0, 1), *OTHERS, WHOLE[:-20], attempt("a", 1, 0, 1))
    reader = Reader()

    found = list(reader.lines([io.StringIO(log), io.StringIO(log)]))

    assert ["a"] * 4 == [line.request_id for line in found]
    assert (2 * (3 + len(OTHERS)), 2 * len(OTHERS), 2) == (reader.read, reader.others, reader.damaged)


def test_a_line_without_end_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a line that is too long only the beginning is looked at, and the next line counts again."""
    monkeypatch.setattr(gateway_log, "_LONGEST_LINE", 1000)
    log = as_log(json.dumps(request("a", 0, 1) | {"path": "/" * 10_000}), request("b", 0, 1))
    reader = Reader()

    assert ["b"] == [line.request_id for line in reader.lines([io.StringIO(log)])]
    assert (2, 1) == (reader.read, reader.damaged)


def test_ctrl_c_ends_the_input() -> None:
    """Who follows a log ends it so, and what was read counts."""

    def followed() -> Iterator[io.StringIO]:
        yield io.StringIO(as_log(request("a", 0, 1)))
        raise KeyboardInterrupt

    assert ["a"] == [line.request_id for line in Reader().lines(followed())]
