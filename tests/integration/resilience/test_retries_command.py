"""``aigateway retries`` on what the real gateway has logged of requests that it really tried again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.operator_process import ROOT
from tests.integration.resilience.conftest import Apply, Deploy, on, route_of, serving
from tests.stack.backend import Backend
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually

Logged = Callable[..., None]
TRACE = "0af7651916cd43dd8448eb211c80319c"
INITIAL, RETRIES, REQUESTS = 200, 2, 20
SLACK = 2_000
"""Milliseconds by which a busy machine may be late with a timer."""


def retries(stack: Stack, namespace: str, *args: str) -> str:
    """Run the command on the gateway's whole log, as it is now, for the policy alone."""
    words = [sys.executable, "-m", "aigateway", "retries", "--policy", f"{namespace}/chat", *args]
    with (stack.folder / "logs" / "gateway.log").open("rb") as log:
        ran = subprocess.run(words, stdin=log, cwd=ROOT, capture_output=True, check=True)
    return ran.stdout.decode()


def told(stack: Stack, namespace: str, count: int) -> list[dict[str, Any]]:
    """Return what is told of so many retried requests, once that is in the log."""

    def whole() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in retries(stack, namespace, "--retried", "-o", "json").splitlines()]
        assert count == len([one for one in found if one["logged"] != "attempts"])
        return found

    return eventually(whole, "all requests are in the log", within=40)


@pytest.fixture
def logged(stack: Stack, apply: Apply, gateway: Traffic, backend: Backend, host: str, namespace: str) -> Logged:
    """Give a function that puts a policy with all lines of log into effect."""

    def logged(**spec: Any) -> None:
        apply(hosts=[host], accessLog="Attempts", **spec)
        serving(gateway, host)
        eventually(lambda: "metadata" in route_of(stack, f"{namespace}/chat"), "the route is logged")
        backend.reset()

    return logged


def test_every_fact_of_a_retried_request_is_told(
    stack: Stack, logged: Logged, gateway: Traffic, backend: Backend, model: Deploy, host: str, namespace: str
) -> None:
    """Trace, retries, error, waits, durations and statuses of each attempt; the waits lie within the backoff."""
    logged(
        backends=[on(model("v1", replicas=2))],
        retries={"attempts": RETRIES, "statusCodes": [503], "backoff": {"initial": f"{INITIAL}ms"}},
    )
    backend.behave(status=503, delay=0.02)
    gateway.send(host, REQUESTS, path="/v1/chat", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})

    retried = told(stack, namespace, REQUESTS)

    assert {attempt.request_id for attempt in backend.seen()} == {request["request_id"] for request in retried}
    for request in retried:
        facts = ("trace_id", "retry_count", "error_type", "status", "missing_attempts")
        assert (TRACE, RETRIES, "unavailable", 503, []) == tuple(request[fact] for fact in facts)
        attempts = request["attempts"]
        seen = [(item["attempt"], item["status"], item["error_type"]) for item in attempts]
        assert [(number, 503, "unavailable") for number in range(1, RETRIES + 2)] == seen
        assert all(item["duration_ms"] >= 20 for item in attempts)
        first, *waits = [item["backoff_delay"] for item in attempts]
        assert first is None
        assert all(0 <= wait <= (2**n - 1) * INITIAL + SLACK for n, wait in enumerate(waits, 1))
        spent = sum(item["duration_ms"] for item in attempts) + sum(waits)
        assert spent <= request["duration_ms"] + 2
    assert sorted(request["time"] for request in retried) == [request["time"] for request in retried]
    # Drawn between 0 and 200 or 600 ms: that of forty none is long, or all are, does not happen.
    waits = [item["backoff_delay"] for request in retried for item in request["attempts"][1:]]
    assert min(waits) < INITIAL < max(waits)

    [route] = json.loads(retries(stack, namespace, "--summary", "--retried", "-o", "json"))["routes"]
    assert (REQUESTS, REQUESTS, 0) == (route["requests"], route["retried"], route["succeeded_after_retry"])
    assert min(waits) <= route["backoff_delay_median"] <= route["backoff_delay_p95"] <= max(waits)
    text = retries(stack, namespace, "--request-id", retried[0]["request_id"])
    assert f"503 unavailable, {RETRIES} retries" in text
    assert TRACE in text


def test_hedged_attempts_are_told_apart(
    stack: Stack, logged: Logged, gateway: Traffic, backend: Backend, model: Deploy, host: str, namespace: str
) -> None:
    """An attempt that goes on beside the next has a number of its own, and there is no wait between them."""
    logged(
        backends=[on(model("v1", replicas=2))],
        timeouts={"perTry": "200ms"},
        retries={"attempts": 1, "idempotency": {"methods": ["GET"]}, "hedgeOnPerTryTimeout": True},
    )
    backend.behave(delay=0.6)
    gateway.send(host, 5, path="/v1/chat")

    for request in told(stack, namespace, 5):
        assert (200, 1, []) == tuple(request[name] for name in ("status", "retry_count", "missing_attempts"))
        assert [(1, None), (2, None)] == [(item["attempt"], item["backoff_delay"]) for item in request["attempts"]]
        begins = [item["time"] for item in request["attempts"]]
        assert sorted(begins) == begins


def test_attempts_without_a_connection_are_told(
    stack: Stack, logged: Logged, gateway: Traffic, backend: Backend, model: Deploy, host: str, namespace: str
) -> None:
    """They have no status, but the host, the error and the wait that any attempt has."""
    v1 = model("v1")
    logged(backends=[on(v1)], retries={"attempts": RETRIES, "conditions": ["ConnectFailure"]})
    backend.cut_off(*v1.addresses())
    gateway.send(host, 3, path="/v1/chat")

    for request in told(stack, namespace, 3):
        facts = ("status", "retry_count", "error_type", "missing_attempts")
        assert (503, RETRIES, "connect_failure", []) == tuple(request[fact] for fact in facts)
        attempts = request["attempts"]
        assert {(0, "connect_failure")} == {(item["status"], item["error_type"]) for item in attempts}
        assert set(v1.addresses()) == {item["host"].partition(":")[0] for item in attempts}
        assert [None] == [item["backoff_delay"] for item in attempts if item["backoff_delay"] is None]
