"""How much of everything a run of the resilience benchmark measures, and smaller sizes for a quick look."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Numbers of requests and repetitions; durations in seconds."""

    warm_up: float = 4
    """Load before an outage."""
    outage: float = 15
    after: float = 30
    """Load after an outage, and the time within which attempts are still put down to it."""
    long_after: float = 90
    """The same for the sides that need longer, once."""
    outages: int = 3
    flaky_clients: int = 400
    flaky_service: float = 1.5
    """Mean time that a model works on a request, drawn for each request between half and one and a half of it."""
    flaky_requests: int = 6000
    latency_rounds: int = 10
    latency_requests: int = 300
    """For each side in each round, by turns."""
    posts: int = 10_000


FULL = Sizes()
QUICK = Sizes(
    warm_up=2,
    outage=5,
    after=8,
    long_after=8,
    outages=1,
    flaky_clients=100,
    flaky_service=0.5,
    flaky_requests=1500,
    latency_rounds=3,
    latency_requests=100,
    posts=500,
)
SMOKE = Sizes(posts=60, latency_rounds=1, latency_requests=10)
