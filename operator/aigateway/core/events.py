"""Events: what changed since the last status, and what was done about the children.

Called by :mod:`aigateway.core.status`.  Only transitions make events; a state that goes on makes none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aigateway.api.reasons import (
    ALL_REASONS,
    DRIFT_REPAIRED,
    GATEWAY_FILTER_MISSING,
    PRUNED,
    RETRY_LEVEL_LOWERED,
    RETRY_LEVEL_RAISED,
    WEIGHTS_CHANGED,
    ConditionStatus,
    ConditionType,
    EventType,
)
from aigateway.core.adaptive import SUBJECT
from aigateway.core.decision import Decision
from aigateway.core.observation import Json
from aigateway.core.outcome import Apply, Delete, Event, StepResult

_ANNOUNCED_WHEN_FIRST_TRUE = frozenset({ConditionType.PROGRAMMED})
"""The first time, only the result is news: that all went as expected on the way there is not."""


def transitions(old: Json, new: Json, decision: Decision, results: Sequence[StepResult]) -> tuple[Event, ...]:
    """Return the events for the step from one status to the next."""
    return (
        *_conditions(old, new),
        *_lost_filter(old, new),
        *_weights(old, new, decision),
        *_retries(old, new),
        *_done(results),
    )


def _conditions(old: Json, new: Json) -> Iterator[Event]:
    before = {condition["type"]: condition for condition in old.get("conditions") or ()}
    for condition in new["conditions"]:
        kind = ConditionType(condition["type"])
        if kind is ConditionType.READY or not _moved(before.get(kind), condition, kind):
            continue
        good = condition["status"] == ConditionStatus.TRUE
        reason = ALL_REASONS[condition["reason"]]
        yield Event(EventType.NORMAL if good else EventType.WARNING, reason, condition["message"])


def _moved(before: Json | None, after: Json, kind: ConditionType) -> bool:
    if after["status"] == ConditionStatus.UNKNOWN:
        return False
    if before is None:
        return after["status"] == ConditionStatus.FALSE or kind in _ANNOUNCED_WHEN_FIRST_TRUE
    return (before["status"], before["reason"]) != (after["status"], after["reason"])


def _lost_filter(old: Json, new: Json) -> Iterator[Event]:
    """Warn where what gateways do for the policy goes with the gateway filter: requests are let through without it."""
    before, after = ({e["field"] for e in status.get("skipped") or () if _wants_filter(e)} for status in (old, new))
    if after - before:
        message = f"{', '.join(sorted(after))} has no effect: {GATEWAY_FILTER_MISSING.meaning}"
        yield Event(EventType.WARNING, GATEWAY_FILTER_MISSING, message)


def _wants_filter(entry: Json) -> bool:
    return bool(entry["reason"] == str(GATEWAY_FILTER_MISSING))


def _weights(old: Json, new: Json, decision: Decision) -> Iterator[Event]:
    before, after = old.get("weights"), new.get("weights")
    if before and after and before != after:
        why = "; ".join(because.message for because in decision.because if because.subject.endswith(".weight"))
        yield Event(EventType.NORMAL, WEIGHTS_CHANGED, f"{before} is now {after}{': ' if why else ''}{why}")


def _retries(old: Json, new: Json) -> Iterator[Event]:
    known = old.get("history") or ()
    for step in new.get("history") or ():
        if step["what"] != SUBJECT or step in known:
            continue
        message = f"{step['from']} retries are now {step['to']}: {step['why']}"
        if int(step["to"]) < int(step["from"]):
            yield Event(EventType.WARNING, RETRY_LEVEL_LOWERED, message)
        else:
            yield Event(EventType.NORMAL, RETRY_LEVEL_RAISED, message)


def _done(results: Sequence[StepResult]) -> Iterator[Event]:
    for result in results:
        if result.failure is not None:
            continue
        match result.step:
            case Apply(drift=True, exists=exists, ref=ref):
                done = "changed" if exists else "deleted"
                yield Event(EventType.NORMAL, DRIFT_REPAIRED, f"{ref} was {done} by someone else and has been put back")
            case Delete(ref=ref):
                yield Event(EventType.NORMAL, PRUNED, f"{ref} was deleted: the policy no longer asks for it")
            case _:
                pass
