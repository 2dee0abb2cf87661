"""Requests with a line for each attempt below, and the counts of routes as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from aigateway.cli.printers.common import heading, table
from aigateway.cli.views.retries import AttemptView, Logged, RequestView
from aigateway.cli.views.retry_summary import RouteSummary, SummaryView

_ATTEMPT_COLUMNS = ("ATTEMPT", "HOST", "STATUS", "ERROR", "BACKOFF", "DURATION")
_SUMMARY_COLUMNS = (
    "ROUTE",
    "REQUESTS",
    "RETRIED",
    "SUCCEEDED",
    "ATTEMPTS",
    "BACKOFF",
    "95 %",
    "FAILED ATTEMPTS",
    "FAILED REQUESTS",
)
_NO_ATTEMPTS = "no line of any attempt: the gateway made none, or accessLog is Requests"
_MISSING = "no line: the log is not whole"

Row = tuple[str, ...]


def request_text(view: RequestView) -> Text:
    """Return a request, where it belongs, and its attempts.

    It is aligned here and not by rich, whose tables take several times as long: a log has many requests.
    """
    places = (("policy", view.policy), ("route", view.route), ("trace", view.trace_id), ("request", view.request_id))
    lines = [_heading(view), Text("  " + ", ".join(f"{name} {value or '-'}" for name, value in places))]
    if not view.attempts:
        return Text("\n").join([*lines, Text(f"  {_NO_ATTEMPTS}")])
    rows = [_ATTEMPT_COLUMNS, *map(_attempt, view.attempts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines.append(Text(_aligned(rows[0], widths), style="dim"))
    numbered = [
        (attempt.attempt or 0, _aligned(row, widths)) for attempt, row in zip(view.attempts, rows[1:], strict=True)
    ]
    numbered += [(number, _aligned((str(number), _MISSING), widths)) for number in view.missing_attempts]
    return Text("\n").join([*lines, *(Text(line) for _, line in sorted(numbered, key=lambda item: item[0]))])


def summary_table(view: SummaryView) -> RenderableType:
    """Return the routes; of those that were retried, the column SUCCEEDED counts what was no failure in the end."""
    return table(_SUMMARY_COLUMNS, (_summary_row(route) for route in view.routes), indent=0)


def _heading(view: RequestView) -> Text:
    if view.logged is Logged.ATTEMPTS:
        return heading(f"{view.time or '-'} no line of the request: it goes on, or the log is not whole")
    result = Text(_result(view.status, view.error_type), style="red" if view.failed else "green")
    retries = "1 retry" if view.retry_count == 1 else f"{_shown(view.retry_count)} retries"
    head = f"{view.time or '-'} {view.method or '-'} {view.path or '-'}: "
    return Text.assemble((head, "bold"), result, f", {retries}, {_ms(view.duration_ms)}")


def _result(status: int | None, error_type: str | None) -> str:
    return f"{_shown(status)} {error_type}" if error_type else _shown(status)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()


def _attempt(attempt: AttemptView) -> Row:
    return (
        _shown(attempt.attempt),
        attempt.host or "-",
        _shown(attempt.status),
        attempt.error_type or "-",
        _ms(attempt.backoff_delay),
        _ms(attempt.duration_ms),
    )


def _summary_row(route: RouteSummary) -> Row:
    return (
        route.route or route.policy,
        str(route.requests),
        str(route.retried),
        str(route.succeeded_after_retry),
        _shown(route.attempts_per_request),
        _ms(route.backoff_delay_median),
        _ms(route.backoff_delay_p95),
        _counts(route.attempt_error_types),
        _counts(route.error_types),
    )


def _counts(errors: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in errors.items()) or "-"


def _ms(value: int | None) -> str:
    return "-" if value is None else f"{value} ms"


def _shown(value: float | None) -> str:
    return "-" if value is None else str(value)
