"""The benchmark of the whole operator: ``python -m tests.bench.main`` inside the stack's namespace.

It prints a table for people and, as its last line, one JSON object with the figures.  It reports, and judges nothing:
a figure that could not be measured is missing in the JSON, with the error in the table.
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

from tests.bench.burst import Burst
from tests.bench.effective import Effective
from tests.bench.figure import Figure, Reading
from tests.bench.foreign import Foreign
from tests.bench.latency import Latency
from tests.bench.memory import Memory
from tests.bench.rest import Change, Idle, Restart
from tests.bench.site import Site, prepared
from tests.bench.sizes import FULL, QUICK, Sizes
from tests.stack import external
from tests.stack.errors import StackError
from tests.stack.namespace import is_inside
from tests.stack.stack import Stack

FIGURES: Mapping[str, Callable[[], Figure]] = {
    "idle": Idle,
    "restart": Restart,
    "change": Change,
    "latency": Latency,
    "burst": Burst,
    "memory": Memory,
    "foreign": Foreign,
    "effective": Effective,
}

console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)


@click.command()
@click.option("--quick", is_flag=True, help="Fewer objects and changes: a look in about two minutes.")
@click.option("--only", multiple=True, type=click.Choice(list(FIGURES)), help="Measure these alone; may be repeated.")
def main(quick: bool, only: tuple[str, ...]) -> None:
    """Measure the operator on the real stack: a table, then one line of JSON."""
    if external.is_chosen() or not is_inside():
        raise click.ClickException("runs on the stack alone: make bench-main")
    try:
        # The data plane joins for the one figure that needs it: the others are about the API server and the operator,
        # and istiod's own work on every change would only hide differences between the two sides.
        with Stack(["cluster"], lambda line: console.print(line, style="dim", markup=False)) as stack:
            run(stack, QUICK if quick else FULL, only or tuple(FIGURES))
    except StackError as error:
        raise click.ClickException(str(error)) from error


def run(stack: Stack, sizes: Sizes, names: Iterable[str]) -> None:
    """Measure figures one after the other on a running stack, and print them."""
    site = prepared(stack, sizes)
    table = Table("figure", "measured", "reach", "", "what stands behind it", title="bench main")
    found: dict[str, float] = {}
    try:
        for name in names:
            figure, began = FIGURES[name](), time.monotonic()
            reading = _measured(figure, site)
            console.print(f"{name}: {time.monotonic() - began:.0f} s", style="dim")
            for value in figure.reach:
                table.add_row(*_row(value, figure.reach[value], reading))
            found |= reading.values
    finally:
        site.leave()
    console.print(table)
    print(json.dumps({"bench": "main", "figures": {name: round(value, 3) for name, value in found.items()}}))


def _measured(figure: Figure, site: Site) -> Reading:
    try:
        figure.setup(site)
        return figure.measure(site)
    except Exception as error:  # noqa: BLE001 (a figure that cannot be measured must not cost the others)
        console.print(traceback.format_exc(), style="dim", markup=False)
        return Reading({}, dict.fromkeys(figure.reach, f"not measured: {str(error)[:200]}"))


def _row(name: str, reach: float, reading: Reading) -> tuple[str, ...]:
    note = reading.notes.get(name, "")
    if name not in reading.values:
        return name, "-", f"{reach:g}", "✗", note
    value = reading.values[name]
    return name, f"{value:.2f}".rstrip("0").rstrip("."), f"≤ {reach:g}", "✓" if value <= reach else "✗", note


if __name__ == "__main__":
    main()
