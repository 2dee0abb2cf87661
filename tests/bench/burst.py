"""Many policies created at once until all are in effect, beside the bare client making the same writes."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable
from typing import ClassVar

from tests.bench import load, objects
from tests.bench.audit import Request, Trail
from tests.bench.figure import Reading
from tests.bench.load import USER
from tests.bench.site import BARE_USER, OPERATOR_USER, Site
from tests.stack.waiting import eventually


class Burst:
    """Each turn begins without any policy, with what the policies refer to in place."""

    reach: ClassVar[dict[str, float]] = {"burst_ratio": 2.0}

    def setup(self, site: Site) -> None:
        """Have the Services there, and the bare client know what to write."""
        site.stand(1)
        with site.operator():
            site.wait_programmed(1)
            site.take_template()
        site.versions(site.sizes.policies)

    def measure(self, site: Site) -> Reading:
        """Let both take turns; the medians are compared."""
        ours, theirs = [], []
        for _ in range(site.sizes.rounds):
            ours.append(_turn(site, OPERATOR_USER, site.operator))
            theirs.append(_turn(site, BARE_USER, lambda: site.bare(objects.NAMESPACES)))
        mine, floor = statistics.median(ours), statistics.median(theirs)
        note = f"{site.sizes.policies} policies: {mine:.2f} s beside {floor:.2f} s"
        return Reading({"burst_ratio": mine / floor}, {"burst_ratio": note})


def _turn(site: Site, user: str, worker: Callable[[], contextlib.AbstractContextManager[object]]) -> float:
    """Return the seconds between the first policy's arrival at the API server and the last one's status."""
    site.clear()
    calls = [load.create(objects.policy(*objects.spot(number))) for number in range(site.sizes.policies)]
    with worker():
        creations, trail = site.trail(USER), site.trail(user)
        site.load.send(calls)
        statuses = _until_all(site, trail)
    began = min(one.received for one in creations.new() if one.resource == "aigatewaypolicies")
    return max(one.finished for one in statuses) - began


def _until_all(site: Site, trail: Trail) -> list[Request]:
    """Return every status that was written until all policies were in effect."""
    statuses: list[Request] = []

    def complete() -> bool:
        statuses.extend(one for one in trail.new() if one.resource == "aigatewaypolicies/status")
        # The list is asked for only then: a large answer would be a load of its own.
        named = {(one.namespace, one.name) for one in statuses}
        return len(named) == site.sizes.policies and site.programmed() == site.sizes.policies

    eventually(complete, "all are in effect", within=180)
    return statuses
