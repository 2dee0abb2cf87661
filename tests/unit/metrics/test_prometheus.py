"""The adapter to Prometheus, on a real HTTP server that hangs, lies and floods."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from aigateway.core.observation import Lack
from aigateway.metrics.answers import NoAnswer
from aigateway.metrics.prometheus import Limits, Prometheus
from tests.unit.metrics.prometheus_server import Respond, Server, broken_off, chunked, page, serving, slowly, vector

LIMITS = Limits(connect=1.0, answer=0.5, size=100_000)
ROW = {"metric": {"destination_service": "a"}, "value": [1.0, "2"]}


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a server that answers."""
    with serving() as running:
        yield running


@pytest.fixture
def prometheus(server: Server) -> Iterator[Prometheus]:
    """Give the adapter to it."""
    adapter = Prometheus(server.url, LIMITS)
    yield adapter
    adapter.close()


def lack_of(prometheus: Prometheus) -> Lack:
    """Return why there is no answer."""
    with pytest.raises(NoAnswer) as caught:
        prometheus.ask("up")
    assert str(caught.value)
    return caught.value.lack


@pytest.mark.parametrize("answer", [pytest.param(page, id="whole"), pytest.param(chunked, id="in chunks")])
def test_a_sound_answer(server: Server, prometheus: Prometheus, answer: object) -> None:
    """Rows come as Prometheus gave them."""
    assert callable(answer)
    server.respond = answer(vector(("a", "2", 1.0)))

    assert [ROW] == prometheus.ask("up")


def test_the_question_goes_in_the_body(server: Server, prometheus: Prometheus) -> None:
    """However long a question is, the address stays short; Prometheus is told when to give up, and packs nothing."""
    question = 'sum(rate(x{a=~"b\\\\.c|d+&=%"}[1m]))' * 1000
    prometheus.ask(question)

    assert ["/api/v1/query"] == server.paths
    assert [{"query": [question], "timeout": ["0.5s"]}] == server.forms
    assert "identity" == server.headers[0]["Accept-Encoding"]


def test_an_address_with_a_path(server: Server) -> None:
    """Prometheus may be behind a path, written with or without a slash at its end."""
    adapter = Prometheus(f"{server.url}/prometheus/", LIMITS)
    adapter.ask("up")
    adapter.close()

    assert ["/prometheus/api/v1/query"] == server.paths


@pytest.mark.parametrize(
    ("respond", "expected"),
    [
        pytest.param(page(b"<html>", kind="text/html"), Lack.NOT_JSON, id="html"),
        pytest.param(page(b"{", kind="application/json; charset=utf-8"), Lack.NOT_JSON, id="half of it"),
        pytest.param(page(b"[]"), Lack.NOT_JSON, id="a list"),
        pytest.param(page(b"[" * 50_000), Lack.NOT_JSON, id="nested without end"),
        pytest.param(
            page(b'{"status":"success","data":{"resultType":"matrix","result":[]}}'), Lack.NOT_JSON, id="range"
        ),
        pytest.param(page(b'{"status":"error","data":{"resultType":"vector","result":[]}}'), Lack.NOT_JSON, id="error"),
        pytest.param(page(b'{"status":"success","data":{"resultType":"vector"}}'), Lack.NOT_JSON, id="no rows"),
        pytest.param(page(b"", 302, Location="/elsewhere"), Lack.REFUSED, id="redirect"),
        pytest.param(page(b"no", 500), Lack.REFUSED, id="500"),
        pytest.param(page(vector(), 401), Lack.REFUSED, id="401"),
        pytest.param(page(b" " * 10_000_000), Lack.TOO_LARGE, id="10 MB"),
        pytest.param(chunked(b" " * 200_000), Lack.TOO_LARGE, id="too large in chunks"),
        pytest.param(page(vector(warnings=["partial"])), Lack.WARNED, id="warnings"),
        pytest.param(slowly(10.0), Lack.TIMED_OUT, id="silence"),
        pytest.param(slowly(0.02), Lack.TIMED_OUT, id="a trickle"),
        pytest.param(broken_off, Lack.UNREACHABLE, id="broken off"),
    ],
)
def test_no_answer(server: Server, prometheus: Prometheus, respond: Respond, expected: Lack) -> None:
    """What is no sound answer is told apart by why, once: nothing is asked again and no redirect is followed."""
    server.respond = respond

    assert expected == lack_of(prometheus)
    assert ["/api/v1/query"] == server.paths


def test_infos_are_no_warnings(server: Server, prometheus: Prometheus) -> None:
    """A remark on how a query is written says nothing against its numbers."""
    server.respond = page(vector(("a", "2", 1.0), infos=["metric might not be a counter"]))

    assert [ROW] == prometheus.ask("up")


def test_a_trickle_ends_in_time(server: Server, prometheus: Prometheus) -> None:
    """An answer that never ends holds its thread for little longer than it may take."""
    server.respond = slowly(0.02)
    started = time.monotonic()
    lack_of(prometheus)

    assert time.monotonic() - started < 5


def test_nobody_there(server: Server) -> None:
    """Where nothing listens, that is what is said."""
    with serving() as gone:
        url = gone.url

    assert server.url != url
    assert Lack.UNREACHABLE == lack_of(Prometheus(url, LIMITS))


def test_it_answers_again(server: Server, prometheus: Prometheus) -> None:
    """A bad answer leaves nothing behind that would spoil the next."""
    for respond in (broken_off, page(b"no", 500), page(b" " * 10_000_000)):
        server.respond = respond
        lack_of(prometheus)
    server.respond = page(vector(("a", "2", 1.0)))

    assert [ROW] == prometheus.ask("up")


def test_the_environment_changes_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a proxy nor credentials of the environment get between."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    adapter = Prometheus(server.url, LIMITS)

    assert [] == adapter.ask("up")
    adapter.close()
