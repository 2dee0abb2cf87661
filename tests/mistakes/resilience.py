"""Resilience blocks that do not fit together, or not with the rest: a row for every rule on them."""

from __future__ import annotations

from tests.mistakes.mistake import NOTHING_OF_GATEWAYS, Mistake
from tests.policies import GONE

WITHOUT_ATTEMPTS = (
    "conditions, statusCodes, backoff, retryAfter, budget, bufferLimit, adaptive and hedgeOnPerTryTimeout have no "
    "effect with attempts 0: remove them or raise attempts"
)
ONE_KEY = "rateLimits must have one entry at most for each keyHeader, and one without: remove the others"
LATE = (
    "spec.timeouts.request leaves no time for every attempt: it must be at least (attempts + 1) x perTry + attempts x "
    "backoff.initial (attempts: 2 unless set, initial: 25ms unless set); raise request, or lower perTry or attempts"
)
ONE_HASH = "header or queryParameter is required, and not both: set one of the two"
GATEWAYS = (
    "rateLimits, errorFormat, accessLog and timeouts.deadlineHeader are done by gateways: set spec.hosts, "
    "or remove them"
)
_IN_MESH = {"spec.hosts": GONE, "spec.gateways": GONE, "spec.pathPrefix": GONE, "spec.service": {"name": "chat"}}
_ALL = {"name": "all", "requests": 100}
_WHOLE = {"spec.pathPrefix": "/"}

RESILIENCE = {
    "try longer than the request": Mistake(
        {"spec.timeouts.perTry": "61s"},
        "spec.timeouts.perTry",
        "perTry must not be longer than request: lower perTry or raise request",
    ),
    "bounded tries that are never repeated": Mistake(
        {"spec.retries": {"attempts": 0}},
        "spec.timeouts.perTry",
        "spec.timeouts.perTry has no effect with spec.retries.attempts 0: "
        "set timeouts.request instead, or raise attempts",
        "spec.timeouts",
    ),
    "tries that never come": Mistake(
        {"spec.timeouts.request": "40599ms"}, "spec.timeouts.request", LATE, "spec.timeouts"
    ),
    "tries that never come, by default": Mistake(
        {"spec.retries": GONE, "spec.timeouts": {"request": "3s", "perTry": "1s"}},
        "spec.timeouts.request",
        LATE,
        "spec.timeouts",
    ),
    **{
        f"{field} without attempts": Mistake(
            {"spec.retries": {"attempts": 0, field: value}, "spec.timeouts": GONE},
            "spec.retries.attempts",
            WITHOUT_ATTEMPTS,
        )
        for field, value in {
            "conditions": ["Reset"],
            "statusCodes": [500],
            "backoff": {"initial": "1s"},
            "budget": {"percent": 20},
            "bufferLimit": "16Mi",
            "adaptive": {"failurePercent": 50},
        }.items()
    },
    "cap below the first wait": Mistake(
        {"spec.retries.backoff.max": "100ms"},
        "spec.retries.backoff.max",
        "max must not be shorter than initial: raise max or lower initial",
    ),
    "Retry-After of answers that are not retried": Mistake(
        {"spec.retries.statusCodes": [500]},
        "spec.retries.retryAfter",
        "retryAfter needs 429 or 503 in statusCodes, the answers that carry Retry-After: add one, or remove retryAfter",
    ),
    "hedging of who knows what": Mistake(
        {"spec.retries.idempotency": GONE},
        "spec.retries.hedgeOnPerTryTimeout",
        "hedgeOnPerTryTimeout executes a request several times at once: set idempotency to say which requests bear "
        "that (or nonIdempotent TreatAsIdempotent), or remove it",
    ),
    "hedging without a bound": Mistake(
        {"spec.timeouts.perTry": GONE},
        "spec.retries.hedgeOnPerTryTimeout",
        "spec.retries.hedgeOnPerTryTimeout needs spec.timeouts.perTry, after which the next attempt starts: "
        "set perTry, or remove it",
        "spec.retries",
    ),
    "retries that adapt to nothing": Mistake(
        {"spec.retries.adaptive": {}},
        "spec.retries.adaptive",
        "adaptive needs latencyAbove, failurePercent or both: set one or remove adaptive",
    ),
    "idempotent in two ways": Mistake(
        {"spec.retries.nonIdempotent": "TreatAsIdempotent"},
        "spec.retries.idempotency",
        "idempotency has no effect with nonIdempotent TreatAsIdempotent, which takes every request for idempotent: "
        "remove one of the two",
    ),
    "requests counted for nothing": Mistake(
        {"spec.circuitBreaker.failurePercent": GONE},
        "spec.circuitBreaker.minRequests",
        "minRequests has no effect without failurePercent: set failurePercent or remove minRequests",
    ),
    "gateway errors that others count first": Mistake(
        {"spec.circuitBreaker.consecutiveErrors": 3},
        "spec.circuitBreaker.consecutiveGatewayErrors",
        "consecutiveGatewayErrors must be below consecutiveErrors (default 5), which counts the same answers too: "
        "lower it, or remove it",
    ),
    "cap below the sleep window": Mistake(
        {"spec.circuitBreaker.maxSleepWindow": "19s"},
        "spec.circuitBreaker.maxSleepWindow",
        "maxSleepWindow must not be shorter than sleepWindow (default 30s): raise it or lower sleepWindow",
    ),
    "cap below the default sleep window": Mistake(
        {"spec.circuitBreaker.maxSleepWindow": "29s", "spec.circuitBreaker.sleepWindow": GONE},
        "spec.circuitBreaker.maxSleepWindow",
        "maxSleepWindow must not be shorter than sleepWindow (default 30s): raise it or lower sleepWindow",
    ),
    "empty connection pool": Mistake(
        {"spec.connectionPool": {}},
        "spec.connectionPool",
        "connectionPool needs at least one of its fields: set one or remove connectionPool",
    ),
    "empty load balancing": Mistake(
        {"spec.loadBalancing": {}},
        "spec.loadBalancing",
        "loadBalancing needs policy, consistentHash, warmup or localityFailover: set one or remove loadBalancing",
    ),
    "hash beside a policy": Mistake(
        {"spec.loadBalancing": {"policy": "Random", "consistentHash": {"header": "x-session"}}},
        "spec.loadBalancing.policy",
        "policy has no effect with consistentHash: remove one of the two",
    ),
    "hash of two values": Mistake(
        {"spec.loadBalancing": {"consistentHash": {"header": "x-session", "queryParameter": "session"}}},
        "spec.loadBalancing.consistentHash",
        ONE_HASH,
    ),
    "hash of nothing": Mistake(
        {"spec.loadBalancing": {"consistentHash": {}}}, "spec.loadBalancing.consistentHash", ONE_HASH
    ),
    "warm-up of a random choice": Mistake(
        {"spec.loadBalancing.policy": "Random"},
        "spec.loadBalancing.warmup",
        "warmup works with policy LeastRequest or RoundRobin only: remove warmup, or change the policy",
    ),
    "region that stands in for itself": Mistake(
        {"spec.loadBalancing.localityFailover[0].to": "eu-west"},
        "spec.loadBalancing.localityFailover[0].to",
        "to must be another region than from: correct one of the two",
    ),
    "failover that nothing sets off": Mistake(
        {"spec.circuitBreaker": GONE},
        "spec.loadBalancing.localityFailover",
        "spec.loadBalancing.localityFailover needs spec.circuitBreaker, by which lost replicas are found: "
        "set circuitBreaker (an empty block has defaults), or remove localityFailover",
        "spec.loadBalancing",
    ),
    "burst below the rate": Mistake(
        {**_WHOLE, "spec.rateLimits": [{**_ALL, "burst": 99}]},
        "spec.rateLimits[0].burst",
        "burst must be at least requests, which are let through in one interval: raise burst or remove it",
    ),
    "limit of a part of a host": Mistake(
        {"spec.rateLimits": [_ALL]},
        "spec.rateLimits",
        "spec.rateLimits needs spec.pathPrefix /, since Envoy keeps one bucket for a whole host: remove one of the two",
    ),
    "two limits of all requests": Mistake(
        {**_WHOLE, "spec.rateLimits": [_ALL, {**_ALL, "name": "more"}]},
        "spec.rateLimits[1].keyHeader",
        ONE_KEY,
        "spec.rateLimits",
    ),
    "two limits of one key": Mistake(
        {
            **_WHOLE,
            "spec.rateLimits": [{**_ALL, "keyHeader": "x-key"}, {"name": "b", "requests": 1, "keyHeader": "X-Key"}],
        },
        "spec.rateLimits[1].keyHeader",
        ONE_KEY,
        "spec.rateLimits",
    ),
    "limits in the mesh": Mistake(
        {**_IN_MESH, **NOTHING_OF_GATEWAYS, "spec.rateLimits": [_ALL]}, "spec.rateLimits", GATEWAYS, "spec"
    ),
    "log in the mesh": Mistake(
        {**_IN_MESH, **NOTHING_OF_GATEWAYS, "spec.accessLog": "Requests"}, "spec.accessLog", GATEWAYS, "spec"
    ),
    "deadline in the mesh": Mistake(
        {**_IN_MESH, "spec.errorFormat": GONE, "spec.accessLog": GONE}, "spec.timeouts.deadlineHeader", GATEWAYS, "spec"
    ),
}
