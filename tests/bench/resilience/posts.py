"""How many POSTs without a key are executed more than once while a model fails in every way that it can.

Four replicas: one resets connections before it reads, one after it has read, one answers 503, and one is slower than
any bound on a try.  Executions are counted where requests arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import ClassVar

from tests.bench.resilience import routes
from tests.bench.resilience.load import Outcome
from tests.bench.resilience.place import Place, Side
from tests.bench.resilience.reading import Reading, Target, Targets

_CLIENTS = 100
_PER_TRY = 0.5
_SLOW = 0.7
_CUT_SECONDS = 0.2
"""How often the open connections of the replica that resets before it reads are cut."""


class Posts:
    """Requests that were executed more than once."""

    targets: ClassVar[Targets] = {
        "duplicate_posts": Target(0),
        "duplicate_posts_defaults": None,
        "duplicate_posts_attempts3": None,
    }

    def measure(self, place: Place) -> Reading:
        """Let one side after the other have its faults."""
        counted = {f"duplicate_posts{suffix}": _run(place, side) for suffix, side in _sides(place).items()}
        values: dict[str, float | None] = {name: duplicates for name, (duplicates, _) in counted.items()}
        return Reading(values, {name: note for name, (_, note) in counted.items()})


def _sides(place: Place) -> dict[str, Side]:
    spec = routes.resilient(_CLIENTS, "5s")
    spec["timeouts"]["perTry"] = f"{int(_PER_TRY * 1000)}ms"
    spec["retries"]["conditions"].append("GatewayError")
    return {
        "": place.by_policy("posts", place.model("posts", 4), spec),
        "_defaults": place.by_hand("posts-defaults", place.model("posts-defaults", 4)),
        "_attempts3": place.by_hand(
            "posts-attempts3", place.model("posts-attempts3", 4), **routes.attempts3(_PER_TRY / 5)
        ),
    }


def _run(place: Place, side: Side) -> tuple[int, str]:
    """Return how many requests were executed more than once, and in words what became of them all."""
    place.stack.backend.reset()
    early, late, failing, slow = sorted(side.addresses)
    behave = place.stack.backend.behave
    behave(late, reset="request", share=0.5)
    behave(failing, status=503, share=0.5)
    behave(slow, delay=_SLOW)
    asked = asyncio.run(_while_cutting(place, side, early))
    executions = Counter(Counter(attempt.request_id for attempt in place.stack.backend.seen()).values())
    statuses = Counter(outcome.status for outcome in asked)
    note = f"executions/request {dict(sorted(executions.items()))} of {len(asked)}; {dict(statuses.most_common())}"
    return sum(count for times, count in executions.items() if times > 1), note


async def _while_cutting(place: Place, side: Side, early: str) -> list[Outcome]:
    async def cut() -> None:
        while True:
            await asyncio.to_thread(place.stack.backend.behave, early, reset="accept", share=0.5)
            await asyncio.sleep(_CUT_SECONDS)

    cutting = asyncio.create_task(cut())
    try:
        return await place.client(side).closed_loop(_CLIENTS, place.sizes.posts)
    finally:
        cutting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await cutting
