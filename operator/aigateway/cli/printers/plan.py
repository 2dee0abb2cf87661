"""A plan as people read it: each object's difference in the order of the writes, then what the status would say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from aigateway.cli.printers.common import condition_table, heading
from aigateway.cli.views.plan import Action, Change, PlanView, PolicyPlan, diff

_COLOURS = {
    Action.CREATE: "green",
    Action.UPDATE: "yellow",
    Action.REPAIR: "yellow",
    Action.DELETE: "red",
    Action.BLOCKED: "red",
    Action.WAITS: "dim",
}
_LINE_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def renderables(view: PlanView) -> Iterator[RenderableType]:
    """Yield the parts of the text, a blank line between policies."""
    for number, policy in enumerate(view.policies):
        if number:
            yield ""
        yield from _policy(policy)


def summary(view: PlanView) -> str:
    """Return the result in a few words."""
    changes = [change for policy in view.policies for change in (policy.applied, *policy.changes) if change]
    if not changes:
        return "no difference"
    counts = Counter(change.action for change in changes)
    return ", ".join(
        f"{counts[action]} to {action}" if action in _DONE else f"{counts[action]} {action}"
        for action in Action
        if counts[action]
    )


_DONE = (Action.CREATE, Action.UPDATE, Action.REPAIR, Action.DELETE)


def _policy(policy: PolicyPlan) -> Iterator[RenderableType]:
    yield heading(f"{policy.policy}: {_headline(policy)}")
    for problem in policy.problems:
        yield Text(f"  {problem}", style="red")
    for change in (policy.applied, *policy.changes):
        if change is not None:
            yield from _change(change)
    if policy.conditions:
        yield ""
        yield condition_table(policy.conditions, since=False)
        now = f" (now {policy.weights_before})" if policy.weights_before not in ("", policy.weights) else ""
        yield Text(f"  weights {policy.weights or 'none'}{now}")
    for reason in policy.reasons:
        yield Text(f"  - {reason}")


def _headline(policy: PolicyPlan) -> str:
    if policy.problems:
        return "invalid, nothing would be written"
    if not policy.differs:
        return "no difference"
    count = len(policy.changes)
    return (
        f"{count} generated {'object differs' if count == 1 else 'objects differ'}" if count else "the policy differs"
    )


def _change(change: Change) -> Iterator[Text]:
    note = f": {change.note}" if change.note else ""
    yield Text("")
    yield Text(f"{change.action} {change.kind} {change.title}{note}", style=_COLOURS[change.action])
    for line in diff(change):
        title = line.startswith(("---", "+++"))
        yield Text(line, style="bold" if title else _LINE_COLOURS.get(line[:1], ""))
