"""What is retried, for whom, when and how often, counted where the attempts arrive."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from aigateway.api.classification import ANSWERS, RETRYABLE_STATUS_CODES, Retry
from tests.integration.resilience.conftest import Apply, Deploy, executions, on, route_of, serving
from tests.stack.backend import Backend
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually

QUICK = {"initial": "1ms"}
EVERYTHING = ["ConnectFailure", "RefusedStream", "Reset", "GatewayError"]
KEY = {"idempotency-key": "a-key"}


def waits(backend: Backend) -> list[list[float]]:
    """Return the seconds between the arrivals of the attempts, for each request."""
    arrivals: dict[str, list[float]] = {}
    for attempt in backend.seen():
        arrivals.setdefault(attempt.request_id, []).append(attempt.arrived)
    return [[later - earlier for earlier, later in pairwise(times)] for times in arrivals.values()]


def test_each_status_is_retried_or_not_as_the_table_says(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """A policy that names every status that may be named retries those, and no other."""
    codes = list(RETRYABLE_STATUS_CODES)
    apply(hosts=[host], backends=[on(model("v1"))], retries={"attempts": 2, "statusCodes": codes, "backoff": QUICK})
    serving(gateway, host)

    seen: dict[int, set[int]] = {}
    for answer in ANSWERS:
        backend.reset()
        backend.behave(status=answer.status)
        assert {answer.status: 5} == gateway.send(host, 5).statuses
        seen[answer.status] = set(executions(backend).values())

    assert {a.status: {1} if a.retry is Retry.NEVER else {3} for a in ANSWERS} == seen


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 503}, id="503"),
        pytest.param({"reset": "request"}, id="reset-after-reading"),
        pytest.param({"delay": 2}, id="slower-than-the-bound"),
    ],
)
def test_only_idempotent_requests_are_executed_again(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str, fault: dict[str, Any]
) -> None:
    """Under a fault of every attempt, GETs and requests with a key arrive three times, all others once."""
    apply(
        hosts=[host],
        backends=[on(model("v1", replicas=2))],
        timeouts={"perTry": "300ms"},
        retries={
            "attempts": 2,
            "conditions": EVERYTHING,
            "statusCodes": [503],
            "backoff": QUICK,
            "idempotency": {"header": "Idempotency-Key"},
        },
    )
    serving(gateway, host)
    arrivals: dict[str, dict[int, int]] = {}
    requests: dict[str, dict[str, Any]] = {
        "GET": {},
        "keyed POST": {"method": "POST", "headers": KEY},
        "POST with an empty key": {"method": "POST", "headers": {"idempotency-key": ""}},
        "POST": {"method": "POST"},
        "DELETE": {"method": "DELETE"},
    }
    for name, request in requests.items():
        backend.reset()
        backend.behave(**fault)
        gateway.send(host, 10, **request)
        arrivals[name] = dict(Counter(executions(backend).values()))

    thrice, once = {3: 10}, {1: 10}
    assert {
        "GET": thrice,
        "keyed POST": thrice,
        "POST with an empty key": once,
        "POST": once,
        "DELETE": once,
    } == arrivals


def test_keyed_requests_reach_a_backend_twice_that_does_not_deduplicate(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """The header is the owner's promise: where the backend does not keep it, work is done twice."""
    v1 = model("v1")
    apply(
        hosts=[host],
        backends=[on(v1)],
        retries={"attempts": 1, "statusCodes": [503], "idempotency": {"header": "Idempotency-Key"}, "backoff": QUICK},
    )
    serving(gateway, host)
    backend.reset()
    backend.behave(status=503)

    gateway.send(host, 20, method="POST", headers=KEY)

    assert {2: 20} == Counter(executions(backend).values())
    assert {"a-key"} == {attempt.key for attempt in backend.seen()}


def test_unkeyed_posts_are_never_executed_twice(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """Whatever happens to them: resets before and after reading, failures, slow answers, replicas out of reach."""
    v1 = model("v1", replicas=3)
    apply(
        hosts=[host],
        backends=[on(v1)],
        timeouts={"perTry": "300ms"},
        retries={"attempts": 3, "conditions": [*EVERYTHING, "ResetBeforeRequest"], "statusCodes": [503, 500]},
    )
    serving(gateway, host)
    faults: list[dict[str, Any]] = [
        {"reset": "accept", "share": 0.5},
        {"reset": "request", "share": 0.5},
        {"status": 503, "share": 0.5},
        {"status": 500, "share": 0.5},
        {"delay": 1},
    ]
    for fault in faults:
        backend.reset()
        backend.behave(**fault)
        gateway.send(host, 200, method="POST", body=b"{}", concurrency=20)
        assert {1} >= set(executions(backend).values()), fault
    backend.reset()
    one, *_ = sorted(v1.addresses())
    backend.cut_off(one)

    answers = gateway.send(host, 200, method="POST", body=b"{}")

    assert {200: 200} == answers.statuses
    assert {1} == set(executions(backend).values())


def test_pure_inference_may_be_repeated_whatever_its_method(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """TreatAsIdempotent retries POSTs like all others, by one route."""
    policy = apply(
        hosts=[host],
        backends=[on(model("v1"))],
        retries={"attempts": 2, "statusCodes": [503], "nonIdempotent": "TreatAsIdempotent", "backoff": QUICK},
    )
    serving(gateway, host)
    backend.reset()
    backend.behave(status=503)

    gateway.send(host, 10, method="POST")

    assert {3: 10} == Counter(executions(backend).values())
    assert "every request" == policy["status"]["effective"]["idempotent"]


def test_waits_grow_to_their_cap_and_are_drawn_from_zero(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """The n-th wait is drawn between 0 and (2^n - 1) times the first bound, never beyond the cap."""
    apply(
        hosts=[host],
        backends=[on(model("v1"))],
        retries={"attempts": 4, "statusCodes": [500], "backoff": {"initial": "100ms", "max": "250ms"}},
    )
    serving(gateway, host)
    backend.reset()
    backend.behave(status=500)

    gateway.send(host, 100, concurrency=50)

    by_retry = list(zip(*waits(backend), strict=True))
    room = 0.2  # for a busy machine
    assert 4 == len(by_retry)
    assert [True] * 4 == [max(gaps) < 0.25 + room for gaps in by_retry]
    # Envoy's own cap would be ten times the first bound: the third would then reach 0.7 s, a mean of 0.35.
    assert sum(by_retry[3]) / 100 < 0.125 + room
    assert min(by_retry[3]) < 0.1  # full jitter: some hardly wait at all


def test_retry_after_is_waited_for(apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str) -> None:
    """A 429 or 503 that says when to come back is tried again then, unless that is too long."""
    apply(
        hosts=[host],
        backends=[on(model("v1"))],
        retries={"attempts": 1, "statusCodes": [429, 503], "retryAfter": {"max": "3s"}, "backoff": QUICK},
    )
    serving(gateway, host)
    shortest: dict[tuple[int, str], float] = {}
    for status, seconds in ((429, "1"), (503, "1"), (429, "9")):
        backend.reset()
        backend.behave(status=status, headers={"retry-after": seconds})
        gateway.send(host, 10, concurrency=10)
        shortest[status, seconds] = min(gap for gaps in waits(backend) for gap in gaps)

    assert shortest[429, "1"] >= 0.95
    assert shortest[503, "1"] >= 0.95
    assert shortest[429, "9"] < 0.9


def test_a_retry_prefers_another_replica(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """With one of three replicas failing, one retry is enough for nearly every request."""
    v1 = model("v1", replicas=3)
    apply(hosts=[host], backends=[on(v1)], retries={"attempts": 1, "statusCodes": [503], "backoff": QUICK})
    serving(gateway, host)
    backend.reset()
    failing = min(v1.addresses())
    backend.behave(failing, status=503)

    answers = gateway.send(host, 300)

    first_tries = sum(attempt.address == failing and attempt.attempt == 1 for attempt in backend.seen())
    assert first_tries > 50
    # A retry to any replica would fail for a third of them; Envoy looks five times for one that was not tried.
    assert answers.statuses.get(503, 0) < first_tries / 6


def test_budget_bounds_the_load_of_retries(
    stack: Stack, apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """When everything fails, a budget of 20 % keeps the attempts near 1.2 for each request, in place of 4."""
    v1 = model("v1", replicas=2)
    policy = apply(
        hosts=[host],
        backends=[on(v1)],
        retries={"attempts": 3, "statusCodes": [503], "backoff": QUICK, "budget": {"percent": 20}},
    )
    serving(gateway, host)
    backend.reset()
    backend.behave(status=503, delay=0.2)

    gateway.send(host, 1500, concurrency=100)

    assert 1.0 < len(backend.seen()) / 1500 < 1.35
    assert sum(stack.gateway.stats(f"cluster.*{v1.host}.*upstream_rq_retry_overflow").values()) > 500
    assert policy["status"]["effective"]["retryBudget"].startswith("20 % of the requests under way, at least 3")


def test_large_prompts_keep_their_retries(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """A body of 4 MB, beyond what a gateway keeps by itself, is sent again whole."""
    v1 = model("v1")
    retries = {"attempts": 2, "statusCodes": [503], "nonIdempotent": "TreatAsIdempotent", "backoff": QUICK}
    apply(hosts=[host], backends=[on(v1)], retries=retries)
    serving(gateway, host)
    prompt = b"x" * 4_000_000

    def attempts() -> list[int]:
        backend.reset()
        backend.behave(status=503)
        gateway.send(host, 3, method="POST", body=prompt, concurrency=1)
        return sorted(executions(backend).values())

    assert attempts() != [3, 3, 3]
    apply(hosts=[host], backends=[on(v1)], retries={**retries, "bufferLimit": "16Mi"})
    eventually(lambda: attempts() == [3, 3, 3], "large bodies are retried")


def test_hedging_starts_another_attempt_and_keeps_the_first(
    apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str
) -> None:
    """An attempt over its bound goes on beside the next; whichever answers first is the answer."""
    v1 = model("v1", replicas=2)
    apply(
        hosts=[host],
        backends=[on(v1)],
        timeouts={"perTry": "200ms"},
        retries={"attempts": 1, "idempotency": {"methods": ["GET"]}, "hedgeOnPerTryTimeout": True},
    )
    serving(gateway, host)
    backend.reset()
    backend.behave(delay=0.6)

    answers = gateway.send(host, 10, concurrency=10)
    posted = gateway.send(host, 10, concurrency=10, method="POST")

    assert ({200: 10}, {504: 10}) == (answers.statuses, posted.statuses)
    hedged = [attempt for attempt in backend.seen() if attempt.method == "GET"]
    assert 20 == len(hedged)
    assert 10 == sum(attempt.method == "POST" for attempt in backend.seen())


def test_envoy_counts_retries_by_route_under_a_stable_name(
    stack: Stack, apply: Apply, gateway: Traffic, backend: Backend, model: Deploy, host: str, namespace: str
) -> None:
    """Each route has counters of its own, the split and named routes apart, both halves of one together."""
    v1 = model("v1")
    apply(
        hosts=[host],
        backends=[on(v1)],
        routes=[{"name": "beta", "matches": [{"headers": [{"name": "x-beta", "exact": "1"}]}]}],
        retries={"attempts": 2, "statusCodes": [503], "backoff": QUICK},
    )
    serving(gateway, host)
    backend.reset()
    backend.behave(status=503)

    gateway.send(host, 7)
    gateway.send(host, 5, headers={"x-beta": "1"})

    def retries(route: str) -> int:
        counted = stack.gateway.stats(rf"vhost\..*\.route\.{route}\.upstream_rq_retry$")
        return sum(counted.values())

    eventually(lambda: (14, 10) == (retries(f"{namespace}_chat"), retries(f"{namespace}_chat_beta")))


def test_waits_and_statuses_are_in_envoys_route(
    stack: Stack, apply: Apply, gateway: Traffic, model: Deploy, host: str, namespace: str
) -> None:
    """Envoy has exactly the codes, bounds and waits of the policy, each for the requests that it is for."""
    apply(
        hosts=[host],
        backends=[on(model("v1"))],
        timeouts={"idle": "45s"},
        retries={"attempts": 2, "statusCodes": [503], "backoff": {"initial": "100ms", "max": "5s"}},
    )
    serving(gateway, host)
    eventually(lambda: route_of(stack, f"{namespace}/chat")["route"]["idle_timeout"] == "45s", "the patch is there")

    full = route_of(stack, f"{namespace}/chat#idempotent")["route"]["retry_policy"]
    others = route_of(stack, f"{namespace}/chat")["route"]["retry_policy"]

    assert {"base_interval": "0.100s", "max_interval": "5s"} == full["retry_back_off"] == others["retry_back_off"]
    assert [503] == full["retriable_status_codes"], json.dumps(full)
    assert "30s" == full["rate_limited_retry_back_off"]["max_interval"]
    assert "retriable_status_codes" not in others
    assert "rate_limited_retry_back_off" not in others
