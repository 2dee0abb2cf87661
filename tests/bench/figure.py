"""What a figure is: something to prepare, something to measure, and numbers with a name and a reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from tests.bench.site import Site


@dataclass(frozen=True)
class Reading:
    """What was measured: values by the names that are promised, and in words what stands behind them."""

    values: dict[str, float]
    notes: dict[str, str] = field(default_factory=dict)


class Figure(Protocol):
    """One kind of measurement.  ``reach`` has its names, each with the highest value that is good."""

    reach: ClassVar[dict[str, float]]

    def setup(self, site: Site) -> None:
        """Bring the site into the state that the measurement is about."""

    def measure(self, site: Site) -> Reading:
        """Measure."""
