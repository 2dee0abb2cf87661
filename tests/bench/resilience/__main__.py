"""The benchmark of policies on failing models: ``python -m tests.bench.resilience`` inside the stack's namespace.

It prints a table for people and, as its last line, one JSON object with the figures.  It reports, and fails no run: a
figure that could not be measured is null in the JSON, with the reason in the table.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping

import click
from rich.console import Console
from rich.table import Table

from tests.bench.resilience.flaky import Flaky
from tests.bench.resilience.latency import Latency
from tests.bench.resilience.outage import Outage
from tests.bench.resilience.place import Place, prepared
from tests.bench.resilience.posts import Posts
from tests.bench.resilience.reading import Figure, Reading, Target
from tests.bench.resilience.sizes import FULL, QUICK, Sizes
from tests.stack import external
from tests.stack.errors import StackError
from tests.stack.namespace import is_inside
from tests.stack.stack import Stack

FIGURES: Mapping[str, Callable[[], Figure]] = {
    "outage": Outage,
    "flaky": Flaky,
    "latency": Latency,
    "posts": Posts,
}

console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)


@click.command()
@click.option("--quick", is_flag=True, help="Shorter outages and fewer requests: a look in about two minutes.")
@click.option("--only", multiple=True, type=click.Choice(list(FIGURES)), help="Measure these alone; may be repeated.")
def main(quick: bool, only: tuple[str, ...]) -> None:
    """Measure what policies do while models fail: a table, then one line of JSON."""
    if external.is_chosen() or not is_inside():
        raise click.ClickException("runs on the stack alone: make bench-resilience")
    try:
        with Stack(["cluster", "routing"], lambda line: console.print(line, style="dim", markup=False)) as stack:
            run(stack, QUICK if quick else FULL, only or tuple(FIGURES))
    except StackError as error:
        raise click.ClickException(str(error)) from error


def run(stack: Stack, sizes: Sizes, names: Iterable[str]) -> None:
    """Measure figures one after the other on a running stack, and print them."""
    table = Table("figure", "measured", "target", "", "what stands behind it", title="bench resilience")
    found: dict[str, float | None] = {}
    with prepared(stack, sizes) as place:
        for name in names:
            figure, began = FIGURES[name](), time.monotonic()
            reading = _measured(figure, place)
            console.print(f"{name}: {time.monotonic() - began:.0f} s", style="dim")
            for value, target in figure.targets.items():
                table.add_row(*_row(value, target, reading))
                found[value] = reading.values.get(value)
    console.print(table)
    figures = {name: None if value is None else round(value, 4) for name, value in found.items()}
    print(json.dumps({"bench": "resilience", "figures": figures}))


def _measured(figure: Figure, place: Place) -> Reading:
    try:
        return figure.measure(place)
    except Exception as error:  # noqa: BLE001 (a figure that cannot be measured must not cost the others)
        console.print(traceback.format_exc(), style="dim", markup=False)
        reason = getattr(error, "body", None) or str(error)  # what the apiserver says, without its headers
        return Reading({}, dict.fromkeys(figure.targets, f"not measured: {str(reason)[:300]}"))


def _row(name: str, target: Target | None, reading: Reading) -> tuple[str, ...]:
    value, note = reading.values.get(name), reading.notes.get(name, "")
    shown = "-" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")
    if target is None:
        return name, shown, "", "", note
    return name, shown, str(target), "✓" if value is not None and target.is_met(value) else "✗", note


if __name__ == "__main__":
    main()
