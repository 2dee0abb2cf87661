"""What clients are told of the gateway's own failures, and what is logged of requests and their attempts."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.integration.gateway_filter.conftest import (
    ATTEMPTS,
    HEADER,
    TRACE,
    Serve,
    ask,
    error,
    in_ms,
    json_lines,
    lines,
    ours,
    with_deadline,
)
from tests.stack.backend import Backend
from tests.stack.cluster import Cluster, Manifest
from tests.stack.models import Model
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually


def one_at_a_time(model: Model) -> Manifest:
    """Return a DestinationRule that lets one request through and none wait."""
    pool = {"tcp": {"maxConnections": 1}, "http": {"http1MaxPendingRequests": 1, "http2MaxRequests": 1}}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": model.name, "namespace": model.namespace},
        "spec": {"host": model.host, "trafficPolicy": {"connectionPool": pool}},
    }


def test_no_replica_is_said_in_json(serve: Serve, gateway: Traffic, host: str, namespace: str) -> None:
    """Without a replica there is nothing to try: a client may send its request again."""
    model = serve(ours(namespace))
    model.scale(0)

    eventually(lambda: ask(gateway, host).status == 503, "no replica is left")
    expected = {"type": "no_healthy_upstream", "severity": "SERVER", "retryable": True, "traceId": TRACE}
    assert expected.items() <= error(ask(gateway, host)).items()


def test_refused_connection_is_said_in_json(
    serve: Serve, gateway: Traffic, backend: Backend, host: str, namespace: str
) -> None:
    """It names how often was tried."""
    backend_of = serve(ours(namespace))
    backend.cut_off(*backend_of.addresses())

    answer = ask(gateway, host)

    assert 503 == answer.status
    expected = {"type": "connect_failure", "attempts": ATTEMPTS + 1, "retryable": True, "traceId": TRACE}
    assert expected.items() <= error(answer).items()


def test_overflow_is_said_in_json(
    serve: Serve, cluster: Cluster, gateway: Traffic, backend: Backend, host: str, namespace: str
) -> None:
    """What the pool of a policy has no room for was not sent to a model."""
    cluster.apply(one_at_a_time(serve(ours(namespace))))
    backend.behave(delay=1)

    def overflown() -> Any:
        answers = gateway.send(host, 8, headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}).all
        return next((a for a in answers if a.status == 503), None)

    assert {"type": "overloaded", "retryable": True, "traceId": TRACE}.items() <= error(eventually(overflown)).items()


def test_trace_is_null_for_a_client_that_has_none(serve: Serve, gateway: Traffic, host: str, namespace: str) -> None:
    """The key is there all the same, and a made-up trace is none."""
    serve(with_deadline(namespace))

    assert error(gateway.get(host, x_request_deadline="1"))["traceId"] is None
    assert error(gateway.get(host, x_request_deadline="1", traceparent='"},"x":"'))["traceId"] is None


@pytest.mark.parametrize("status", [400, 429, 500, 503, 504])
def test_bodies_of_models_are_left_alone(
    serve: Serve, gateway: Traffic, backend: Backend, host: str, namespace: str, status: int
) -> None:
    """A model's own failure goes to the client as it is, also the last one of several attempts."""
    serve(ours(namespace))
    backend.behave(status=status, headers={"x-of-the-model": "yes"})

    answer = ask(gateway, host)

    assert (status, "yes") == (answer.status, answer.headers["x-of-the-model"])
    assert "error" not in answer.body


def test_other_routes_are_left_alone(
    serve: Serve, filtered: Stack, gateway: Traffic, backend: Backend, host: str, namespace: str
) -> None:
    """A route without our metadata has Envoy's own bodies, no deadlines and no lines in the log."""
    backend_of = serve()

    assert 200 == ask(gateway, host, x_request_deadline="1").status
    backend.cut_off(*backend_of.addresses())
    answer = ask(gateway, host)
    nowhere = gateway.get(f"nowhere.{host}")

    assert (503, "text/plain") == (answer.status, answer.headers["content-type"])
    assert (404, "") == (nowhere.status, nowhere.body)
    # Istio's own lines go the same way, so by then ours would be there.
    eventually(lambda: f"nowhere.{host}" in filtered.processes.log("gateway").read_text(), "Istio has logged all")
    assert namespace not in json.dumps(json_lines(filtered))


def test_request_and_its_attempts_are_logged_under_one_id(
    serve: Serve, filtered: Stack, gateway: Traffic, backend: Backend, host: str, namespace: str
) -> None:
    """Each attempt has its number, status, replica and times, between which the waits can be read."""
    backend_of = serve(ours(namespace, "Attempts"))
    backend.behave(status=503)

    ask(gateway, host, "/v1/chat?key=secret")
    [request] = lines(filtered, namespace, "request", "/v1/chat")
    attempts = lines(filtered, namespace, "attempt", "/v1/chat")

    [address] = backend_of.addresses()
    assert backend.seen()[-1].request_id == request["request_id"]
    assert {
        "policy": f"{namespace}/chat",
        "route": f"{namespace}/chat",
        "trace_id": TRACE,
        "method": "GET",
        "status": 503,
        "retry_count": ATTEMPTS,
        "error_type": "unavailable",
        "flags": "URX",
        "backend": f"outbound|80||{backend_of.host}",
    }.items() <= request.items()
    assert [(n, n - 1, 503, "unavailable", "-", TRACE) for n in range(1, ATTEMPTS + 2)] == [
        tuple(line[key] for key in ("attempt", "retry_count", "status", "error_type", "flags", "trace_id"))
        for line in attempts
    ]
    assert {address} == {line["host"].partition(":")[0] for line in attempts}
    assert all(at(before["end"]) <= at(after["time"]) for before, after in pairwise(attempts))
    assert "secret" not in json.dumps([request, *attempts])


def at(time: str) -> datetime:
    """Return the time in a line."""
    return datetime.fromisoformat(time)


def test_lines_name_the_failure(
    serve: Serve, filtered: Stack, gateway: Traffic, backend: Backend, host: str, namespace: str
) -> None:
    """Refused deadlines, timeouts and refused connections have the type in the log that the client got as well."""
    backend_of = serve(with_deadline(namespace, "Requests"))
    ask(gateway, host, "/late", **{HEADER.replace("-", "_"): "1"})
    backend.behave(delay=1)
    ask(gateway, host, "/slow")
    backend.cut_off(*backend_of.addresses())
    ask(gateway, host, "/dead", x_request_deadline=in_ms(60_000))

    logged = {path: lines(filtered, namespace, "request", path)[0] for path in ("/late", "/slow", "/dead")}

    assert {
        "/late": ("deadline_exceeded", 504, 0),
        "/slow": ("upstream_timeout", 504, 0),
        "/dead": ("connect_failure", 503, ATTEMPTS),
    } == {path: (line["error_type"], line["status"], line["retry_count"]) for path, line in logged.items()}
    assert [] == lines(filtered, namespace, "attempt", "/dead")
