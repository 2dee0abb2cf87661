"""Policies as a table with a line for each backend below, and as single lines for who follows a log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.console import RenderableType
from rich.text import Text

from aigateway.cli.printers.common import COLOURS, table
from aigateway.cli.views.status import BackendLine, PolicyLine, StatusView

_COLUMNS = ("NAME", "READY", "REASON", "WEIGHTS", "REPLICAS", "SCALING", "AGE")
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_AT_LEAST = 2
"""An age has the largest unit of which there are so many: 90m rather than 1h."""

Row = tuple[str | Text, ...]


def renderables(view: StatusView, now: float, *, namespaces: bool) -> Iterator[RenderableType]:
    """Yield the table, and below it the messages of what is not ready; ``now`` is in seconds since the epoch."""
    columns = ("NAMESPACE", *_COLUMNS) if namespaces else _COLUMNS
    yield table(columns, _rows(view, now, namespaces=namespaces), indent=0)
    for policy in view.policies:
        if policy.ready != "True":
            yield Text(f"{policy.namespace}/{policy.name}: {policy.message}", style=COLOURS.get(policy.ready, ""))


def line(policy: PolicyLine, at: str) -> str:
    """Return one policy on one line, with the time at which it was seen."""
    parts = (
        at,
        f"{policy.namespace}/{policy.name}",
        policy.ready,
        policy.reason,
        policy.weights,
        policy.replicas,
        policy.scaling,
    )
    return "  ".join(part or "-" for part in parts)


def age(created: str, now: float) -> str:
    """Return the time since an RFC 3339 timestamp, in one unit; ``-`` where there is none."""
    try:
        seconds = int(now - datetime.fromisoformat(created).timestamp())
    except ValueError:
        return "-"
    return next(
        (f"{seconds // size}{unit}" for unit, size in _UNITS if seconds >= _AT_LEAST * size), f"{max(0, seconds)}s"
    )


def _rows(view: StatusView, now: float, *, namespaces: bool) -> Iterator[Row]:
    for policy in view.policies:
        first: Row = (policy.namespace,) if namespaces else ()
        yield (*first, *_policy(policy, now))
        for backend in policy.backends:
            yield (*("" for _ in first), *_backend(backend))


def _policy(policy: PolicyLine, now: float) -> Row:
    return (
        policy.name,
        Text(policy.ready, style=COLOURS.get(policy.ready, "")),
        policy.reason,
        policy.weights or "-",
        policy.replicas or "-",
        Text(policy.scaling or "-", style=COLOURS.get(policy.scaling_ready, "")),
        age(policy.created, now),
    )


def _backend(backend: BackendLine) -> Row:
    available = {True: "up", False: "down", None: "-"}[backend.available]
    weight = "-" if backend.weight is None else f"{backend.weight} %"
    return (f"  {backend.name}", available, backend.reason, weight, backend.replicas, backend.scaling, "")
