"""How long a changed policy waits for its VirtualService, beside the bare client's, by the API server's own clock."""

from __future__ import annotations

import statistics
from typing import ClassVar

from tests.bench import load, objects
from tests.bench.figure import Reading
from tests.bench.load import USER
from tests.bench.site import BARE_USER, OPERATOR_USER, Site
from tests.stack.waiting import eventually

_STRIDE = 7
"""Coprime to the number of policies, so that consecutive changes are in different namespaces."""


class Latency:
    """Accepted → VirtualService written, many policies present, one change at a time.

    Both sides run, each over policies of its own, and changes go to them by turns: whatever else the machine does
    meanwhile is the same for both.
    """

    reach: ClassVar[dict[str, float]] = {"latency_p50_ratio": 2.0, "latency_p99_ratio": 3.0}

    def setup(self, site: Site) -> None:
        """Have the policies standing."""
        site.namespaces(*objects.FLOOR_NAMESPACES)
        site.stand(site.sizes.policies)

    def measure(self, site: Site) -> Reading:
        """Change policies of both; of each side's percentiles the medians over the rounds are compared."""
        with site.operator(objects.NAMESPACES) as running:
            site.wait_programmed(site.sizes.policies)
            site.settle(running)
            site.take_template()
            rounds = self._rounds(site)
        site.clear()
        columns = [statistics.median(column) for column in zip(*rounds, strict=True)]
        (p50, p99), (floor_p50, floor_p99) = columns[:2], columns[2:]
        notes = (_beside(p50, floor_p50), _beside(p99, floor_p99))
        values = (p50 / floor_p50, p99 / floor_p99)
        return Reading(dict(zip(self.reach, values, strict=True)), dict(zip(self.reach, notes, strict=True)))

    def _rounds(self, site: Site) -> list[tuple[float, float, float, float]]:
        numbers = range(site.sizes.policies)
        with site.bare(objects.FLOOR_NAMESPACES):
            writes = _Writes(site)
            site.load.send(load.create(objects.policy(*objects.floor_spot(number))) for number in numbers)
            eventually(lambda: all(writes.told(objects.floor_spot(number)) for number in numbers), within=120)
            return [_round(site, count) for count in range(site.sizes.rounds)]


def _beside(ours: float, floor: float) -> str:
    return f"{ours * 1e3:.1f} ms beside {floor * 1e3:.1f} ms"


def _round(site: Site, count: int) -> tuple[float, float, float, float]:
    """Return median and 99th percentile of the operator, then of the bare client, in seconds."""
    changes = site.sizes.latency_changes
    numbers = [(count * changes + number) * _STRIDE % site.sizes.policies for number in range(changes)]
    turns = [spot(number) for number in numbers for spot in (objects.spot, objects.floor_spot)]
    accepted, writes = site.trail(USER), _Writes(site)
    site.load.in_turn([_change(turn, 20 + count) for turn in turns], lambda number: writes.told(turns[number]))
    sides: dict[bool, list[float]] = {True: [], False: []}
    for change in accepted.new():
        if change.resource == "aigatewaypolicies":
            wait = writes.routed[change.namespace, f"{change.name}-gateway"] - change.finished
            sides[change.namespace in objects.NAMESPACES].append(wait)
    return (*_percentiles(sides[True]), *_percentiles(sides[False]))


class _Writes:
    """When either side wrote what, at first."""

    def __init__(self, site: Site) -> None:
        self._trails = [site.trail(user) for user in (OPERATOR_USER, BARE_USER)]
        self._statuses: set[tuple[str, str]] = set()
        self.routed: dict[tuple[str, str], float] = {}

    def told(self, spot: tuple[str, str]) -> bool:
        """Whether a policy's status was written: with it, all that a change asks for is done."""
        for one in (request for trail in self._trails for request in trail.new()):
            if one.resource == "virtualservices" and one.verb == "patch":
                self.routed.setdefault((one.namespace, one.name), one.finished)
            elif one.resource == "aigatewaypolicies/status":
                self._statuses.add((one.namespace, one.name))
        return spot in self._statuses


def _change(spot: tuple[str, str], weight: int) -> load.Call:
    namespace, name = spot
    return load.patch("AIGatewayPolicy", namespace, name, {"spec": {"backends": objects.backends(name, weight)}})


def _percentiles(times: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return cuts[49], cuts[98]
