"""Read what gateways log of policies' requests, among all the other lines of the same log.

:mod:`aigateway.cli.retries` reads with it.  What the lines are is written in
:mod:`aigateway.core.gateway.gateway_filter`; here any of their fields may be missing or odd, since logs are cut,
rotated, and filled by clients: a line of a fixed length at most is taken from them, and no text is longer than needed
or holds what a terminal would act on.  It must not know which lines belong together.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from aigateway.api.classification import error_type, gateway_error

_LONGEST_LINE = 1 << 20
_LONGEST_TEXT = 500
_MARK = re.compile(r'"kind":\s*"(?:request|attempt)"')
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the lines of requests and of attempts have in common; None: it is not there, or no value of its kind.

    ``time`` is when it began, as written, and ``began`` the same in milliseconds since the epoch.
    """

    time: str | None
    began: int | None
    policy: str
    route: str | None
    request_id: str | None
    trace_id: str | None
    status: int | None
    error_type: str | None
    duration_ms: int | None
    retry_count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLine(Line):
    """A request that has ended."""

    method: str | None
    path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLine(Line):
    """An attempt that has ended; ``ended`` is in milliseconds since the epoch, ``attempt`` counts from 1."""

    attempt: int | None
    host: str | None
    ended: int | None


class DamagedLineError(Exception):
    """A line is of a policy's request, and cannot be read."""


class Reader:
    """Reads files line by line, and counts what it reads, passes over, and cannot read."""

    def __init__(self) -> None:
        self.read = 0
        self.others = 0
        self.damaged = 0

    def lines(self, files: Iterable[IO[str]]) -> Iterator[RequestLine | AttemptLine]:
        """Yield what is about policies' requests; Ctrl-C ends the input, as it ends a log that is followed."""
        try:
            for file in files:
                for text in _texts(file):
                    self.read += 1
                    line = self._parsed(text)
                    if line is not None:
                        yield line
        except KeyboardInterrupt:
            return

    def _parsed(self, text: str) -> RequestLine | AttemptLine | None:
        try:
            line = parse(text)
        except DamagedLineError:
            self.damaged += 1
            return None
        self.others += line is None
        return line


def _texts(file: IO[str]) -> Iterator[str]:
    """Yield each line, of one that is too long only its beginning."""
    while text := file.readline(_LONGEST_LINE):
        rest = text
        while not rest.endswith("\n") and (rest := file.readline(_LONGEST_LINE)):
            pass
        yield text


def parse(text: str) -> RequestLine | AttemptLine | None:
    """Return what a line of the log says; None where it is not about a policy's request.

    A prefix, such as ``kubectl logs --prefix`` and ``--timestamps`` make, is passed over.

    Raises:
        DamagedLineError: it is, but is cut or mixed with another.
    """
    if not _MARK.search(text):
        return None
    try:
        found = json.loads(text[text.find("{") :])
    except (ValueError, RecursionError) as error:
        raise DamagedLineError from error
    if not isinstance(found, dict) or not isinstance(found.get("policy"), str):
        return None
    if found.get("kind") == "request":
        return RequestLine(**_common(found), method=_text(found, "method"), path=_text(found, "path"))
    if found.get("kind") == "attempt":
        number, ended = _number(found, "attempt"), _milliseconds(_text(found, "end"))
        return AttemptLine(**_common(found), attempt=number, host=_text(found, "host"), ended=ended)
    return None


def _common(found: Mapping[str, Any]) -> dict[str, Any]:
    time = _text(found, "time")
    return {
        "time": time,
        "began": _milliseconds(time),
        "policy": sys.intern(_text(found, "policy") or ""),
        "route": _text(found, "route"),
        "request_id": _text(found, "request_id"),
        "trace_id": _text(found, "trace_id"),
        "status": _number(found, "status"),
        "error_type": _text(found, "error_type") or _derived(found),
        "duration_ms": _number(found, "duration_ms"),
        "retry_count": _number(found, "retry_count"),
    }


def _derived(found: Mapping[str, Any]) -> str | None:
    """Return what the gateway would have called the failure; a status that is not known is no failure by itself."""
    status, flags = _number(found, "status"), frozenset((_text(found, "flags") or "").split(","))
    if status is not None:
        return error_type(status, flags)
    made = gateway_error(flags)
    return made.type if made else None


def _text(found: Mapping[str, Any], name: str) -> str | None:
    """Return a text that can be held and printed; ``-`` is how Envoy writes that there is none."""
    value = found.get(name)
    if not isinstance(value, str) or value in {"", "-"}:
        return None
    value = value if len(value) <= _LONGEST_TEXT else value[:_LONGEST_TEXT] + "…"
    return value if value.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in value)


def _number(found: Mapping[str, Any], name: str) -> int | None:
    value = found.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def _milliseconds(time: str | None) -> int | None:
    if time is None:
        return None
    try:
        at = datetime.fromisoformat(time)
        return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None
