"""Policies in worlds of files, for the tests of what ``plan`` and ``explain`` make of them.

Nothing here needs a cluster: the world is a list of objects, and the operator's part is played by the core.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from aigateway.api.administrator import Administrator, ScalingDefaults
from aigateway.api.resolved import PolicyKey
from aigateway.cli.prospect import Prospect, look
from aigateway.cli.recorded import RecordedObjects
from aigateway.core.outcome import Apply
from tests.objects import Object, stored

NOW = 1_800_000_000.0
ADMINISTRATOR = Administrator(scaling=ScalingDefaults(prometheus_address="http://prometheus.monitoring:9090"))


def prospects(world: Sequence[Object], *proposed: Object, names: Sequence[str] = ()) -> list[Prospect]:
    """Return what would be done for proposed policies, and for those of the world with these names."""
    api = RecordedObjects(world, "models")
    keys = [PolicyKey("models", name) for name in names]
    return asyncio.run(look(nullcontext(api), ADMINISTRATOR, proposed, keys, NOW))


def settled(world: Sequence[Object], policy: Object, status: Object | None = None) -> list[Object]:
    """Return the world once the operator has done its work for a policy: with its children and its status.

    ``status`` is the one that it had before, from which the operator remembers.
    """
    (first,) = prospects([*world, stored(policy, status)], names=[policy["metadata"]["name"]])
    children = [dict(item.step.body) for item in first.steps if item.reached and isinstance(item.step, Apply)]
    return [*world, stored(policy, dict(first.report.status)), *children]


def changed(world: Sequence[Object], kind: str, name: str, **spec: Any) -> list[Object]:
    """Return the world with some fields of one object's spec changed by hand."""

    def change(raw: Object) -> Object:
        meant = (raw["kind"], raw["metadata"]["name"]) == (kind, name)
        return {**raw, "spec": {**raw["spec"], **spec}} if meant else raw

    return [change(raw) for raw in world]
