"""What only gateways do: deadlines, rate limits, errors in JSON, and a line of log for each request and attempt."""

from __future__ import annotations

import time
from typing import Any

import pytest

from aigateway.api.classification import GATEWAY_ERRORS
from tests.integration.resilience.conftest import (
    Apply,
    Deploy,
    executions,
    extended,
    lines_of,
    on,
    serving,
)
from tests.stack.backend import Backend
from tests.stack.cluster import Cluster
from tests.stack.stack import Stack
from tests.stack.traffic import Answer, Traffic
from tests.stack.waiting import eventually

DEADLINE = "x-request-deadline"
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
ERRORS = {error.type: error for error in GATEWAY_ERRORS}


def within(seconds: float) -> dict[str, str]:
    """Return the header of a client that waits so long."""
    return {DEADLINE: str(int((time.time() + seconds) * 1000))}


@pytest.fixture
def hurried(
    stack: Stack, apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str, namespace: str
) -> Backend:
    """Give the backend behind a policy that keeps deadlines; attempts have 300 ms each, requests 3 s."""
    apply(
        hosts=[host],
        backends=[on(model("v1", replicas=2))],
        timeouts={"request": "3s", "perTry": "300ms", "deadlineHeader": "X-Request-Deadline"},
        retries={
            "attempts": 4,
            "conditions": ["ConnectFailure", "GatewayError"],
            "backoff": {"initial": "1ms"},
        },
    )
    serving(gateway, host)
    eventually(lambda: extended(stack, f"{namespace}/chat"), "the route has its deadline")
    backend.reset()
    return backend


def test_a_late_request_reaches_no_model(hurried: Backend, gateway: Traffic, host: str) -> None:
    """A deadline that has passed is answered with 504 and the reason, and nothing is sent on."""
    answers = gateway.send(host, 20, headers=within(-1) | TRACEPARENT)

    assert {504: 20} == answers.statuses
    assert [] == hurried.seen()
    error = answers.all[0].body["error"]
    assert ("deadline_exceeded", "CLIENT", False, DEADLINE, 0, TRACE) == tuple(
        error[name] for name in ("type", "severity", "retryable", "field", "attempts", "traceId")
    )


def test_a_request_ends_at_its_deadline(hurried: Backend, gateway: Traffic, host: str) -> None:
    """The deadline cuts before the route's own bound; attempts that cannot finish are not started."""
    hurried.behave(delay=10)

    tries: dict[float, int] = {}
    for seconds in (0.25, 0.8):
        hurried_before = len(hurried.seen())
        answer = gateway.send(host, 1, headers=within(seconds)).all[0]
        assert 504 == answer.status
        assert answer.seconds < seconds + 1.0  # the route's own bound is 3 s
        tries[seconds] = len(hurried.seen()) - hurried_before

    assert {0.25: 1, 0.8: 2} == tries


def test_a_far_deadline_lifts_no_bound(hurried: Backend, gateway: Traffic, host: str) -> None:
    """A client that would wait for a day waits as long as the policy says."""
    hurried.behave(delay=20)

    answer = gateway.send(host, 1, headers=within(86_400), method="POST").all[0]

    assert 504 == answer.status
    assert answer.seconds < 15


def test_the_deadline_is_passed_on(hurried: Backend, gateway: Traffic, host: str) -> None:
    """The model sees the deadline as the client sent it, and its trace."""
    header = within(5)

    answer = gateway.send(host, 1, headers=header | TRACEPARENT).all[0]

    assert header[DEADLINE] == answer.body["headers"][DEADLINE]
    assert TRACEPARENT["traceparent"] == answer.body["headers"]["traceparent"]
    assert 1 == len(hurried.seen())


def test_grpc_timeouts_count_as_well(hurried: Backend, gateway: Traffic, host: str) -> None:
    """A client's grpc-timeout ends the request, wherever the header with a time is missing."""
    hurried.behave(delay=10)

    answer = gateway.send(host, 1, headers={"grpc-timeout": "200m"}, method="POST").all[0]

    assert 504 == answer.status
    assert answer.seconds < 1.5


def test_clients_cannot_set_what_the_deadline_sets(hurried: Backend, gateway: Traffic, host: str) -> None:
    """Envoy's own headers on a request from outside have no effect."""
    hurried.behave(status=502)
    forged = {"x-envoy-max-retries": "9", "x-envoy-upstream-rq-timeout-ms": "60000", "x-envoy-retry-on": "5xx"}

    gateway.send(host, 5, headers=forged, method="POST")

    assert {1} == set(executions(hurried).values())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        pytest.param({"delay": 2}, "upstream_timeout", id="too-slow"),
        pytest.param({"reset": "request"}, "upstream_reset", id="reset-after-reading"),
    ],
)
def test_what_was_executed_is_never_called_unsent(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str, fault: dict[str, Any], kind: str
) -> None:
    """A budget that refuses a retry makes no overload of a request that a model has had."""
    apply(
        hosts=[host],
        backends=[on(model("v1", replicas=2))],
        timeouts={"perTry": "300ms"},
        retries={
            "attempts": 2,
            "conditions": ["ConnectFailure", "Reset", "GatewayError"],
            "nonIdempotent": "TreatAsIdempotent",
            "budget": {"percent": 1, "minConcurrency": 1},
        },
        errorFormat="JSON",
    )
    serving(gateway, host)
    backend.reset()
    backend.behave(**fault)

    def failures() -> list[Any]:
        answers = gateway.send(host, 30, method="POST", concurrency=30).all
        return [answer.body["error"] for answer in answers if isinstance(answer.body, dict)]

    errors = eventually(failures, "errors are JSON")

    assert len(errors) >= 30
    assert {kind} == {error["type"] for error in errors}
    assert {False} == {error["retryable"] for error in errors}


@pytest.mark.parametrize(
    ("kind", "spec", "fault"),
    [
        pytest.param("upstream_timeout", {"timeouts": {"request": "300ms"}}, {"delay": 10}, id="timeout"),
        pytest.param("upstream_reset", {}, {"reset": "request"}, id="reset"),
        pytest.param("overloaded", {"connectionPool": {"maxRequests": 1}}, {"delay": 1}, id="overflow"),
    ],
)
def test_errors_of_the_gateway_are_json(
    apply: Apply,
    gateway: Traffic,
    backend: Backend,
    model: Deploy,
    host: str,
    kind: str,
    spec: dict[str, Any],
    fault: dict[str, Any],
) -> None:
    """Each failure has its type, status, severity and word on retries, in the same shape."""
    apply(hosts=[host], backends=[on(model("v1"))], retries={"attempts": 0}, errorFormat="JSON", **spec)
    serving(gateway, host)
    backend.reset()
    backend.behave(**fault)

    def failures() -> list[Answer]:
        answers = gateway.send(host, 20, concurrency=20, headers=TRACEPARENT).all
        return [answer for answer in answers if answer.status != 200 and isinstance(answer.body, dict)]

    for answer in eventually(failures, "errors are JSON"):
        check(answer, kind)


def check(answer: Answer, kind: str) -> None:
    """Check an error's status, type and body by the table of classes."""
    expected, error = ERRORS[kind], answer.body["error"]
    assert (expected.status, kind) == (answer.status, error["type"])
    assert (str(expected.severity), expected.retryable) == (error["severity"], error["retryable"])
    assert expected.message == error["message"]
    assert TRACE == error["traceId"]
    assert error["attempts"] in (0, 1)
    assert answer.headers["content-type"].startswith("application/json")


def test_lost_models_make_json_errors_too(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """No replica at all, and one that cannot be connected to."""
    v1 = model("v1")
    apply(hosts=[host], backends=[on(v1)], retries={"attempts": 0}, errorFormat="JSON")
    serving(gateway, host)
    backend.cut_off(*v1.addresses())
    eventually(lambda: isinstance(gateway.get(host, **TRACEPARENT).body, dict) or None, "errors are JSON")
    check(gateway.get(host, **TRACEPARENT), "connect_failure")
    backend.reset()
    v1.scale(0)

    gone = eventually(lambda: _of_type(gateway.get(host, **TRACEPARENT), "no_healthy_upstream"), "no replica is left")

    check(gone, "no_healthy_upstream")


def _of_type(answer: Answer, kind: str) -> Answer:
    assert isinstance(answer.body, dict)
    assert kind == answer.body.get("error", {}).get("type")
    return answer


def test_bodies_of_models_pass_untouched(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """A model's own 503, 429 or 504 keeps its body, also once its retries are used up."""
    apply(
        hosts=[host],
        backends=[on(model("v1"))],
        retries={"attempts": 1, "statusCodes": [503], "backoff": {"initial": "1ms"}},
        errorFormat="JSON",
    )
    serving(gateway, host)
    for status in (503, 429, 504, 400):
        backend.reset()
        backend.behave(status=status)
        answer = gateway.get(host)
        assert status == answer.status
        assert "error" not in answer.body
        assert status == answer.body["status"]


def test_errors_stay_text_where_that_is_asked_for(
    apply: Apply, cluster: Cluster, gateway: Traffic, backend: Backend, model: Deploy, host: str, namespace: str
) -> None:
    """Text is Envoy's own; then the policy needs no EnvoyFilter, and has none."""
    v1 = model("v1")
    apply(hosts=[host], backends=[on(v1)], retries={"attempts": 0}, errorFormat="Text")
    serving(gateway, host)
    backend.cut_off(*v1.addresses())

    answer = gateway.get(host)

    assert (503, True) == (answer.status, isinstance(answer.body, str))
    assert cluster.find("EnvoyFilter", f"{namespace}.chat", "istio-system") is None


def test_every_request_and_attempt_has_a_line(
    stack: Stack, apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str, namespace: str
) -> None:
    """The lines of one request tell its trace, retries, error, durations and statuses; the waits are the gaps."""
    apply(
        hosts=[host],
        backends=[on(model("v1", replicas=2))],
        retries={"attempts": 2, "statusCodes": [503], "backoff": {"initial": "100ms"}},
        accessLog="Attempts",
    )
    serving(gateway, host)
    eventually(lambda: extended(stack, f"{namespace}/chat#idempotent"), "the route is logged")
    backend.reset()
    backend.behave(status=503, delay=0.05)

    gateway.send(host, 1, path="/v1/chat?secret=1", headers=TRACEPARENT)

    def lines() -> list[dict[str, Any]]:
        found = [line for line in lines_of(stack, f"{namespace}/chat") if line["trace_id"] == TRACE]
        assert 4 == len(found)
        return found

    found = eventually(lines, "all four lines are there", within=40)
    attempts = sorted((line for line in found if line["kind"] == "attempt"), key=lambda line: line["attempt"])
    [request] = [line for line in found if line["kind"] == "request"]
    assert ["1/0/503", "2/1/503", "3/2/503"] == [f"{a['attempt']}/{a['retry_count']}/{a['status']}" for a in attempts]
    assert (503, 2, "unavailable") == (request["status"], request["retry_count"], request["error_type"])
    assert ("GET", "/v1/chat") == (request["method"], request["path"])
    assert 1 == len({line["request_id"] for line in found})
    assert all(line["duration_ms"] >= 50 for line in found)
    assert request["duration_ms"] >= sum(attempt["duration_ms"] for attempt in attempts)
