"""What clients get from a model of which a share of all attempts fails, and how much more it has to do for that.

Each of some hundred clients sends requests with an idempotency key, one after the other.  A budget refuses retries over
its share of the requests under way, so there is a highest success that it allows (:func:`allowed`).
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from dataclasses import dataclass
from typing import ClassVar

from tests.bench.resilience import routes
from tests.bench.resilience.load import share_ok
from tests.bench.resilience.place import Place, Side
from tests.bench.resilience.reading import Reading, Target, Targets

_SHARES = {"flaky3": 0.03, "flaky20": 0.2}
_BUDGET = routes.BUDGET / 100


@dataclass(frozen=True)
class Run:
    """One share for one side."""

    success: float
    amplification: float

    def __str__(self) -> str:
        return f"{self.success:.4f} succeeded, {self.amplification:.3f} attempts/request"


class Flaky:
    """Success with 3 % and 20 % of attempts failing, and the attempts that it takes."""

    targets: ClassVar[Targets] = {
        "flaky3_success": Target(0.995, at_least=True),
        "flaky20_gap": Target(0.03),
        "flaky20_amplification": Target(1 + _BUDGET + 0.05),
        "flaky20_success": None,
        **{
            f"{name}{side}": None
            for side in ("_defaults", "_attempts3")
            for name in ("flaky3_success", "flaky20_success", "flaky20_amplification")
        },
    }

    def measure(self, place: Place) -> Reading:
        """Let the sides take turns, for one share after the other."""
        runs = {
            (name, suffix): _run(place, side, share)
            for (name, share), (suffix, side) in itertools.product(_SHARES.items(), _sides(place).items())
        }
        bound = allowed(_SHARES["flaky20"], routes.ATTEMPTS, _BUDGET, place.sizes.flaky_service, routes.BACKOFF)
        values: dict[str, float | None] = {f"{name}_success{side}": run.success for (name, side), run in runs.items()}
        values |= {f"{name}_amplification{side}": run.amplification for (name, side), run in runs.items()}
        values["flaky20_gap"] = bound - runs["flaky20", ""].success
        notes = {f"{name}_success{side}": str(run) for (name, side), run in runs.items()}
        in_flight = f"{place.sizes.flaky_clients} in flight, {place.sizes.flaky_service:g} s each"
        by_chance = expected(_SHARES["flaky20"], routes.ATTEMPTS, int(_BUDGET * place.sizes.flaky_clients), _BUDGET)
        told = f"{runs['flaky20', ''].success:.4f} of {bound:.4f} allowed, {by_chance:.4f} with fluctuations"
        notes["flaky20_gap"] = f"{told}; {in_flight}"
        return Reading({name: values.get(name) for name in self.targets}, notes)


def _sides(place: Place) -> dict[str, Side]:
    seconds, clients = place.sizes.flaky_service, place.sizes.flaky_clients
    spec = routes.resilient(clients, f"{int(seconds * 20)}s")
    return {
        "": place.by_policy("flaky", place.model("flaky"), spec),
        "_defaults": place.by_hand("flaky-defaults", place.model("flaky-defaults")),
        "_attempts3": place.by_hand("flaky-attempts3", place.model("flaky-attempts3"), **routes.attempts3(seconds)),
    }


def _run(place: Place, side: Side, share: float) -> Run:
    backend, sizes = place.stack.backend, place.sizes
    backend.reset()
    backend.behave(*side.addresses, status=503, share=share)
    keys = itertools.count()

    def headers() -> dict[str, str]:
        seconds = sizes.flaky_service * random.uniform(0.5, 1.5)  # noqa: S311 (no secret)
        return {routes.KEY_HEADER: f"{side.host}-{share}-{next(keys)}", "x-delay": f"{seconds:.3f}"}

    client = place.client(side, headers, patience=sizes.flaky_service * 30)
    asked = asyncio.run(client.closed_loop(sizes.flaky_clients, sizes.flaky_requests))
    # At the begin and at the end fewer are under way than there are clients: there a budget is for less than it says.
    counted = range(sizes.flaky_clients, sizes.flaky_requests - 2 * sizes.flaky_clients)
    names = {f"{side.host}-{share}-{number}" for number in counted}
    attempts = sum(attempt.key in names for attempt in backend.seen())
    return Run(share_ok(asked[counted.start : counted.stop]), attempts / len(counted))


def allowed(failing: float, attempts: int, budget: float, service: float, base: float) -> float:
    """Return the highest share of successes that a budget allows, with waits drawn between 0 and (2^n - 1) ``base``.

    Envoy takes up a retry while those waiting and under way are fewer than ``budget`` times the requests under way; one
    that waits is not under way.  A retry so holds its place for ``service + wait``, and with r retries for a request
    ``r (service + wait) <= budget (1 + r) service``.  All attempts are alike: (1 + r) of them, of which a share
    succeeds.  Fluctuations come on top, see :func:`expected`.
    """
    weights = [math.pow(failing, number) for number in range(attempts)]
    waits = [(2 ** (number + 1) - 1) * base / 2 for number in range(attempts)]
    wait: float = sum(weight * one for weight, one in zip(weights, waits, strict=True)) / sum(weights)
    retries = budget * service / (service + wait - budget * service)
    return min(1 - math.pow(failing, attempts + 1), (1 - failing) * (1 + retries))


def expected(failing: float, attempts: int, places: int, budget: float) -> float:
    """Return the success to expect where a retry that finds all places taken is refused for good, and none waits.

    That is Erlang's loss formula: of ``places / budget`` requests under way a share are retries, and what is offered to
    the places is so much more than what they carry as they refuse.
    """
    refused = retries = 0.0
    for _ in range(100):
        retries = sum(math.pow(failing * (1 - refused), number) for number in range(1, attempts + 1))
        carried = places / budget * retries / (1 + retries)
        refused = (refused + _erlang(places, carried / (1 - refused))) / 2
    return (1 - failing) * (1 + retries)


def _erlang(places: int, offered: float) -> float:
    blocked = 1.0
    for number in range(1, places + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return blocked
