"""How much memory the operator holds with many policies, and whether changes make it grow."""

from __future__ import annotations

from typing import ClassVar

from tests.bench import load, objects, procfs
from tests.bench.figure import Reading
from tests.bench.site import Site

_SAMPLES = 10
_LOWEST, _SPAN = 10, 80


class Memory:
    """Policies of two versions; the highest of all samples counts."""

    reach: ClassVar[dict[str, float]] = {"rss_mb_500": 110.0}

    def setup(self, site: Site) -> None:
        """Have the policies standing."""
        site.stand(site.sizes.policies)

    def measure(self, site: Site) -> Reading:
        """Change weights again and again, with a look at the memory ten times on the way."""
        with site.operator() as running:
            site.wait_programmed(site.sizes.policies)
            site.settle(running)
            samples = [procfs.rss_mb(running.pid)]
            trail = site.trail()
            part = site.sizes.memory_changes // _SAMPLES
            for turn in range(_SAMPLES):
                site.load.send((_change(site, turn * part + number) for number in range(part)), concurrency=4)
                samples.append(procfs.rss_mb(running.pid))
            site.settle(running)
            samples.append(procfs.rss_mb(running.pid))
        written = sum(one.resource == "virtualservices" for one in trail.new())
        course = " ".join(f"{sample:.0f}" for sample in samples)
        note = f"{site.sizes.policies} policies, over {part * _SAMPLES} changes ({written} writes of routes): {course}"
        return Reading({"rss_mb_500": max(samples)}, {"rss_mb_500": note})


def _change(site: Site, count: int) -> load.Call:
    """Return the change with this number: one policy after the other, each time to another weight."""
    rounds, number = divmod(count, site.sizes.policies)
    namespace, name = objects.spot(number)
    weight = _LOWEST + rounds % _SPAN
    return load.patch("AIGatewayPolicy", namespace, name, {"spec": {"backends": objects.backends(name, weight)}})
