"""What objects in namespaces without a policy cost: memory for their presence, CPU for their changes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import ClassVar

from tests.bench import load, objects, procfs
from tests.bench.figure import Reading
from tests.bench.rest import put_into_effect
from tests.bench.site import Site
from tests.integration.operator_process import OperatorProcess
from tests.stack.models import deployment

_NAMESPACES = tuple(f"foreign-{letter}" for letter in "abcdefghij")


class Foreign:
    """A fresh operator each turn; memory is compared with and without the objects, CPU with and without changes.

    Turns without the objects come first: making and removing thousands of them each time would take the longest.
    """

    reach: ClassVar[dict[str, float]] = {"foreign_rss_mb": 5.0, "foreign_cpu_percent": 2.0}

    def setup(self, site: Site) -> None:
        """Have the policies standing and in effect."""
        put_into_effect(site)

    def measure(self, site: Site) -> Reading:
        """Compare the medians."""
        rounds, seconds = range(site.sizes.rounds), site.sizes.foreign_seconds
        without = [self._turn(site, lambda: time.sleep(seconds))[0] for _ in rounds]
        site.namespaces(*_NAMESPACES)
        site.load.send(map(load.create, _foreigners(site)))
        turns = [self._turn(site, lambda: site.load.pace(_changes(site), site.sizes.foreign_rate)) for _ in rounds]
        among = [turn[0] for turn in turns]
        extra = statistics.median(turn[2] for turn in turns) - statistics.median(turn[1] for turn in turns)
        values = {
            "foreign_rss_mb": statistics.median(among) - statistics.median(without),
            "foreign_cpu_percent": extra,
        }
        notes = {
            "foreign_rss_mb": f"{statistics.median(among):.1f} MB beside {statistics.median(without):.1f} MB",
            "foreign_cpu_percent": f"{site.sizes.foreign_rate:.0f} changes a second beside none",
        }
        return Reading(values, notes)

    def _turn(self, site: Site, act: Callable[[], None]) -> tuple[float, float, float]:
        """Return memory after, and the CPU in percent of a core while nothing happens and during ``act``."""
        with site.operator() as running:
            site.settle(running)
            still = _cpu_percent(running, lambda: time.sleep(site.sizes.foreign_seconds))
            busy = _cpu_percent(running, act)
            return procfs.rss_mb(running.pid), still, busy


def _cpu_percent(running: OperatorProcess, act: Callable[[], None]) -> float:
    used, began = procfs.cpu_seconds(running.pid), time.monotonic()
    act()
    return (procfs.cpu_seconds(running.pid) - used) / (time.monotonic() - began) * 100


def _place(number: int) -> tuple[str, str]:
    return _NAMESPACES[number % len(_NAMESPACES)], f"foreign-{number:05}"


def _foreigners(site: Site) -> list[dict[str, object]]:
    slices = [objects.endpoint_slice(*_place(number)) for number in range(site.sizes.foreign_slices)]
    return slices + [deployment(*_place(number), 0) for number in range(site.sizes.foreign_deployments)]


def _changes(site: Site) -> list[load.Call]:
    """Return changes of endpoints for one turn, each to addresses that the slice did not have."""
    now = int(time.time())
    calls = []
    for number in range(int(site.sizes.foreign_rate * site.sizes.foreign_seconds)):
        namespace, name = _place(number % site.sizes.foreign_slices)
        address = f"10.{now >> 8 & 255}.{now & 255}.{number % 250}"
        calls.append(load.patch("EndpointSlice", namespace, name, {"endpoints": [{"addresses": [address]}]}))
    return calls
