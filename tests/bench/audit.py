"""The apiserver's audit log as a list of timed requests of one account, read a piece at a time.

Every figure counts or times requests with it: the server's own clock and the server's own count, the same for all that
are compared.  Times are seconds since the epoch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One finished request.  ``resource`` has its subresource behind a slash."""

    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    received: float
    finished: float


@dataclass
class Trail:
    """What one account does from now on; watches and leases are left out."""

    log: Path
    user: str
    _offset: int = field(init=False)

    def __post_init__(self) -> None:
        self._offset = self.log.stat().st_size

    def new(self) -> list[Request]:
        """Return the requests that finished since the last call."""
        return [request for request in self._lines() if request.verb != "watch" and request.resource != "leases"]

    def _lines(self) -> Iterator[Request]:
        mine = f'"username":"{self.user}"'.encode()
        with self.log.open("rb") as handle:
            handle.seek(self._offset)
            for line in handle:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                if mine in line:
                    yield _request(json.loads(line))


def _request(entry: dict[str, Any]) -> Request:
    target = entry.get("objectRef") or {}
    return Request(
        entry["verb"],
        "/".join(part for part in (target.get("resource", ""), target.get("subresource", "")) if part),
        target.get("namespace", ""),
        target.get("name", ""),
        entry["responseStatus"]["code"],
        datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp(),
        datetime.fromisoformat(entry["stageTimestamp"]).timestamp(),
    )


def is_write(request: Request) -> bool:
    """Return whether a request changes something."""
    return request.verb not in ("get", "list")
