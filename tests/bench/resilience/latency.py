"""What everything that a policy can ask for costs a request while nothing fails.

Two routes lead to the same pods, a plain one and one with everything; requests go to them by turns, one at a time, so
that whatever else the machine does is the same for both.
"""

from __future__ import annotations

import http.client
import statistics
import time
from typing import ClassVar
from urllib.parse import urlsplit

from tests.bench.resilience import routes
from tests.bench.resilience.place import Place, Side
from tests.bench.resilience.reading import Reading, Target, Targets

_DELAYS = {"": 0.01, "_no_delay": 0.0}
"""Seconds that the model takes: a small model's first token, and nothing at all."""


class Latency:
    """Percentiles through the rendered route by those through the plain one, the median of the rounds."""

    targets: ClassVar[Targets] = {
        "added_latency_p50_ratio": Target(1.1),
        "added_latency_p99_ratio": None,
        "added_latency_p50_ratio_no_delay": None,
        "added_latency_p99_ratio_no_delay": None,
    }

    def measure(self, place: Place) -> Reading:
        """Measure with a realistic delay, then without one."""
        model = place.model("latency")
        place.another_service(model, "latency-plain")
        ours = place.by_policy("latency", model, routes.everything())
        plain = place.by_hand("latency-plain", model, "latency-plain")
        values: dict[str, float | None] = {}
        notes: dict[str, str] = {}
        for suffix, delay in _DELAYS.items():
            place.stack.backend.reset()
            place.stack.backend.behave(*ours.addresses, delay=delay)
            rounds = [_round(place, ours, plain) for _ in range(place.sizes.latency_rounds)]
            for column, name in enumerate((f"added_latency_p50_ratio{suffix}", f"added_latency_p99_ratio{suffix}")):
                values[name] = statistics.median(mine[column] / floor[column] for mine, floor in rounds)
                notes[name] = _beside(rounds, column) + f", model {delay * 1e3:g} ms"
        if ours.skipped:
            notes["added_latency_p50_ratio"] += f", without {', '.join(ours.skipped)}"
        return Reading(values, notes)


Percentiles = tuple[float, float]


def _beside(rounds: list[tuple[Percentiles, Percentiles]], column: int) -> str:
    mine, floor = (statistics.median(both[side][column] for both in rounds) for side in (0, 1))
    return f"{mine * 1e3:.2f} ms beside {floor * 1e3:.2f} ms"


def _round(place: Place, ours: Side, plain: Side) -> tuple[Percentiles, Percentiles]:
    """Return median and 99th percentile of ours, then of the plain route, in seconds."""
    clients = [_Client(place.stack.gateway.url, side.host) for side in (ours, plain)]
    times: list[list[float]] = [[], []]
    for number in range(place.sizes.latency_requests):
        for side in (0, 1) if number % 2 else (1, 0):
            times[side].append(clients[side].seconds())
    for client in clients:
        client.close()
    mine, floor = (statistics.quantiles(column, n=100, method="inclusive") for column in times)
    return (mine[49], mine[98]), (floor[49], floor[98])


class _Client:
    """One connection that is kept, in as little Python as there is: its own time would hide differences."""

    def __init__(self, url: str, host: str) -> None:
        self._host = host
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)

    def seconds(self) -> float:
        """Send one POST as a client of a policy does, with a deadline and a key, and return how long it took."""
        headers = {
            "Host": self._host,
            routes.DEADLINE_HEADER: str(int((time.time() + 10) * 1000)),
            routes.KEY_HEADER: "a-key",
            "x-api-key": "a-client",
        }
        began = time.perf_counter()
        self._connection.request("POST", "/v1/chat", b"{}", headers)
        answer = self._connection.getresponse()
        answer.read()
        seconds = time.perf_counter() - began
        if answer.status != http.client.OK:
            raise RuntimeError(f"{self._host} answered {answer.status}")
        return seconds

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
