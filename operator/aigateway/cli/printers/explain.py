"""An explanation as people read it: a part for each decision, in the order in which a request meets them."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from aigateway.cli.printers.common import condition_table, heading, table
from aigateway.cli.views.common import ConditionView
from aigateway.cli.views.explain import BackendView, ExplainView, PolicyExplained, RetriesView, ScalingView

_OBJECT_COLOURS = {"in place": "green", "blocked": "red", "kept": "yellow"}


def renderables(view: ExplainView) -> Iterator[RenderableType]:
    """Yield the parts of the text, a blank line between policies."""
    for number, policy in enumerate(view.policies):
        if number:
            yield ""
        yield from _policy(policy)


def _policy(policy: PolicyExplained) -> Iterator[RenderableType]:
    suspended = ", suspended" if policy.suspended else ""
    yield heading(f"{policy.policy}: generation {policy.generation}, {_looked(policy)}{suspended}")
    yield from _part("Conditions", condition_table(policy.conditions, since=True), policy.conditions)
    title = "Conditions once the operator has looked"
    yield from _part(title, condition_table(policy.expected, since=False), policy.expected)
    yield from _remedies((*policy.conditions, *policy.expected))
    yield from _part("Entrances", table(("", ""), ((e.host, e.via) for e in policy.entrances)), policy.entrances)
    rows = ((r.name or "everything else", " or ".join(r.matches), f"to {r.to}") for r in policy.routes)
    yield from _part("Routes, the first that matches wins", table(("", "", ""), rows), policy.routes)
    yield from _backends(policy.backends)
    yield from _part("Bounds", table(("", ""), ((s.name, s.value) for s in policy.settings)), policy.settings)
    yield from _retries(policy.retries)
    yield from _scaling(policy.scaling)
    objects = (
        (o.kind, o.title, Text(o.state, style=_OBJECT_COLOURS.get(o.state, "yellow")), o.note) for o in policy.objects
    )
    yield from _part("Generated objects", table(("", "", "", ""), objects), policy.objects)
    skipped = ((item["field"], f"{item['reason']}: {item['message']}") for item in policy.skipped)
    yield from _part("Without effect", table(("", ""), skipped), policy.skipped)
    steps = ((step.time, step.what, f"{step.before} to {step.to}", step.why) for step in policy.history)
    yield from _part("What was decided by metrics, the newest last", table(("", "", "", ""), steps), policy.history)
    yield from _part("Reasons", table(("",), ((reason,) for reason in policy.reasons)), policy.reasons)


def _looked(policy: PolicyExplained) -> str:
    if policy.observed_generation is None:
        return "the operator has not looked at it"
    late = policy.observed_generation != policy.generation
    return f"the operator has looked at {policy.observed_generation}" if late else "the operator has looked at it"


def _part(title: str, body: RenderableType, content: object) -> Iterator[RenderableType]:
    """Yield a part with its title, where there is something in it."""
    if content:
        yield ""
        yield heading(title)
        yield body


def _remedies(conditions: tuple[ConditionView, ...]) -> Iterator[Text]:
    for remedy in dict.fromkeys(item.remedy for item in conditions if item.remedy):
        yield Text(f"  What to do: {remedy}", style="yellow")


def _backends(backends: tuple[BackendView, ...]) -> Iterator[RenderableType]:
    columns = (
        "NAME",
        "WEIGHT",
        "ASKED",
        "IN EFFECT",
        "REASON",
        "SERVICE",
        "READY",
        "AVAILABLE",
        "WORKLOAD",
        "REPLICAS",
    )
    yield from _part("Backends", table(columns, map(_backend, backends)), backends)
    for reason, meaning in dict.fromkeys((b.reason, b.meaning) for b in backends if b.weight != b.asked):
        yield Text(f"  {reason}: {meaning}")


def _backend(backend: BackendView) -> tuple[str | Text, ...]:
    in_effect = "-" if backend.in_effect is None else str(backend.in_effect)
    service = f"{backend.service}:{backend.port}" if backend.port else backend.service
    return (
        backend.name,
        str(backend.weight),
        str(backend.asked),
        Text(in_effect, style="" if backend.in_effect == backend.weight else "yellow"),
        backend.reason,
        service,
        "no Service" if backend.endpoints is None else str(backend.endpoints),
        Text("yes", style="green") if backend.available else Text("no", style="red"),
        backend.workload,
        backend.replicas or "not there",
    )


def _retries(retries: RetriesView | None) -> Iterator[RenderableType]:
    if retries is None:
        return
    yield ""
    yield heading(f"Adaptive retries: {retries.level} of {retries.asked} since {retries.since}")
    yield Text(f"  {retries.reason}: {retries.message}", style="" if retries.level == retries.asked else "yellow")
    if retries.inputs:
        rows = ((i.backend, i.metric, i.value, i.threshold, i.age, i.verdict) for i in retries.inputs)
        yield table(("BACKEND", "METRIC", "WAS", "BOUND", "AGE", "VERDICT"), rows)


def _scaling(scaling: tuple[ScalingView, ...]) -> Iterator[RenderableType]:
    if scaling:
        yield ""
        yield heading("Scaling, the rule that asks for most wins")
    for item in scaling:
        bounds = f"{item.min_replicas} to {item.max_replicas} replicas"
        yield Text(f"  {item.backend}: {bounds}, by ScaledObject {item.scaled_object}")
        rows = ((t.type, t.metric, t.threshold, t.query or "") for t in item.triggers)
        yield table(("", "", "", ""), rows, indent=4)
