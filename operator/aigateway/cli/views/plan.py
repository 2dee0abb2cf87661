"""What would change for each policy: the policy itself, every object it generates, and what its status would say.

Made from a :class:`~aigateway.cli.prospect.Prospect`; the steps are the core's, in the order in which they are taken.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import yaml

from aigateway.api.problems import Rejection
from aigateway.cli.prospect import Foreseen, Prospect
from aigateway.cli.views.common import ConditionView, conditions, without_bookkeeping
from aigateway.cluster.applied import after_apply
from aigateway.core.identity import KIND
from aigateway.core.outcome import Apply, StepFailure, Taken

_CONTEXT_LINES = 3


class Action(StrEnum):
    """What happens to an object.

    ``repair`` puts back what someone changed by hand; ``blocked`` is not done because of what is there; ``waits``
    comes after a blocked one that it needs.
    """

    CREATE = "create"
    UPDATE = "update"
    REPAIR = "repair"
    DELETE = "delete"
    BLOCKED = "blocked"
    WAITS = "waits"


@dataclass(frozen=True, slots=True)
class Change:
    """One object: ``before`` and ``after`` without bookkeeping, None where there is none.  ``note`` says more.

    ``namespace`` is empty where it is the policy's own.
    """

    action: Action
    kind: str
    name: str
    note: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    namespace: str = ""

    @property
    def title(self) -> str:
        """The name, with the namespace where that is not the policy's."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class PolicyPlan:
    """One policy.  ``applied`` is its own change (None: it is in the cluster as it is); ``problems`` reject it.

    ``weights`` and ``conditions`` are those after the changes, ``reasons`` what no condition says;
    ``weights_before`` is what is in effect now.
    """

    policy: str
    applied: Change | None
    changes: tuple[Change, ...]
    problems: tuple[str, ...]
    weights: str
    weights_before: str
    conditions: tuple[ConditionView, ...]
    reasons: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether anything would be written, apart from the status."""
        return self.applied is not None or bool(self.changes)


@dataclass(frozen=True, slots=True)
class PlanView:
    """All policies, in the order of the files."""

    policies: tuple[PolicyPlan, ...]


def plan_view(prospects: list[Prospect]) -> PlanView:
    """Return what would change for these policies."""
    return PlanView(tuple(map(_policy, prospects)))


def _policy(prospect: Prospect) -> PolicyPlan:
    stored: dict[str, Any] = (prospect.stored or {}).get("status") or {}
    status = prospect.report.status
    rejected = isinstance(prospect.policy, Rejection)
    found = () if rejected else tuple(conditions(status, stored))
    return PolicyPlan(
        policy=str(prospect.key),
        applied=None if rejected else _applied(prospect),
        changes=tuple(map(change_of, prospect.steps)),
        problems=tuple(map(str, prospect.policy.problems)) if isinstance(prospect.policy, Rejection) else (),
        weights=status.get("weights", ""),
        weights_before=stored.get("weights", ""),
        conditions=found,
        reasons=tuple(
            because.message
            for because in prospect.outcome.decision.because
            if not any(because.message in condition.message for condition in found)
        ),
    )


def _applied(prospect: Prospect) -> Change | None:
    after = _spec_only(prospect.proposed)
    if prospect.stored is None:
        return Change(Action.CREATE, KIND, prospect.key.name, "", None, after)
    before = _spec_only(prospect.stored)
    return None if before == after else Change(Action.UPDATE, KIND, prospect.key.name, "", before, after)


def _spec_only(policy: Any) -> dict[str, Any]:  # noqa: ANN401 (a JSON object)
    """Return a policy without its metadata: labels and annotations decide nothing."""
    return {"spec": policy.get("spec")}


def change_of(step: Foreseen) -> Change:
    """Return what a step does to its object."""
    ref = step.step.ref
    before = without_bookkeeping(step.live) if step.live else None
    after = without_bookkeeping(after_apply(step.live, step.step.body)) if isinstance(step.step, Apply) else None
    note = _note(step, same=before == after)
    return Change(_action(step), str(ref.kind), ref.name, note, before, after, ref.namespace)


def _action(step: Foreseen) -> Action:
    if not step.reached:
        return Action.WAITS
    if step.failure is not None:
        return Action.BLOCKED
    if not isinstance(step.step, Apply):
        return Action.DELETE
    if step.live is None:
        return Action.CREATE
    return Action.REPAIR if step.step.drift else Action.UPDATE


def _note(step: Foreseen, *, same: bool) -> str:
    if not step.reached:
        return "not before the blocked object is out of the way"
    if step.failure is not None:
        return _said(step.failure)
    if isinstance(step.step, Apply) and step.step.drift:
        return "someone changed it" if step.live else "someone deleted it"
    return "only the operator's own annotation differs" if same else ""


def _said(failure: StepFailure) -> str:
    return f"it belongs to {failure.by} and is left as it is" if isinstance(failure, Taken) else failure.message


def diff(change: Change) -> Iterator[str]:
    """Yield the lines of a unified diff of the YAML of both sides; none for what stays as it is."""
    if change.action in (Action.BLOCKED, Action.WAITS):
        return
    name = f"{change.kind}/{change.title}"
    before, after = _lines(change.before), _lines(change.after)
    yield from difflib.unified_diff(before, after, f"now/{name}", f"planned/{name}", n=_CONTEXT_LINES, lineterm="")


def _lines(body: dict[str, Any] | None) -> list[str]:
    return [] if body is None else yaml.safe_dump(body, width=120).splitlines()
