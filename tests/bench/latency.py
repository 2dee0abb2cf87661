"""How long a changed policy waits for its VirtualService, beside the bare client's, by the API server's own clock."""

from __future__ import annotations

import statistics
from typing import ClassVar

from tests.bench import load, objects
from tests.bench.audit import Request
from tests.bench.figure import Reading
from tests.bench.load import USER
from tests.bench.site import BARE_USER, OPERATOR_USER, Site
from tests.stack.waiting import eventually

_STRIDE = 7
"""Coprime to the number of policies, so that consecutive changes are in different namespaces."""


class Latency:
    """Accepted → VirtualService written, many policies present, one change at a time."""

    reach: ClassVar[dict[str, float]] = {"latency_p50_ratio": 2.0, "latency_p99_ratio": 3.0}

    def __init__(self) -> None:
        self._turn = 0

    def setup(self, site: Site) -> None:
        """Have the policies standing and in effect, and the bare client know what to write."""
        site.stand(site.sizes.policies)
        with site.operator() as running:
            site.wait_programmed(site.sizes.policies)
            site.settle(running)
        site.take_template()

    def measure(self, site: Site) -> Reading:
        """Let both take turns; of each side's percentiles the medians are compared."""
        ours, theirs = [], []
        for _ in range(site.sizes.rounds):
            with site.operator() as running:
                site.settle(running)
                ours.append(self._percentiles(site, OPERATOR_USER))
                site.settle(running)
            with site.bare():
                theirs.append(self._percentiles(site, BARE_USER))
        mine, floor = _medians(ours), _medians(theirs)
        ratios = (mine[0] / floor[0], mine[1] / floor[1])
        notes = [f"{a * 1e3:.1f} ms beside {b * 1e3:.1f} ms" for a, b in zip(mine, floor, strict=True)]
        return Reading(
            dict(zip(self.reach, ratios, strict=True)),
            dict(zip(self.reach, notes, strict=True)),
        )

    def _percentiles(self, site: Site, user: str) -> tuple[float, float]:
        """Return the median and the 99th percentile of one turn, in seconds."""
        accepted, written = site.trail(USER), site.trail(user)
        numbers = [(number * _STRIDE) % site.sizes.policies for number in range(site.sizes.latency_changes)]
        self._turn += 1
        site.load.pace([_change(number, 20 + self._turn) for number in numbers], site.sizes.latency_rate)
        routes: list[Request] = []

        def complete() -> bool:
            routes.extend(one for one in written.new() if one.resource == "virtualservices" and one.verb == "patch")
            return len({one.name for one in routes}) >= len(set(numbers))

        eventually(complete, "every change is written")
        times = _waits([one for one in accepted.new() if one.resource == "aigatewaypolicies"], routes)
        cuts = statistics.quantiles(times, n=100, method="inclusive")
        return cuts[49], cuts[98]


def _change(number: int, weight: int) -> load.Call:
    namespace, name = objects.spot(number)
    return load.patch("AIGatewayPolicy", namespace, name, {"spec": {"backends": objects.backends(name, weight)}})


def _waits(accepted: list[Request], written: list[Request]) -> list[float]:
    """Return for each accepted change the time until the first write of its VirtualService was finished."""
    first: dict[str, float] = {}
    for route in written:
        first.setdefault(route.name, route.finished)
    return [first[f"{change.name}-gateway"] - change.finished for change in accepted]


def _medians(turns: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(turn[0] for turn in turns), statistics.median(turn[1] for turn in turns)
