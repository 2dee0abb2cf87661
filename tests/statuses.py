"""A status with every field that there is, as the operator would write it."""

from __future__ import annotations

from typing import Any

FULL: dict[str, Any] = {
    "observedGeneration": 7,
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "observedGeneration": 7,
            "lastTransitionTime": "2026-11-23T19:00:00Z",
            "reason": "Ready",
            "message": "The policy is accepted, resolved and programmed.",
        }
    ],
    "weights": "v1=80,v2=20",
    "replicas": "v1=4/4,v2=1/2",
    "backends": [
        {
            "name": "v1",
            "service": "chat-v1",
            "port": 80,
            "weight": 80,
            "available": True,
            "reason": "AsSpecified",
        }
    ],
    "effective": {
        "hosts": ["ai-gateway.example.com"],
        "gateways": ["istio-system/ai-gateway"],
        "attempts": 2,
        "retryOn": "connect-failure,refused-stream,reset-before-request",
        "requestTimeout": "1m",
        "perTryTimeout": "10s",
        "scaling": [
            {"backend": "v1", "minReplicas": 1, "maxReplicas": 20, "triggers": ["50 requests/s for each replica"]}
        ],
    },
    "retries": {
        "asked": 3,
        "level": 2,
        "since": "2026-11-23T19:00:00Z",
        "sampledAt": "2026-11-23T18:59:58Z",
        "reason": "LatencyHigh",
        "message": "the P99 of v1 is 812ms, the bound is 500ms",
        "inputs": [
            {
                "backend": "v1",
                "metric": "LatencyP99",
                "value": "812ms",
                "threshold": "500ms",
                "age": "2s",
                "verdict": "Slow",
            }
        ],
    },
    "history": [
        {
            "time": "2026-11-23T19:00:00Z",
            "what": "retries.attempts",
            "from": "3",
            "to": "2",
            "reason": "LatencyHigh",
            "why": "the P99 of v1 is 812ms, the bound is 500ms",
        }
    ],
    "skipped": [{"field": "spec.connectionPool.maxOpen", "reason": "NotSupported", "message": "Not in this Istio."}],
    "children": [{"kind": "VirtualService", "name": "chat"}],
}
