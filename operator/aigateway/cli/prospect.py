"""What the operator would do for one policy now, and what it would then say: the input of ``plan`` and ``explain``.

Everything is decided by the core, on the world of a snapshot; only what the executor would read before a write (whose
object is there under that name?) is read ahead here.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import click

from aigateway.api.administrator import Administrator
from aigateway.api.problems import Rejection
from aigateway.api.resolved import PolicyKey, ResolvedPolicy
from aigateway.cluster.client import JsonObject
from aigateway.cluster.snapshot import Api, Snapshot, key_of, take
from aigateway.cluster.writer import not_writable
from aigateway.core.observation import Json, Observation
from aigateway.core.outcome import Apply, Outcome, Report, Step, StepFailure, StepResult
from aigateway.core.reconcile import reconcile
from aigateway.core.status import report


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One step of the plan.  ``live`` is the whole object now (None: there is none).

    ``failure`` tells why it would not be done, and ``reached`` is False where an earlier failure ends the plan.
    """

    step: Step
    live: JsonObject | None
    failure: StepFailure | None
    reached: bool


@dataclass(frozen=True, slots=True)
class Prospect:
    """One policy: ``stored`` as it is in the cluster (None: it is not), ``proposed`` as it is decided on."""

    key: PolicyKey
    stored: JsonObject | None
    proposed: Json
    policy: ResolvedPolicy | Rejection
    observation: Observation
    outcome: Outcome
    steps: tuple[Foreseen, ...]
    report: Report


async def look(
    source: AbstractAsyncContextManager[Api],
    administrator: Administrator,
    proposed: Sequence[JsonObject],
    keys: Sequence[PolicyKey],
    now: float,
) -> list[Prospect]:
    """Take one look and return the prospects of the ``proposed`` policies and of those that are there under ``keys``.

    What could not be seen is said on stderr.

    Raises:
        ClickException: a policy is not there, or is being deleted.
    """
    async with source as api:
        snapshot = await take(api, administrator, {key.namespace for key in keys}, proposed, now)
        found = []
        for key in dict.fromkeys([*map(key_of, proposed), *keys]):
            prospect = await foresee(snapshot, key, administrator, now)
            if prospect is None:
                what = "is being deleted" if key in snapshot.stored else "does not exist"
                message = f"policy {key} {what}"
                raise click.ClickException(message)
            found.append(prospect)
    for text in snapshot.unseen:
        click.echo(f"note: {text}", err=True)
    return found


async def foresee(snapshot: Snapshot, key: PolicyKey, administrator: Administrator, now: float) -> Prospect | None:
    """Return what would be done for a policy of the snapshot; None where it is not there or is being deleted."""
    entry = snapshot.world.policy(key)
    if entry is None:
        return None
    policy = snapshot.world.index.resolved(key)
    observation = snapshot.world.observe(key, policy, entry.value.get("status") or {})
    outcome = reconcile(policy, observation, administrator, now)
    steps = await _execute(snapshot, key, entry.uid, outcome)
    results = tuple(StepResult(item.step, item.failure) for item in steps if item.reached)
    generation = int(entry.value["metadata"].get("generation", 0))
    told = report(generation, outcome, results, observation, now)
    return Prospect(key, snapshot.stored.get(key), entry.value, policy, observation, outcome, steps, told)


async def _execute(snapshot: Snapshot, key: PolicyKey, uid: str, outcome: Outcome) -> tuple[Foreseen, ...]:
    """Go through the steps as the engine would: a failed required one is the last that is reached."""
    steps: list[Foreseen] = []
    reached = True
    for step in outcome.plan:
        live = await snapshot.child(key.namespace, step.ref)
        failure = not_writable(live, uid) if live and isinstance(step, Apply) and not step.exists else None
        steps.append(Foreseen(step, live, failure if reached else None, reached))
        reached = reached and not (failure and step.required)
    return tuple(steps)
