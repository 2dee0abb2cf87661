"""Tables and headings as every command prints them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from aigateway.cli.views.common import ConditionView

COLOURS = {"True": "green", "False": "red", "Unknown": "yellow"}


def heading(text: str) -> Text:
    """Return the title of a part."""
    return Text(text, style="bold")


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], indent: int = 2) -> Padding:
    """Return aligned columns without lines; the last one takes what is left of the width."""
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=any(columns))
    for number, column in enumerate(columns):
        last = number == len(columns) - 1
        found.add_column(column, no_wrap=not last, overflow="fold")
    for row in rows:
        found.add_row(*row)
    return Padding(found, (0, 0, 0, indent))


def condition_table(conditions: Iterable[ConditionView], *, since: bool) -> Padding:
    """Return the conditions, either with their age or with what they were before."""
    columns = ("CONDITION", "STATUS", "REASON", "SINCE" if since else "BEFORE", "MESSAGE")
    return table(columns, _condition_rows(conditions, since=since))


def _condition_rows(conditions: Iterable[ConditionView], *, since: bool) -> Iterator[tuple[str | Text, ...]]:
    for item in conditions:
        status = Text(item.status, style=COLOURS.get(item.status, ""))
        before = "" if item.before is None else item.before or "-"
        yield item.type, status, item.reason, item.since if since else before, item.message
