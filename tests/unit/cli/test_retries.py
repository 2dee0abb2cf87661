"""``aigateway retries``: what it tells of a log, of which requests, and how it ends."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from aigateway.cli import retries as command
from aigateway.cli.joining import Joiner
from aigateway.cli.main import main
from aigateway.cli.views.retries import by_time, request_view
from aigateway.cli.views.retry_summary import summary_view
from tests.gateway_lines import OTHERS, TRACE, Line, as_log, attempt, request
from tests.snapshots import check_text
from tests.unit.cli.test_joining import parsed

GOLDEN = Path(__file__).parent / "golden"
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "command-line.md"
UNREACHABLE: dict[str, Any] = {"error_type": "connect_failure", "flags": "UF,URX"}
LATE: dict[str, Any] = {"error_type": "upstream_timeout", "flags": "UT"}
OTHER: dict[str, Any] = {"policy": "models/other", "route": "models/other/beta#idempotent", "trace_id": None}

LOG = as_log(
    *OTHERS,
    # Names say what happens to the request; written as gateways do, but for the order of requests.
    attempt("failed", 1, 5_000, 20, 503),
    attempt("failed", 2, 5_120, 20, 503),
    attempt("failed", 3, 5_400, 30, 503),
    request("failed", 5_000, 430, 503, retries=2),
    attempt("healed", 1, 1_000, 5, 503),
    attempt("healed", 2, 1_047, 12),
    request("healed", 1_000, 59, retries=1),
    attempt("good", 1, 0, 7),
    request("good", 0, 7),
    request("refused", 2_000, 0, 429, error_type="rate_limited"),
    attempt("half-lost", 1, 3_000, 9, 503, **OTHER),
    attempt("half-lost", 3, 3_300, 9, **OTHER),
    request("half-lost", 3_000, 309, retries=2, path="/v1/\x1b[31mmodels", **OTHER),
    request("unlogged", 4_000, 80, 503, retries=2, **UNREACHABLE, **OTHER),
    # The first attempt went on while it was hedged, and logs the number of the second, and its bound.
    attempt("hedged", 2, 6_207, 397, 0, **LATE, **OTHER),
    attempt("hedged", 2, 6_000, 604, host="10.244.0.1:9080", **LATE, **OTHER),
    request("hedged", 6_000, 604, retries=1, **OTHER),
    attempt("streaming", 1, 7_000, 5, 503),
    attempt("elsewhere", 1, 7_500, 5),
    as_log(attempt("cut", 1, 8_000, 5, 503))[:-30],
)


def retries(*args: str, log: str = LOG) -> Result:
    """Run the command with a log on its standard input."""
    return CliRunner().invoke(main, ["retries", *args], input=log)


def ids(result: Result) -> list[str]:
    """Return the requests' ids in JSON lines."""
    assert 0 == result.exit_code, result.stderr
    return [json.loads(line)["request_id"] for line in result.stdout.splitlines()]


@pytest.mark.parametrize("name", ["default", "all", "summary"])
def test_text(name: str) -> None:
    """Requests by time with their attempts below, or a table of the routes."""
    result = retries(*([] if name == "default" else [f"--{name}"]))

    check_text(GOLDEN / f"retries-{name}.txt", result.stdout)
    assert 0 == result.exit_code


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        pytest.param((), "healed refused half-lost unlogged failed hedged streaming", id="retried-or-failed"),
        pytest.param(("--retried",), "healed half-lost unlogged failed hedged", id="retried"),
        pytest.param(("--all",), "good healed refused half-lost unlogged failed hedged streaming elsewhere", id="all"),
        pytest.param(("--policy", "models/other"), "half-lost unlogged hedged", id="policy"),
        pytest.param(("--request-id", "good"), "good", id="request-though-it-was-good"),
        pytest.param(
            ("--trace-id", TRACE.upper()), "good healed refused failed streaming elsewhere", id="trace-in-any-case"
        ),
        pytest.param(("--trace-id", TRACE, "--retried"), "healed failed", id="trace-and-retried"),
        pytest.param(("--policy", "models/none"), "", id="none"),
    ],
)
def test_which_requests(args: tuple[str, ...], expected: str) -> None:
    """Options choose by what is asked for; who names a request gets it, also where nothing was wrong."""
    assert expected.split() == ids(retries(*args, "-o", "json"))


def test_data() -> None:
    """A line of JSON has all that is known of a request, by the names of the log."""
    [line] = retries("--request-id", "healed", "-o", "json").stdout.splitlines()

    assert {
        "time": "2026-03-01T12:00:01.000Z",
        "request_id": "healed",
        "trace_id": TRACE,
        "policy": "models/chat",
        "route": "models/chat",
        "method": "POST",
        "path": "/v1/chat",
        "status": 200,
        "retry_count": 1,
        "error_type": None,
        "duration_ms": 59,
        "logged": "both",
        "missing_attempts": [],
        "attempts": [
            {
                "attempt": 1,
                "time": "2026-03-01T12:00:01.000Z",
                "host": "10.244.0.1:9080",
                "status": 503,
                "error_type": "unavailable",
                "backoff_delay": None,
                "duration_ms": 5,
            },
            {
                "attempt": 2,
                "time": "2026-03-01T12:00:01.047Z",
                "host": "10.244.0.2:9080",
                "status": 200,
                "error_type": None,
                "backoff_delay": 42,
                "duration_ms": 12,
            },
        ],
    } == json.loads(line)


def test_documents() -> None:
    """YAML has a document for each request, with the same in it."""
    documents = list(yaml.safe_load_all(retries("-o", "yaml").stdout))

    assert [json.loads(line) for line in retries("-o", "json").stdout.splitlines()] == documents


@pytest.mark.parametrize(("output", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_summary_as_data(output: str, load: Callable[[str], Any]) -> None:
    """Counts are of all requests of a route, and of waits and attempts that have a line."""
    [chat, beta] = load(retries("--summary", "-o", output).stdout)["routes"]

    assert {
        "policy": "models/chat",
        "route": "models/chat",
        "requests": 4,
        "retried": 2,
        "succeeded_after_retry": 1,
        "attempts": {"1": 2, "2": 1, "3": 1},
        "attempts_per_request": 1.75,
        "error_types": {"rate_limited": 1, "unavailable": 1},
        "attempt_error_types": {"unavailable": 5},
        "backoff_delay_median": 100,
        "backoff_delay_p95": 260,
        "unfinished": 2,
    } == chat
    assert ("models/other/beta#idempotent", 3, 3, None) == (
        beta["route"],
        beta["requests"],
        beta["retried"],
        beta["backoff_delay_median"],
    )


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        pytest.param([7], (7, 7), id="one"),
        pytest.param([3, 9], (3, 9), id="two"),
        pytest.param(list(range(1, 101)), (50, 95), id="hundred"),
        pytest.param([0] * 95 + [500] * 5, (0, 0), id="few-long-ones"),
        pytest.param([0] * 94 + [500] * 6, (0, 500), id="some-long-ones"),
    ],
)
def test_percentiles(waits: list[int], expected: tuple[int, int]) -> None:
    """They are waits that happened: the least one that half of all, or 95 of 100, do not exceed."""
    lines = [
        line
        for number, wait in enumerate(waits)
        for line in (attempt(f"{number}", 1, 0, 0, 503), attempt(f"{number}", 2, wait, 0))
    ]
    views = (request_view(joined) for joined in Joiner().join(parsed(*lines)))
    [route] = summary_view(views).routes

    assert expected == (route.backoff_delay_median, route.backoff_delay_p95)


def waits_of(*lines: Line) -> list[int | None]:
    """Return the waits before each attempt of the one request that lines are about."""
    [joined] = Joiner().join(parsed(*lines))
    return [attempt.backoff_delay for attempt in request_view(joined).attempts]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        pytest.param({}, [None, 40], id="by-the-end"),
        pytest.param({"time": None}, [None, None], id="no-begin"),
        pytest.param({"attempt": 3}, [None, None], id="not-the-next"),
    ],
)
def test_waits(second: dict[str, Any], expected: list[int | None]) -> None:
    """A wait is told where both of its ends are known, and only then."""
    assert expected == waits_of(attempt("a", 1, 0, 5, 503), attempt("a", 2, 45, 5) | second)


def test_waits_where_little_is_known() -> None:
    """Begin and duration give the end where the line has none, and the begins give the order."""
    lines = [attempt("a", 1, 0, 5) | {"end": None}, attempt("a", 2, 45, 5)]

    assert [None, 40] == waits_of(*lines)
    assert [None, 40] == waits_of(*(line | {"attempt": None} for line in lines))


def test_a_damaged_count_makes_no_endless_list() -> None:
    """However many retries a line names, no more attempts are said to be missing than a person can read."""
    [joined] = Joiner().join(parsed(attempt("a", 1, 0, 5), request("a", 0, 9, retries=10**12)))

    assert 100 == len(request_view(joined).missing_attempts)


def test_what_is_beyond_memory_is_not_sorted_in() -> None:
    """With too much to hold, requests are told in the order in which they came, as far as need be."""
    views = [request_view(j) for t in (5, 3, 9, 1) for j in Joiner().join(parsed(request(f"{t}", t, 0)))]

    assert ["3", "1", "5", "9"] == [view.request_id for view in by_time(views, most=2)]
    assert ["1", "3", "5", "9"] == [view.request_id for view in by_time(views)]


def test_words_on_what_was_read() -> None:
    """Standard error says how much of the log counts."""
    assert (
        f"7 of 9 requests, from 26 lines; passed over: {len(OTHERS)} that are not about policies' requests, 1 damaged\n"
    ) == retries().stderr


def test_words_on_what_was_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """That requests may be in pieces is said, never hidden."""
    monkeypatch.setattr(command, "Joiner", lambda: Joiner(most=1))

    assert "may be shown in pieces" in retries().stderr


def test_a_log_without_a_line_of_ours() -> None:
    """Nothing found is no error, and nothing on stdout; the words on it are on stderr."""
    for args in ((), ("--summary",)):
        result = retries(*args, log="".join(f"{line}\n" for line in OTHERS))

        assert (0, "") == (result.exit_code, result.stdout)
        assert result.stderr.startswith("0 requests, from 6 lines; passed over: 6 ")


def test_several_files(tmp_path: Path) -> None:
    """Rotated logs are read as one, also where a request is in both, and where bytes are no text."""
    first, second = as_log(attempt("a", 1, 0, 5, 503)), as_log(attempt("a", 2, 9, 5), request("a", 0, 14, retries=1))
    (tmp_path / "one.log").write_bytes(b"\xff\xfe\x00\n" + first.encode())
    (tmp_path / "two.log").write_text(second)

    result = CliRunner().invoke(main, ["retries", "-f", str(tmp_path / "two.log"), str(tmp_path / "one.log")])

    assert 0 == result.exit_code
    assert "1 retry" in result.stdout


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(("--retried", "--all"), id="both"),
        pytest.param(("--policy", "chat"), id="no-namespace"),
        pytest.param(("--policy", "models/"), id="no-name"),
        pytest.param(("--policy", "models/chat/beta"), id="a-route"),
        pytest.param(("-f", "nowhere.log"), id="no-file"),
    ],
)
def test_options_that_make_no_sense(args: tuple[str, ...]) -> None:
    """The caller's mistakes end with 2."""
    assert 2 == retries(*args).exit_code


def test_nothing_is_waited_for_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who forgot the pipe is told so."""
    monkeypatch.setattr(command, "_on_terminal", lambda: True)
    result = retries()

    assert 2 == result.exit_code
    assert "no log is given" in result.stderr


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
def test_the_documented_query_tells_the_same_waits() -> None:
    """Who has only jq gets the same waits from the same log."""
    found = re.search(r"\| jq -cRn '(.*?)'\n", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    ran = subprocess.run(["jq", "-cRn", found[1]], input=LOG, capture_output=True, text=True, check=True)
    told = [json.loads(line) for line in retries("--all", "-o", "json").stdout.splitlines()]

    assert {
        (view["request_id"], item["attempt"], item["backoff_delay"])
        for view in told
        for item in view["attempts"]
        if item["backoff_delay"] is not None
    } == {
        (item["request_id"], item["attempt"], item["backoff_delay"])
        for item in map(json.loads, ran.stdout.splitlines())
    }
