"""How soon clients are served again after a model hung for a while, and how much its engine was asked meanwhile.

The engine hangs under a steady load of 85 % of what it can do, and lets requests queue up.  Its clients wait for two
seconds, and all their requests may be retried.  A side is well again from when on 95 % of what is sent, or more, is
answered in time.  Most engines go on working for clients that are gone; figures with ``cancels`` are for one that does
not.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tests.bench.resilience import routes
from tests.bench.resilience.load import OK, Outcome
from tests.bench.resilience.place import Place, Side
from tests.bench.resilience.reading import Reading, Target, Targets
from tests.stack.backend import Seen

SLOTS = 10
SERVICE_SECONDS = 0.1
RATE = 85.0
"""Of a capacity of SLOTS / SERVICE_SECONDS = 100 a second."""
PATIENCE = 2.0
_WELL = 0.95
_WINDOW = 2.0
_STEP = 0.25
_OURS = ""
_DEFAULTS = "_defaults"
_ATTEMPTS3 = "_attempts3"
_CANCELS = "_cancels"


@dataclass(frozen=True)
class Course:
    """What one outage was for one side."""

    recovery: float | None
    """Seconds; None where it was not well again as long as the load went on."""
    amplification: float
    watched: float
    """Seconds of load after the outage."""
    statuses: str

    def __str__(self) -> str:
        recovery = f"> {self.watched:.0f} s" if self.recovery is None else f"{self.recovery:.1f} s"
        return f"{recovery}, {self.amplification:.2f} attempts/request, then {self.statuses}"


class Outage:
    """Recovery and amplification, for a policy, for Istio's defaults and for three retries by hand."""

    targets: ClassVar[Targets] = {
        f"outage_{figure}{side}{engine}": target if side == _OURS else None
        for figure, target in (("recovery_s", Target(5)), ("amplification", Target(1.2)))
        for side in (_OURS, _DEFAULTS, _ATTEMPTS3)
        for engine in ("", _CANCELS)
    }

    def measure(self, place: Place) -> Reading:
        """Let ours and the others have their outages by turns: what those pile up must not be in the way of ours."""
        sides = _sides(place)
        ours = {suffix: side for suffix, side in sides.items() if suffix in ("", _CANCELS)}
        others = [
            ({suffix: sides[suffix] for suffix in (_DEFAULTS + engine, _ATTEMPTS3 + engine)}, after)
            for engine, after in (("", place.sizes.long_after), (_CANCELS, place.sizes.after))
        ]
        courses: dict[str, list[Course]] = defaultdict(list)
        for turn in range(max(place.sizes.outages, len(others))):
            turns = [(ours, place.sizes.after)] if turn < place.sizes.outages else []
            for having, after in turns + others[turn : turn + 1]:
                for suffix, course in _outage(place, having, after).items():
                    courses[suffix].append(course)
        return _reading(courses, ours[""].skipped)


def _sides(place: Place) -> dict[str, Side]:
    """Return all sides by what their figures' names end with."""
    sides = {}
    for engine in ("", _CANCELS):
        ours, defaults, attempts3 = (engine, _DEFAULTS + engine, _ATTEMPTS3 + engine)
        names = {suffix: f"outage{suffix}".replace("_", "-") for suffix in (ours, defaults, attempts3)}
        models = {suffix: place.model(name) for suffix, name in names.items()}
        spec = routes.resilient(SLOTS, f"{PATIENCE:g}s")
        sides[ours] = place.by_policy(names[ours], models[ours], spec)
        sides[defaults] = place.by_hand(names[defaults], models[defaults])
        by_hand = routes.attempts3(SERVICE_SECONDS)
        sides[attempts3] = place.by_hand(names[attempts3], models[attempts3], **by_hand)
    return sides


def _reading(courses: dict[str, list[Course]], skipped: tuple[str, ...]) -> Reading:
    values: dict[str, float | None] = {}
    notes: dict[str, str] = {}
    for name, seen in courses.items():
        typical = statistics.median(math.inf if course.recovery is None else course.recovery for course in seen)
        values[f"outage_recovery_s{name}"] = typical if math.isfinite(typical) else None
        values[f"outage_amplification{name}"] = statistics.median(course.amplification for course in seen)
        notes[f"outage_recovery_s{name}"] = "; ".join(map(str, seen))
    if skipped:
        notes["outage_amplification"] = f"without {', '.join(skipped)}"
    return Reading(values, notes)


def _outage(place: Place, sides: dict[str, Side], after: float) -> dict[str, Course]:
    """Have one outage of all these sides at once."""
    place.stack.backend.reset()
    _hang(place, sides, hangs=False)
    asked, began, ended = asyncio.run(_under_load(place, sides, after))
    seen = place.stack.backend.seen()
    return {
        name: _course(
            asked[name], [row for row in seen if row.address in side.addresses], (began, ended), place.sizes.after
        )
        for name, side in sides.items()
    }


async def _under_load(
    place: Place, sides: dict[str, Side], after: float
) -> tuple[dict[str, list[Outcome]], float, float]:
    sizes = place.sizes
    seconds = sizes.warm_up + sizes.outage + after
    loads = {
        name: asyncio.create_task(place.client(side, _headers, PATIENCE).open_loop(RATE, seconds))
        for name, side in sides.items()
    }
    await asyncio.sleep(sizes.warm_up)
    await asyncio.to_thread(_hang, place, sides, hangs=True)
    began = time.monotonic()
    await asyncio.sleep(sizes.outage)
    await asyncio.to_thread(_hang, place, sides, hangs=False)
    ended = time.monotonic()
    return {name: await load for name, load in loads.items()}, began, ended


def _hang(place: Place, sides: dict[str, Side], *, hangs: bool) -> None:
    for name, side in sides.items():
        cancels = name.endswith(_CANCELS)
        place.stack.backend.behave(*side.addresses, slots=SLOTS, delay=SERVICE_SECONDS, cancels=cancels, stalled=hangs)


def _headers() -> dict[str, str]:
    deadline = str(int((time.time() + PATIENCE) * 1000))
    return {routes.DEADLINE_HEADER: deadline, routes.KEY_HEADER: uuid.uuid4().hex}


def _course(asked: list[Outcome], seen: Sequence[Seen], outage: tuple[float, float], after: float) -> Course:
    began, ended = outage
    requests = sum(began <= outcome.sent <= ended + after for outcome in asked)
    attempts = sum(began <= attempt.arrived <= ended + after for attempt in seen)
    statuses = Counter(outcome.status or "gave up" for outcome in asked if outcome.sent > ended)
    told = ", ".join(f"{count} x {status}" for status, count in statuses.most_common())
    return Course(recovery(asked, ended), attempts / requests, asked[-1].sent - ended, told)


def recovery(asked: Sequence[Outcome], ended: float) -> float | None:
    """Return how long after an outage clients get answers in time again, and go on to get them.

    Requests count for the moment at which they were sent, so that a machine that is late for a moment shifts nothing.
    The time is that of the first answer to those of which enough are answered, in every two seconds until the end.
    """
    steps = int((asked[-1].sent - ended - _WINDOW) / _STEP) + 1
    bad = [step for step in range(steps) if not _is_well(asked, ended + step * _STEP)]
    first_good = bad[-1] + 1 if bad else 0
    if first_good >= steps:
        return None
    return min(one.ended for one in asked if one.sent >= ended + first_good * _STEP and _in_time(one)) - ended


def _is_well(asked: Sequence[Outcome], begin: float) -> bool:
    sent = [outcome for outcome in asked if begin <= outcome.sent < begin + _WINDOW]
    return sum(map(_in_time, sent)) >= _WELL * len(sent)


def _in_time(outcome: Outcome) -> bool:
    return outcome.status == OK and outcome.seconds <= PATIENCE
