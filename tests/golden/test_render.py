"""What is rendered for named policies, as reviewable YAML beside this file.

``UPDATE_GOLDEN=1 pytest tests/golden`` writes the files anew; the difference is then for the reviewer to judge.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from aigateway.api.resolved import (
    AccessLog,
    Backoff,
    Budget,
    CircuitBreaker,
    ConnectionPool,
    CPURule,
    ErrorFormat,
    HeaderMatch,
    LatencyRule,
    LoadBalancing,
    Match,
    QueueLengthRule,
    RateLimit,
    RequestRateRule,
    ResolvedPolicy,
    RetryCondition,
    Route,
    ScaleUp,
    Timeouts,
    WorkloadKind,
    WorkloadRef,
)
from aigateway.cli.output import as_yaml
from aigateway.core.observation import EndpointsState, Observation, ServicePort, ServiceState
from aigateway.core.reconcile import decide, render
from tests.resolved import ADMINISTRATOR, NOW, SAFE_CONDITIONS, autoscaling, backend, in_mesh, observed, policy, retries

FILTERING = dataclasses.replace(ADMINISTRATOR, envoy_filter_namespaces=("istio-ingress",))
FILES = Path(__file__).parent


def route(name: str, *matches: Match, to: str | None = "v2") -> Route:
    """Return a route to v2."""
    return Route(name, matches, to)


BY_HEADER = Match((HeaderMatch("X-Model-Version", "v2", None),), None, None)
BY_HEADER_PREFIX = Match((HeaderMatch("x-user", None, "beta-"), HeaderMatch("x-tier", "gold", None)), "POST", None)
BY_PATH = Match((), None, "/v2/chat")
POST_ONLY = Match((), "POST", None)
GET_ONLY = Match((), "GET", None)
UNSAFE = retries(attempts=3, conditions=(*SAFE_CONDITIONS, RetryCondition.RESET), status_codes=(503, 429))

EVERY_RULE = autoscaling(
    RequestRateRule(50),
    LatencyRule(95, 200),
    QueueLengthRule(1000),
    CPURule(70),
    min_replicas=2,
    scale_up=ScaleUp(2, 60_000),
    scale_down_stabilization=300_000,
)

POLICIES: dict[str, ResolvedPolicy] = {
    "minimal": policy(),
    "lone-backend": policy(backends=(backend("v1", 100, port=8080),)),
    "routes": policy(
        routes=(
            route("pinned", BY_HEADER),
            route("beta", BY_HEADER_PREFIX, BY_PATH),
            route("reads", GET_ONLY, to=None),
        )
    ),
    "path-prefix": policy(path_prefix="/chat", routes=(route("v2", Match((), None, "/chat/v2"), BY_HEADER),)),
    "in-mesh": policy(hosts=(), gateways=(), service=in_mesh(80), routes=(route("pinned", BY_HEADER),)),
    "gateway-and-mesh": policy(service=in_mesh(), gateways=("istio-system/ai-gateway", "models/own")),
    "no-retries": policy(retries=retries(attempts=0, conditions=(), status_codes=())),
    "retries-split-by-idempotency": policy(
        retries=UNSAFE,
        timeouts=Timeouts(60_000, 1_500),
        routes=(
            route("pinned", BY_HEADER),
            route("posts", POST_ONLY),
            route("reads", GET_ONLY),
            route("both", GET_ONLY, POST_ONLY),
        ),
    ),
    "unsafe-conditions-only": policy(
        retries=retries(conditions=(RetryCondition.RESET,)), timeouts=Timeouts(None, 10_000)
    ),
    "connection-pool": policy(connection_pool=ConnectionPool(50, 10, 3_600_000, 1_000)),
    "scaled-by-every-rule": policy(
        backends=(
            backend("v1", 80, autoscaling=EVERY_RULE),
            backend(
                "v2",
                20,
                port=8000,
                workload=WorkloadRef(WorkloadKind.STATEFUL_SET, "llm"),
                autoscaling=autoscaling(CPURule(60)),
            ),
        )
    ),
}


BREAKER = CircuitBreaker(5, 3, 2, 50, 20, 10_000, 30_000, 50, 60_000)
RESILIENT = retries(
    attempts=3,
    conditions=(*SAFE_CONDITIONS, RetryCondition.RESET),
    status_codes=(429, 503),
    idempotency_header="idempotency-key",
    backoff=Backoff(200, 1_500),
    retry_after=30_000,
    budget=Budget(20, 3),
    buffer_limit=16 << 20,
    hedge=True,
)
EXTENDED: dict[str, ResolvedPolicy] = {
    "resilient": policy(
        retries=RESILIENT,
        timeouts=Timeouts(60_000, 1_500, 300_000, "x-request-deadline"),
        circuit_breaker=BREAKER,
        connection_pool=ConnectionPool(50, 10, 3_600_000, 1_000, 10, 200, 30_000),
        load_balancing=LoadBalancing(warmup=120_000, locality_failover=(("eu-west", "eu-north"),)),
        rate_limits=(RateLimit("all", 100, 1_000, 200, None), RateLimit("client", 5, 60_000, 5, "x-api-key")),
        access_log=AccessLog.ATTEMPTS,
        routes=(route("pinned", BY_HEADER),),
    ),
    "resilient-in-mesh": policy(hosts=(), gateways=(), service=in_mesh(80), retries=RESILIENT, circuit_breaker=BREAKER),
    "pure-inference-by-session": policy(
        retries=retries(status_codes=(503,), treat_as_idempotent=True),
        load_balancing=LoadBalancing(hash_header="x-session"),
        error_format=ErrorFormat.TEXT,
    ),
    "errors-in-json-alone": policy(),
}
"""With leave to write EnvoyFilters beside the gateways."""


def world(of: ResolvedPolicy) -> Observation:
    """Return a world in which every port that the policy names exists."""
    services = {b.service: ServiceState((ServicePort(b.port or 80),)) for b in of.backends}
    if of.service is not None:
        services[of.service.name] = ServiceState((ServicePort(80),))
    return observed(of, services=services)


@pytest.mark.parametrize("name", POLICIES)
def test_rendered_objects(name: str) -> None:
    """Each policy renders to exactly the objects in its file."""
    of = POLICIES[name]
    bodies = render(of, decide(of, world(of), ADMINISTRATOR, NOW), ADMINISTRATOR)

    check(name, as_yaml(bodies))


@pytest.mark.parametrize("name", EXTENDED)
def test_rendered_objects_where_envoy_filters_are_allowed(name: str) -> None:
    """What Istio's own API cannot say goes into EnvoyFilters, where the gateways run."""
    of = EXTENDED[name]
    decision = decide(of, world(of), FILTERING, NOW)

    check(name, as_yaml(render(decision.policy or of, decision, FILTERING)))


def test_unavailable_backend_is_left_out_of_the_split() -> None:
    """Envoy would never pick a destination of weight 0; leaving it out says so, pinned routes stay."""
    of = policy(routes=(route("pinned", BY_HEADER),))
    endpoints = {"model-v1": EndpointsState(2, 0), "model-v2": EndpointsState(0, 0)}
    bodies = render(of, decide(of, observed(of, endpoints=endpoints), ADMINISTRATOR, NOW), ADMINISTRATOR)

    check("one-backend-unavailable", as_yaml(bodies))


def check(name: str, text: str) -> None:
    """Compare with the golden file, or write it when asked to."""
    file = FILES / f"{name}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)

    assert file.read_text() == text
