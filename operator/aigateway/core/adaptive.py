"""Adaptive retries in the status: the memory that they are decided from, what people are told, and the condition.

Called by :mod:`aigateway.core.reconcile` and :mod:`aigateway.core.status`; the deciding is in
:mod:`aigateway.core.decide.retries`.  Numbers that Prometheus gave are written when the level moves and not again
before it moves the next time, so that a policy whose retries stay makes no write.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aigateway.api.reasons import (
    ALL_REASONS,
    AS_ASKED,
    LEVEL_KEPT,
    METRICS_AVAILABLE,
    METRICS_MISSING,
    NOT_REQUESTED,
    PROMETHEUS_NOT_CONFIGURED,
    PROMETHEUS_UNREACHABLE,
    ConditionStatus,
    ConditionType,
    Reason,
)
from aigateway.api.resolved import ResolvedPolicy
from aigateway.core.decide.retries import RetryMemory
from aigateway.core.decision import Because, Finding, Judged, RetryLevel, Verdict
from aigateway.core.identity import gateway_virtual_service, mesh_virtual_service
from aigateway.core.observation import Counted, Json, Lack, Metric, Observation

Entry = dict[str, Any]

HISTORY = 10
"""Decisions that the status remembers."""
SUBJECT = "retries.attempts"
"""What the entries of the history are about."""

_NO_ANSWER = frozenset({Lack.UNREACHABLE, Lack.TIMED_OUT, Lack.REFUSED, Lack.NOT_JSON, Lack.TOO_LARGE})


def remembered(policy: ResolvedPolicy, observation: Observation, now: float) -> RetryMemory:
    """Return what is known from before.

    A policy whose status says nothing of retries begins with all of them.  A status that is lost altogether (restored
    from a backup, edited away) would do so at the worst time, so then as many as the routes have now are kept.
    """
    asked = policy.retries.attempts
    entry = observation.status.get("retries")
    if entry is not None:
        sampled = entry.get("sampledAt")
        return RetryMemory(
            level=entry["level"],
            asked=entry["asked"],
            since=_seconds(entry["since"]),
            judged=None if sampled is None else int(_seconds(sampled)),
            clean_since=observation.clean_since,
        )
    lost = not observation.status.get("conditions")
    level = min(asked, _in_routes(policy, observation, asked)) if lost else asked
    return RetryMemory(level, asked, now, clean_since=observation.clean_since)


def _in_routes(policy: ResolvedPolicy, observation: Observation, asked: int) -> int:
    """Return the retries of the policy's routes as they are in the cluster, ``asked`` where there are none."""
    children = (observation.children.get(name(policy.key)) for name in (gateway_virtual_service, mesh_virtual_service))
    own = [child.body for child in children if child is not None and child.owner == policy.uid]
    routes = [route for body in own for route in body.get("spec", {}).get("http") or ()]
    return max((route.get("retries", {}).get("attempts", 0) for route in routes), default=asked)


def because(level: RetryLevel | None, status: Json) -> tuple[Because, ...]:
    """Return why there are fewer retries than the policy says."""
    if level is None or level.level >= level.asked:
        return ()
    entry = describe_retries(level, status)
    message = f"{level.level} of {level.asked} retries: {entry['message']}"
    return (Because(SUBJECT, ALL_REASONS.get(entry["reason"], LEVEL_KEPT), message),)


def describe_retries(level: RetryLevel, status: Json) -> Entry:
    """Return the entry of the status; while the level stays, as it is but for what the policy asks for."""
    stored = status.get("retries")
    if level.reason is None and stored is not None:
        return {**stored, "asked": level.asked, "level": level.level}
    entry: Entry = {"asked": level.asked, "level": level.level, "since": _timestamp(level.since)}
    if level.judged is not None:
        entry["sampledAt"] = _timestamp(level.judged)
    if level.reason is None:
        kept = level.level < level.asked
        found = LEVEL_KEPT if kept else AS_ASKED
        return {**entry, "reason": str(found), "message": found.meaning}
    told = [_input(item, level.since) for item in level.inputs]
    return {**entry, "reason": str(level.reason), "message": level.message, "inputs": told}


def retries_reason(entry: Json) -> str:
    """Return why requests have as many retries as an entry of a status says: they have all, or why they have not."""
    return str(entry["reason"]) if entry["level"] < entry["asked"] else str(AS_ASKED)


def describe_history(level: RetryLevel | None, status: Json) -> list[Entry]:
    """Return the last decisions, the newest last, with the one that is made now."""
    before = list(status.get("history") or ())
    if level is None or level.reason is None:
        return before
    step = {
        "time": _timestamp(level.since),
        "what": SUBJECT,
        "from": str(level.before),
        "to": str(level.level),
        "reason": str(level.reason),
        "why": level.message,
    }
    return [*before, step][-HISTORY:]


def moved_retries(level: RetryLevel | None, status: Json) -> Entry:
    """Return the fields of the status that must be written before any child follows a step; none where none is made."""
    if level is None or level.reason is None:
        return {}
    return {"retries": describe_retries(level, status), "history": describe_history(level, status)}


def _input(item: Judged, now: float) -> Entry:
    share = item.metric is Metric.FAILURE_PERCENT
    threshold = f"{item.threshold} %" if share else f"{item.threshold}ms"
    entry: Entry = {"backend": item.backend, "metric": str(item.metric), "threshold": threshold}
    if item.value is not None and item.at is not None:
        entry["value"] = f"{item.value:.1f} % of {item.counted}" if share else f"{item.value:.0f}ms"
        entry["age"] = f"{max(0.0, now - item.at):.0f}s"
    elif item.lack is not None:
        entry["value"] = str(item.lack)
    return {**entry, "verdict": str(item.finding)}


def judge_metrics(level: RetryLevel | None) -> Verdict | None:
    """Return the condition, None where it cannot be told yet: Prometheus was not asked since the operator's start.

    Its message names no number and, where Prometheus does not answer, not in which way it does not: that changes from
    one query to the next.
    """
    if level is None:
        return _verdict(ConditionStatus.TRUE, NOT_REQUESTED, "no decision needs metrics")
    missing = [item for item in level.inputs if item.finding is Finding.NO_DATA]
    lacks = {item.lack for item in missing}
    if Lack.NOT_ASKED_YET in lacks:
        return None
    held = f"requests keep {level.level} of {level.asked} retries"
    if Lack.NOT_CONFIGURED in lacks:
        message = f"the operator has no address of Prometheus; {held}"
        return _verdict(ConditionStatus.FALSE, PROMETHEUS_NOT_CONFIGURED, message)
    if lacks & _NO_ANSWER:
        unknown = ", ".join(dict.fromkeys(item.backend for item in missing))
        message = f"Prometheus gives no answer about {unknown}; {held}"
        return _verdict(ConditionStatus.FALSE, PROMETHEUS_UNREACHABLE, message)
    if missing:
        names = ", ".join(f"{item.metric} of {item.backend} ({item.lack})" for item in missing)
        return _verdict(ConditionStatus.FALSE, METRICS_MISSING, f"there is no {names}; {held}")
    of_requests = any(item.counted is Counted.REQUESTS for item in level.inputs)
    share = "; failures are judged by requests, since the mesh does not count attempts" if of_requests else ""
    return _verdict(ConditionStatus.TRUE, METRICS_AVAILABLE, f"Prometheus tells what decisions need{share}")


def _verdict(status: ConditionStatus, reason: Reason, message: str) -> Verdict:
    return Verdict(ConditionType.METRICS_AVAILABLE, status, reason, message)


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
