"""Hypothesis strategies of the blocks on failures, limits and load balancing, each valid beside the others.

:mod:`tests.strategies` puts them into whole policies.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st

from tests.basic_strategies import METHODS, durations, header_names, labels, whole_seconds

Raw = dict[str, Any]
Draw = st.DrawFn

CONDITIONS = ("ConnectFailure", "RefusedStream", "ResetBeforeRequest", "Reset", "GatewayError")
STATUS_CODES = (408, 409, 425, 429, 500, 502, 503, 504)
LONGEST_BACKOFF = 60_000


def _object(optional: Raw, required: Raw | None = None) -> st.SearchStrategy[Raw]:
    return st.fixed_dictionaries(required or {}, optional=optional)


@cache
def amounts(most: int = 1_000_000) -> st.SearchStrategy[int]:
    """Return counts from 1, the bounds often."""
    return st.one_of(st.sampled_from((1, most)), st.integers(1, most))


@st.composite
def backoffs(draw: Draw) -> Raw:
    """Return waits before retries, the cap no shorter than the first."""
    initial = draw(st.integers(1, LONGEST_BACKOFF))
    words = {"strategy": st.just("Exponential"), "jitter": st.just("Full")}
    cap = st.integers(initial, 10 * LONGEST_BACKOFF).map(_spelt)
    return draw(_object({**words, "max": cap}, {"initial": st.just(f"{initial}ms")}))


def _spelt(milliseconds: int) -> str:
    return f"{milliseconds // 1000}s{milliseconds % 1000}ms"


@cache
def adaptives() -> st.SearchStrategy[Raw]:
    """Return what takes retries away, one of the two at least."""
    return _object({"latencyAbove": durations(), "failurePercent": amounts(100)}).filter(bool)


@st.composite
def retries(draw: Draw) -> Raw:
    """Return retry blocks: switched off, or with what is retried for whom, when and how often."""
    if draw(st.integers(0, 5)) == 0:
        return {"attempts": 0}
    methods = st.lists(st.sampled_from(METHODS), min_size=1, max_size=7, unique=True)
    block = draw(
        _object(
            {
                "attempts": st.integers(1, 10),
                "conditions": st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=5, unique=True),
                "statusCodes": st.lists(st.sampled_from(STATUS_CODES), min_size=1, max_size=8, unique=True),
                "backoff": backoffs(),
                "idempotency": _object({"methods": methods, "header": header_names()}),
                "budget": _object({"minConcurrency": amounts(1000)}, {"percent": amounts(100)}),
                "bufferLimit": st.sampled_from(("1Ki", "512Ki", "16Mi", "64Mi")),
                "nonIdempotent": st.just("NotProcessedOnly"),
                "adaptive": adaptives(),
            }
        )
    )
    if "idempotency" not in block and draw(st.booleans()):
        block["nonIdempotent"] = "TreatAsIdempotent"
    asks_to_wait = bool({429, 503}.intersection(block.get("statusCodes", ())))
    if asks_to_wait and draw(st.booleans()):
        block["retryAfter"] = {"max": draw(whole_seconds(1, 86_400))}
    return block


@st.composite
def timeouts(draw: Draw, retrying: Raw, *, hosts: bool) -> Raw:
    """Return timeouts; the request leaves time for every attempt and the first wait before each retry."""
    attempts = retrying.get("attempts", 2)
    wait = int(retrying.get("backoff", {}).get("initial", "25ms").removesuffix("ms"))
    block = draw(_object({"idle": durations()} | ({"deadlineHeader": header_names()} if hosts else {})))
    per_try = draw(st.one_of(st.none(), st.integers(1, 99_999))) if attempts else None
    if per_try is not None:
        block["perTry"] = f"{per_try}ms"
    if draw(st.booleans()):
        least = (per_try or 0) * (attempts + 1) + wait * attempts
        block["request"] = _spelt(least + draw(st.integers(1, 9_999)))
    return block


@cache
def connection_pools() -> st.SearchStrategy[Raw]:
    """Return connection pools with at least one limit."""
    counts = {name: amounts() for name in ("maxOpen", "maxIdle", "maxPending", "maxRequests")}
    times = {"maxLifetime": durations(), "connectTimeout": durations(), "keepAlive": whole_seconds(1, 86_400)}
    return _object({**counts, **times}).filter(bool)


@st.composite
def circuit_breakers(draw: Draw) -> Raw:
    """Return breakers, empty ones too."""
    most = draw(st.one_of(st.none(), st.integers(2, 1000)))
    block = draw(
        _object(
            {
                "consecutiveGatewayErrors": st.integers(1, (most or 5) - 1),
                "consecutiveConnectFailures": amounts(1000),
                "failurePercent": amounts(100),
                "interval": durations(),
                "sleepWindow": durations(),
                "maxEjectionPercent": amounts(100),
            }
        )
    )
    if most is not None:
        block["consecutiveErrors"] = most
    if draw(st.booleans()):
        window = draw(st.integers(1, 600_000))
        block |= {"sleepWindow": f"{window}ms" if window < 99_999 else _spelt(window)}
        block["maxSleepWindow"] = _spelt(draw(st.integers(window, 1_200_000)))
    if "failurePercent" in block and draw(st.booleans()):
        block["minRequests"] = draw(amounts())
    return block


@st.composite
def load_balancings(draw: Draw, *, breaker: bool) -> Raw:
    """Return ways to choose a replica; regions stand in for each other only where lost replicas are found."""
    hashed = st.one_of(
        _object({}, {"header": header_names()}),
        st.just({"queryParameter": "session"}),
        st.just({"queryParameter": "a.b"}),
    )
    pair = st.fixed_dictionaries({"from": st.just("eu-west"), "to": st.sampled_from(("us-east", "ap.south_1"))})
    spread = _object({"policy": st.sampled_from(("LeastRequest", "RoundRobin")), "warmup": whole_seconds(1, 3600)})
    chosen: Raw = draw(st.one_of(spread, st.just({"policy": "Random"}), _object({}, {"consistentHash": hashed})))
    if breaker and draw(st.booleans()):
        chosen["localityFailover"] = draw(st.lists(pair, min_size=1, max_size=1))
    return chosen


@st.composite
def rate_limits(draw: Draw) -> list[Raw]:
    """Return limits, each with a key of its own."""
    names = draw(st.lists(labels(63), min_size=1, max_size=4, unique=True))
    keys = draw(st.lists(header_names(), min_size=4, max_size=4, unique_by=str.lower))
    limits = []
    for index, name in enumerate(names):
        requests = draw(amounts())
        optional = {"interval": st.integers(50, 60_000).map(_spelt), "burst": st.integers(requests, 1_000_000)}
        required = {"name": st.just(name), "requests": st.just(requests)}
        limits.append(draw(_object(optional, required | ({"keyHeader": st.just(keys[index])} if index else {}))))
    return limits


@st.composite
def blocks(draw: Draw, *, hosts: bool, whole: bool) -> Raw:
    """Return the blocks of a spec; ``hosts``: it is for gateways, ``whole``: for all paths of its hosts."""
    spec = draw(
        _object({"retries": retries(), "connectionPool": connection_pools(), "circuitBreaker": circuit_breakers()})
    )
    if draw(st.booleans()):
        spec["timeouts"] = draw(timeouts(spec.get("retries", {}), hosts=hosts))
    if draw(st.booleans()) and (balancing := draw(load_balancings(breaker="circuitBreaker" in spec))):
        spec["loadBalancing"] = balancing
    if hosts:
        spec |= draw(
            _object(
                {
                    "errorFormat": st.sampled_from(("JSON", "Text")),
                    "accessLog": st.sampled_from(("None", "Requests", "Attempts")),
                }
                | ({"rateLimits": rate_limits()} if whole else {})
            )
        )
    return spec | (draw(_hedging(spec)) if draw(st.booleans()) else {})


def _hedging(spec: Raw) -> st.SearchStrategy[Raw]:
    """Return the retries with hedging, where the attempts have a bound and repetition is allowed."""
    block = spec.get("retries", {})
    allowed = "idempotency" in block or block.get("nonIdempotent") == "TreatAsIdempotent"
    if allowed and "perTry" in spec.get("timeouts", {}):
        return st.just({"retries": {**block, "hedgeOnPerTryTimeout": True}})
    return st.just({})
