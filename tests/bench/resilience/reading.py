"""What a figure of the resilience benchmark is: names with a target each, and a way to measure them all at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from tests.bench.resilience.place import Place


@dataclass(frozen=True)
class Target:
    """Where a value is good."""

    bound: float
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        """Return whether a value is good."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


Targets = Mapping[str, Target | None]
"""The names of a figure; None for those that are there to compare with."""


@dataclass(frozen=True)
class Reading:
    """What was measured.  A value that is None, or has no entry, could not be measured: its note says why."""

    values: dict[str, float | None]
    notes: dict[str, str] = field(default_factory=dict)


class Figure(Protocol):
    """One kind of measurement."""

    targets: ClassVar[Targets]

    def measure(self, place: Place) -> Reading:
        """Deploy what it needs, and measure."""
