"""The answer of a reconcile: steps to take, status to write, events to post, when to look again.

:mod:`aigateway.engine` executes it; the command line prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aigateway.api.reasons import EventType, Reason
from aigateway.core.decision import Decision
from aigateway.core.observation import ChildRef


@dataclass(frozen=True, slots=True)
class Apply:
    """Write ``body`` by server-side apply.

    ``exists`` False: no object of that name is known, so the executor reads first, refuses one that is not ours, and
    applies without force.  ``required`` steps stop the plan where they fail.  ``drift`` tells that the object was as we
    want it once and someone changed it, or (with ``exists`` False) deleted it.
    """

    ref: ChildRef
    body: Mapping[str, Any]
    exists: bool
    required: bool
    drift: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one object, only in exactly the state that the decision looked at."""

    ref: ChildRef
    uid: str
    resource_version: str
    required: bool


Step = Apply | Delete


@dataclass(frozen=True, slots=True)
class Taken:
    """An object of that name exists and is not this policy's; ``by`` says whose it is, as far as it tells."""

    by: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The API server (or a webhook behind it) refused or did not answer; ``message`` is what it said."""

    message: str


StepFailure = Taken | Failed


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of a step; ``failure`` None: done.  Steps after a failed required one have no result."""

    step: Step
    failure: StepFailure | None


@dataclass(frozen=True, slots=True)
class Event:
    """One event on the policy; posted only on transitions."""

    type: EventType
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to do now.

    ``contested`` are children that someone keeps changing and that are left as they are for now.
    ``memory`` are the status fields that must be in the API server before any child moves (None: they are).
    ``wake_at`` in seconds since the epoch, None: only when something changes.
    """

    decision: Decision
    plan: tuple[Step, ...]
    memory: Mapping[str, Any] | None
    wake_at: float | None
    contested: tuple[ChildRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What to tell the user after the plan was executed: the whole status, and events."""

    status: Mapping[str, Any]
    events: tuple[Event, ...]
