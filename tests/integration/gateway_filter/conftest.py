"""The gateway filter on the real Istio and Envoy, with a VirtualService and an EnvoyFilter as a policy would have them.

In: what routes and their host carry, straight from the functions that render it; no operator runs here.  The tests
assert answers, attempts that models saw, and log lines.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aigateway.core.gateway.gateway_filter import NAME, gateway_filter
from aigateway.core.gateway.route_extension import DEADLINE_FILTER, deadline, route_metadata
from tests.stack.cluster import Cluster, Manifest
from tests.stack.istio import NAMESPACE
from tests.stack.models import Model
from tests.stack.stack import Stack
from tests.stack.traffic import Answer, Traffic
from tests.stack.waiting import eventually

Deploy = Callable[..., Model]
Serve = Callable[..., Model]

HEADER = "x-request-deadline"
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
ATTEMPTS = 3
PER_TRY = 300
BACKOFF = 25


@pytest.fixture(scope="package")
def filtered(stack: Stack) -> Iterator[Stack]:
    """Install the gateway filter for the tests of this folder, as an administrator would before any policy."""
    stack.cluster.apply(gateway_filter(NAMESPACE))
    eventually(lambda: installed(stack), "Envoy has the gateway filter")
    yield stack
    stack.cluster.delete("EnvoyFilter", NAME, NAMESPACE)
    eventually(lambda: not installed(stack), "Envoy has dropped the gateway filter")


def installed(stack: Stack) -> bool:
    """Return whether the gateway's listener has the filter."""
    return DEADLINE_FILTER in stack.gateway.admin("/config_dump?resource=dynamic_listeners")


@pytest.fixture
def serve(
    filtered: Stack, cluster: Cluster, namespace: str, host: str, model: Deploy, gateway: Traffic
) -> Iterator[Serve]:
    """Serve a model under this test's host, with what ``route_`` and ``vhost`` add to Envoy's routes and host."""

    def serve(route_: Manifest | None = None, vhost: Manifest | None = None, hosts: tuple[str, ...] = ()) -> Model:
        deployed = model("v1")
        cluster.apply(virtual_service(namespace, [host, *hosts], deployed))
        if route_ or vhost:
            cluster.apply(envoy_filter(namespace, host, route_ or {}, vhost or {}))
        marker = f'"{namespace}/chat"'
        eventually(lambda: marker in filtered.gateway.admin("/config_dump?resource=dynamic_route_configs"), "routed")
        eventually(lambda: gateway.get(host, "/ready").status == 200, f"{host} is served")
        eventually(lambda: not (route_ or vhost) or patched(filtered, host), f"{host} is patched")
        filtered.backend.reset()
        return deployed

    yield serve
    cluster.delete("EnvoyFilter", namespace, NAMESPACE)
    assert {} == filtered.gateway.rejected_updates()


def patched(stack: Stack, host: str) -> bool:
    """Return whether the host's routes in Envoy carry something of ours."""
    dump = stack.gateway.config("dynamic_route_configs")
    return any(
        "aigateway" in json.dumps({**virtual_host, "name": "", "domains": []})
        for config in dump["configs"]
        for virtual_host in config["route_config"]["virtual_hosts"]
        if host in virtual_host["domains"]
    )


def virtual_service(namespace: str, hosts: list[str], model: Model) -> Manifest:
    """Return two routes as a policy renders them; ``/slow`` has a short timeout and no retries."""
    retries = {
        "attempts": ATTEMPTS,
        "perTryTimeout": f"{PER_TRY}ms",
        "retryOn": "connect-failure,gateway-error,503",
        "backoff": f"{BACKOFF}ms",
    }
    to = {"route": [{"destination": {"host": model.host, "port": {"number": 80}}}]}
    short = {"match": [{"uri": {"prefix": "/slow"}}], "timeout": "200ms", "retries": {"attempts": 0}}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "chat-gateway", "namespace": namespace},
        "spec": {
            "hosts": hosts,
            "gateways": [f"{NAMESPACE}/ai-gateway"],
            "http": [
                {"name": f"{namespace}/chat/slow", **short, **to},
                {"name": f"{namespace}/chat", "timeout": "2s", "retries": retries, **to},
            ],
        },
    }


def envoy_filter(namespace: str, host: str, route: Manifest, vhost: Manifest) -> Manifest:
    """Return the patches of both routes and of their virtual host."""
    targets: list[tuple[str, Manifest, Manifest]] = [
        ("HTTP_ROUTE", {"route": {"name": name}}, route) for name in (f"{namespace}/chat", f"{namespace}/chat/slow")
    ]
    if vhost:
        targets.append(("VIRTUAL_HOST", {"domainName": host}, vhost))
    patches = [
        {
            "applyTo": kind,
            "match": {"context": "GATEWAY", "routeConfiguration": {"vhost": match}},
            "patch": {"operation": "MERGE", "value": value},
        }
        for kind, match, value in targets
        if value
    ]
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": namespace, "namespace": NAMESPACE},
        "spec": {"configPatches": patches},
    }


def ours(namespace: str, log: str | None = None) -> Manifest:
    """Return what a route of a policy with JSON errors carries."""
    return {"metadata": route_metadata(f"{namespace}/chat", errors_json=True, log=log)}


def with_deadline(namespace: str, log: str | None = None) -> Manifest:
    """Return what a route carries whose clients set deadlines."""
    pieces = deadline(HEADER, request=2_000, per_try=PER_TRY, backoff=BACKOFF, attempts=ATTEMPTS)
    own = pieces["metadata"]["filter_metadata"] | ours(namespace, log)["metadata"]["filter_metadata"]
    return {**pieces, "metadata": {"filter_metadata": own}}


def in_ms(milliseconds: float) -> str:
    """Return a deadline that far from now."""
    return str(int(time.time() * 1000 + milliseconds))


def ask(gateway: Traffic, host: str, path: str = "/", **headers: str) -> Answer:
    """Send one traced GET."""
    return gateway.get(host, path, traceparent=TRACEPARENT, **headers)


def error(answer: Answer) -> Any:
    """Return the error in an answer of the gateway's own."""
    assert "application/json" == answer.headers["content-type"], answer
    return json.loads(answer.body)["error"] if isinstance(answer.body, str) else answer.body["error"]


def lines(stack: Stack, namespace: str, kind: str, path: str) -> list[Any]:
    """Return what the gateway logged of this test's requests to ``path``, of one kind, once it has logged any.

    An attempt has no path; it goes with its request.
    """

    def logged() -> list[Any]:
        mine = [line for line in json_lines(stack) if line["policy"] == f"{namespace}/chat"]
        ids = {line["request_id"] for line in mine if line.get("path") == path}
        assert ids
        return [line for line in mine if line["request_id"] in ids and line["kind"] == kind]

    return eventually(logged, f"requests to {path} are logged")


def json_lines(stack: Stack) -> list[Any]:
    """Return the lines of our own in the gateway's log."""
    text = stack.processes.log("gateway").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]
