"""Lines as gateways log them of policies' requests, for tests of what reads them; times are offsets from one time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

Line = dict[str, Any]

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"
OTHERS = (
    "[2026-03-01 12:00:00.000][19][warning][main] [source/server/server.cc:1059] There is no configured limit",
    '[2026-03-01T12:00:00.100Z] "GET / HTTP/1.1" 503 UO upstream_reset_before_response_started{overflow} - "-"',
    '{"kind":"request","apiVersion":"v1","metadata":{}}',
    '["kind", "request"]',
    '"kind":"request"'[1:],
    "",
)
"""What is in the same log and is not about policies' requests."""


def at(milliseconds: int) -> str:
    """Return a time as gateways write it."""
    return (BEGIN + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def request(request_id: str, began: int, duration: int, status: int = 200, retries: int = 0, **more: Any) -> Line:
    """Return the line of a request."""
    return {
        "backend": "outbound|80||v1.models.svc.cluster.local",
        "kind": "request",
        "method": "POST",
        "path": "/v1/chat",
        **_common(request_id, began, duration, status),
        "retry_count": retries,
        **more,
    }


def attempt(request_id: str, number: int, began: int, duration: int, status: int = 200, **more: Any) -> Line:
    """Return the line of an attempt."""
    return {
        "attempt": number,
        "end": at(began + duration),
        "host": f"10.244.0.{number}:9080",
        "kind": "attempt",
        **_common(request_id, began, duration, status),
        "retry_count": number - 1,
        **more,
    }


def as_log(*lines: Line | str) -> str:
    """Return a log; what is a text already stands in it as it is."""
    texts = (
        line if isinstance(line, str) else json.dumps(line, sort_keys=True, separators=(",", ":")) for line in lines
    )
    return "".join(f"{text}\n" for text in texts)


def _common(request_id: str, began: int, duration: int, status: int) -> Line:
    return {
        "duration_ms": duration,
        "error_type": {503: "unavailable", 504: "gateway_timeout", 0: "gateway_error"}.get(status),
        "flags": "-",
        "policy": "models/chat",
        "request_id": request_id,
        "route": "models/chat",
        "status": status,
        "time": at(began),
        "trace_id": TRACE,
    }
