"""How much of everything a run measures: the sizes of the figures' definitions, and smaller ones for a quick look."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Numbers of objects and changes; durations in seconds."""

    rounds: int = 3
    """How often each side of a comparison has its turn."""
    rest_policies: int = 200
    idle_seconds: float = 60
    single_changes: int = 5
    policies: int = 500
    latency_changes: int = 150
    """For each side, in each round, by turns; each waits until the one before is done."""
    memory_changes: int = 10_000
    foreign_slices: int = 5000
    foreign_deployments: int = 2000
    foreign_rate: float = 100
    foreign_seconds: float = 8
    flips: int = 5
    """Weight changes that are followed into Envoy's traffic, in each turn."""


FULL = Sizes()
QUICK = Sizes(
    rest_policies=20,
    idle_seconds=5,
    single_changes=2,
    policies=50,
    latency_changes=50,
    memory_changes=200,
    foreign_slices=300,
    foreign_deployments=50,
    foreign_seconds=2,
    flips=2,
)
SMOKE = Sizes(rest_policies=5, idle_seconds=3, single_changes=1)
