"""What the operator asks of the API server at rest, after a restart, and for one change: counted, not timed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

from tests.bench import load, objects
from tests.bench.audit import Request, is_write
from tests.bench.figure import Reading
from tests.bench.site import Site

_EVENTS = "events"


class Idle:
    """A number of policies, nothing changing."""

    reach: ClassVar[dict[str, float]] = {"idle_writes": 0.0, "idle_reads": 0.0}

    def setup(self, site: Site) -> None:
        """Have the policies standing."""
        site.stand(site.sizes.rest_policies)

    def measure(self, site: Site) -> Reading:
        """Count every request of an operator that has come to rest."""
        with site.operator() as running:
            site.wait_programmed(site.sizes.rest_policies)
            site.settle(running)
            trail = site.trail()
            time.sleep(site.sizes.idle_seconds)
            requests = trail.new()
        writes = [request for request in requests if is_write(request)]
        note = f"{site.sizes.rest_policies} policies, {site.sizes.idle_seconds:.0f} s: {_counted(requests)}"
        values = {"idle_writes": float(len(writes)), "idle_reads": float(len(requests) - len(writes))}
        return Reading(values, dict.fromkeys(values, note))


class Restart:
    """A start into a world that is as it should be."""

    reach: ClassVar[dict[str, float]] = {"restart_writes": 0.0}

    def setup(self, site: Site) -> None:
        """Have the policies standing, and put into effect by an operator that is gone."""
        put_into_effect(site)

    def measure(self, site: Site) -> Reading:
        """Count what the next one writes to policies and children."""
        trail = site.trail()
        with site.operator() as running:
            site.settle(running)
            passes = running.metric("aigateway_reconciles_total")
        requests = trail.new()
        writes = [request for request in requests if is_write(request) and request.resource != _EVENTS]
        note = f"{passes:.0f} passes over {site.sizes.rest_policies} policies: {_counted(requests)}"
        return Reading({"restart_writes": float(len(writes))}, {"restart_writes": note})


class Change:
    """One changed weight."""

    reach: ClassVar[dict[str, float]] = {"change_writes": 2.0, "change_reads": 0.0}

    def setup(self, site: Site) -> None:
        """Have the policies standing."""
        site.stand(site.sizes.rest_policies)

    def measure(self, site: Site) -> Reading:
        """Change weights one at a time; the change that cost the most counts."""
        with site.operator() as running:
            site.wait_programmed(site.sizes.rest_policies)
            site.settle(running)
            trail = site.trail()
            costs = []
            for number in range(site.sizes.single_changes):
                namespace, name = objects.spot(number)
                spec = {"spec": {"backends": objects.backends(name, 60)}}
                site.load.send([load.patch("AIGatewayPolicy", namespace, name, spec)])
                site.settle(running)
                costs.append(trail.new())
        writes = [sum(is_write(one) and one.resource != _EVENTS for one in cost) for cost in costs]
        reads = [sum(not is_write(one) for one in cost) for cost in costs]
        values = {"change_writes": float(max(writes)), "change_reads": float(max(reads))}
        note = f"each of {len(costs)} changes: {' | '.join(sorted(set(map(_counted, costs))))}"
        return Reading(values, dict.fromkeys(values, note))


def put_into_effect(site: Site) -> None:
    """Have the policies standing and in effect, and no operator running."""
    site.stand(site.sizes.rest_policies)
    if site.programmed() < site.sizes.rest_policies:
        with site.operator() as running:
            site.wait_programmed(site.sizes.rest_policies)
            site.settle(running)


def _counted(requests: Iterable[Request]) -> str:
    counts = Counter(f"{request.verb} {request.resource}" for request in requests)
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "no request"
