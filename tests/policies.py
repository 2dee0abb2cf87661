"""A valid policy as a user would write it, and a short way to change it."""

from __future__ import annotations

import copy
import re
from typing import Any

Raw = dict[str, Any]
GONE = object()
"""As the value of a change: the member is removed."""


def valid() -> Raw:
    """Return a valid policy that uses every part of the API, but for what excludes another part."""
    return copy.deepcopy(_VALID)


def change(raw: Raw, changes: Raw) -> Raw:
    """Set each path, such as ``spec.backends[1].weight``, in ``raw`` to its value and return ``raw``."""
    for path, value in changes.items():
        *parents, last = (int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", path))
        target: Any = raw
        for step in parents:
            target = target[step]
        if value is GONE:
            del target[last]
        elif isinstance(target, list) and last == len(target):
            target.append(value)
        else:
            target[last] = value
    return raw


def largest() -> Raw:
    """Return a policy at every upper bound at once: as many of everything, as long as can be (about 800 kB)."""
    header = {"exact": "v" * 256}
    headers = [{"name": f"{index}".rjust(64, "h"), **header} for index in range(8)]
    match = {"headers": headers, "method": "POST", "pathPrefix": "/" + "p" * 255}
    names = [f"{index}".rjust(40, "b") for index in range(8)]
    rules = _VALID["spec"]["autoscaling"]["rules"]
    own = {"minReplicas": 10_000, "maxReplicas": 10_000, "rules": rules}
    backends = [
        {
            "name": name,
            "service": {"name": name.rjust(63, "s"), "port": 65_535},
            "scaleTargetRef": {"kind": "StatefulSet", "name": name.rjust(253, "w")},
            "weight": 12 if index % 2 else 13,
            "autoscaling": own,
        }
        for index, name in enumerate(names)
    ]
    routes = [{"name": f"{index}".rjust(63, "r"), "matches": [match] * 8, "backend": names[-1]} for index in range(32)]
    wide = {
        "metadata.name": "m" * 40,
        "spec.hosts": [f"{'h' * 61}{index:02}.{'.'.join(['d' * 61] * 3)}.de" for index in range(16)],
        "spec.pathPrefix": "/" + "p" * 255,
        "spec.gateways": [f"{'n' * 63}/{index}{'g' * 252}" for index in range(4)],
        "spec.backends": backends,
        "spec.routes": routes,
        "spec.retries.statusCodes": [408, 409, 425, 429, 500, 502, 503, 504],
    }
    return change(valid(), wide)


_VALID: Raw = {
    "apiVersion": "aigateway.dev/v1alpha1",
    "kind": "AIGatewayPolicy",
    "metadata": {"name": "chat", "namespace": "models"},
    "spec": {
        "suspend": False,
        "hosts": ["ai-gateway.example.com"],
        "pathPrefix": "/v1",
        "gateways": ["istio-system/ai-gateway"],
        "backends": [
            {"name": "v1", "service": {"name": "chat-v1", "port": 80}, "weight": 80},
            {
                "name": "v2",
                "service": {"name": "chat-v2"},
                "scaleTargetRef": {"kind": "StatefulSet", "name": "chat-two"},
                "weight": 20,
                "autoscaling": {"minReplicas": 2},
            },
        ],
        "routes": [
            {
                "name": "pin-v2",
                "matches": [{"headers": [{"name": "x-model-version", "exact": "v2"}], "method": "POST"}],
                "backend": "v2",
            },
            {"name": "models", "matches": [{"pathPrefix": "/v1/models"}]},
        ],
        "timeouts": {"request": "60s", "perTry": "10s", "idle": "5m", "deadlineHeader": "X-Request-Deadline"},
        "retries": {
            "attempts": 3,
            "conditions": ["ConnectFailure", "Reset"],
            "statusCodes": [429, 503],
            "backoff": {"strategy": "Exponential", "jitter": "Full", "initial": "200ms", "max": "1s"},
            "retryAfter": {"max": "20s"},
            "idempotency": {"methods": ["GET", "PUT"], "header": "Idempotency-Key"},
            "nonIdempotent": "NotProcessedOnly",
            "budget": {"percent": 25, "minConcurrency": 5},
            "bufferLimit": "16Mi",
            "hedgeOnPerTryTimeout": True,
            "adaptive": {"latencyAbove": "500ms", "failurePercent": 50},
        },
        "circuitBreaker": {
            "consecutiveErrors": 6,
            "consecutiveGatewayErrors": 4,
            "consecutiveConnectFailures": 2,
            "failurePercent": 40,
            "minRequests": 30,
            "interval": "5s",
            "sleepWindow": "20s",
            "maxSleepWindow": "1m",
            "maxEjectionPercent": 60,
        },
        "connectionPool": {
            "maxOpen": 50,
            "maxIdle": 10,
            "maxPending": 10,
            "maxRequests": 100,
            "maxLifetime": "1h",
            "connectTimeout": "1s",
            "keepAlive": "30s",
        },
        "loadBalancing": {
            "policy": "RoundRobin",
            "warmup": "2m",
            "localityFailover": [{"from": "eu-west", "to": "eu-north"}],
        },
        "errorFormat": "JSON",
        "accessLog": "Attempts",
        "autoscaling": {
            "minReplicas": 1,
            "maxReplicas": 20,
            "rules": [
                {"type": "RequestRate", "requestRate": {"targetPerReplica": 50}},
                {"type": "Latency", "latency": {"percentile": 95, "threshold": "200ms"}},
                {"type": "QueueLength", "queueLength": {"total": 1000}},
                {"type": "CPU", "cpu": {"utilizationPercent": 70}},
            ],
            "scaleUp": {"maxAddReplicas": 2, "period": "60s"},
            "scaleDown": {"stabilization": "10m"},
        },
    },
}
