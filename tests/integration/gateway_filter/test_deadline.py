"""Deadlines of requests: late ones are refused, others get no more time and attempts than they have."""

from __future__ import annotations

import re

import pytest

from tests.integration.gateway_filter.conftest import (
    ATTEMPTS,
    BACKOFF,
    HEADER,
    PER_TRY,
    TRACE,
    Serve,
    ask,
    error,
    in_ms,
    with_deadline,
)
from tests.stack.backend import Backend
from tests.stack.traffic import Traffic


@pytest.mark.parametrize("past", ["1", "-5", "0.5"])
def test_late_request_is_refused_before_it_reaches_a_model(
    serve: Serve, gateway: Traffic, backend: Backend, host: str, namespace: str, past: str
) -> None:
    """A deadline in the past gets 504 with the header at fault and the client's trace, and no model sees it."""
    serve(with_deadline(namespace))

    answer = ask(gateway, host, x_request_deadline=past)

    expected = {"type": "deadline_exceeded", "field": HEADER, "attempts": 0, "traceId": TRACE, "retryable": False}
    assert 504 == answer.status
    assert expected.items() <= error(answer).items()
    assert [] == backend.seen()


@pytest.mark.parametrize("nonsense", ["soon", "1e18", "0x10", "1,2", "9" * 21])
def test_deadline_that_is_no_time_is_refused(
    serve: Serve, gateway: Traffic, backend: Backend, host: str, namespace: str, nonsense: str
) -> None:
    """A client that sends something else than milliseconds is told so."""
    serve(with_deadline(namespace))

    answer = ask(gateway, host, x_request_deadline=nonsense)

    assert 400 == answer.status
    assert {"type": "invalid_request", "field": HEADER, "severity": "CLIENT"}.items() <= error(answer).items()
    assert [] == backend.seen()


def test_a_long_header_costs_no_more_than_a_short_one(
    serve: Serve, gateway: Traffic, backend: Backend, host: str, namespace: str
) -> None:
    """A pattern that has to try again at every digit would hold up all requests of the proxy for seconds."""
    serve(with_deadline(namespace))

    answers = [ask(gateway, host, **{name: "9" * 50_000 + "x"}) for name in ("x_request_deadline", "grpc_timeout")]

    assert [400, 400] == [answer.status for answer in answers]
    assert all(answer.seconds < 2 for answer in answers)
    assert [] == backend.seen()


@pytest.mark.parametrize(
    ("milliseconds", "attempts"),
    [
        pytest.param(200, 1, id="less-than-one-try"),
        pytest.param(PER_TRY * 2 + BACKOFF * 2, 2, id="two-tries"),
        pytest.param(1e6, ATTEMPTS + 1, id="all-that-the-policy-has"),
        pytest.param(1e15, ATTEMPTS + 1, id="no-deadline-at-all"),
    ],
)
def test_deadline_bounds_the_attempts(
    serve: Serve,
    gateway: Traffic,
    backend: Backend,
    host: str,
    namespace: str,
    milliseconds: float,
    attempts: int,
) -> None:
    """Only as many attempts are started as can end before the deadline, and it goes on to the model as it came."""
    serve(with_deadline(namespace))
    backend.behave(delay=5)

    answer = ask(gateway, host, x_request_deadline=in_ms(milliseconds))

    assert 504 == answer.status
    assert {"type": "upstream_timeout", "attempts": attempts}.items() <= error(answer).items()
    assert attempts == len(backend.seen())


def test_deadline_shortens_the_timeout_and_never_lengthens_it(
    serve: Serve, gateway: Traffic, host: str, namespace: str
) -> None:
    """A model is told the time that is left; a client that has more of it than the route gets the route's."""
    serve(with_deadline(namespace))

    short = ask(gateway, host, x_request_deadline=in_ms(250)).body["headers"]
    long = ask(gateway, host, x_request_deadline=in_ms(60_000)).body["headers"]

    assert 0 < int(short["x-envoy-expected-rq-timeout-ms"]) <= 250
    assert str(PER_TRY) == long["x-envoy-expected-rq-timeout-ms"]
    assert HEADER in long


@pytest.mark.parametrize("given", ["2S", "2000m", "1H"])
def test_grpc_timeout_reaches_the_model_as_the_time_left(
    serve: Serve, gateway: Traffic, host: str, namespace: str, given: str
) -> None:
    """The earlier of both deadlines counts, and a gRPC model reads it where it looks for it."""
    serve(with_deadline(namespace))
    grpc = {"content_type": "application/grpc", "grpc_timeout": given}

    seen = gateway.get(host, x_request_deadline=in_ms(250), **grpc).body["headers"]

    assert re.fullmatch(r"\d{1,3}m", seen["grpc-timeout"])
    assert int(seen["grpc-timeout"][:-1]) <= 250


@pytest.mark.parametrize(
    ("given", "status"), [pytest.param("0m", "4", id="late"), pytest.param("soon", "3", id="invalid")]
)
def test_grpc_client_gets_a_grpc_status(
    serve: Serve,
    gateway: Traffic,
    backend: Backend,
    host: str,
    namespace: str,
    given: str,
    status: str,
) -> None:
    """DEADLINE_EXCEEDED or INVALID_ARGUMENT with the reason as text, not a JSON body that no gRPC client reads."""
    serve(with_deadline(namespace))

    answer = gateway.get(host, content_type="application/grpc", grpc_timeout=given)

    assert (200, status) == (answer.status, answer.headers["grpc-status"])
    assert answer.headers["grpc-message"].startswith("the deadline of the request ")
    assert [] == backend.seen()


def test_clients_cannot_set_what_the_gateway_sets(
    serve: Serve, gateway: Traffic, backend: Backend, host: str, namespace: str
) -> None:
    """Envoy's own request headers are taken from clients, so that none gives itself time or retries."""
    serve(with_deadline(namespace))
    backend.behave(status=503)

    answer = gateway.get(
        host, x_request_deadline=in_ms(60_000), x_envoy_max_retries="0", x_envoy_upstream_rq_timeout_ms="1"
    )

    assert 503 == answer.status
    assert ATTEMPTS + 1 == len(backend.seen())
