"""Posts Kubernetes events about policies, in the background and at a bounded rate.

:mod:`aigateway.engine` hands them over.  An event is a courtesy: one that cannot be posted is logged and dropped, and
never holds a reconcile up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from aigateway.cluster.client import ApiError, JsonObject
from aigateway.cluster.resources import EVENTS, FIELD_MANAGER, POLICIES, Resource
from aigateway.cluster.store import Entry
from aigateway.core.observation import Json
from aigateway.core.outcome import Event

log = logging.getLogger(__name__)

_NOTE_LENGTH = 1024
"""The API server refuses a longer note."""
_BURST = 20.0
_PER_SECOND = 1 / 30
_WAITING = 1000
_REMEMBERED = 10_000


class Api(Protocol):
    """What the recorder needs of :class:`aigateway.cluster.client.Client`."""

    async def create(self, resource: Resource, body: JsonObject) -> JsonObject:
        """Create one object."""


class Budget:
    """A token bucket per policy: 20 events at once, then two a minute.  A policy never silences another."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def spend(self, uid: str, now: float) -> bool:
        """Take one token of a policy; False where none is left."""
        left, at = self._left.pop(uid, (_BURST, now))
        left = min(_BURST, left + (now - at) * _PER_SECOND)
        allowed = left >= 1
        self._left[uid] = (left - 1 if allowed else left, now)
        if len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)
        return allowed


class Recorder:
    """Queues events and posts them one after the other."""

    def __init__(self, api: Api, clock: Callable[[], float] = time.time) -> None:
        self._api = api
        self._clock = clock
        self._budget = Budget()
        self._queue: asyncio.Queue[JsonObject] = asyncio.Queue(_WAITING)
        self._instance = os.environ.get("HOSTNAME") or socket.gethostname()
        self._count = 0

    def post(self, policy: Entry[Json], events: Iterable[Event]) -> None:
        """Hand over events about a policy; those over its budget are logged only."""
        for event in events:
            if not self._budget.spend(policy.uid, self._clock()):
                log.info("too many events on %s/%s, not posted: %s", policy.namespace, policy.name, event.reason)
                continue
            try:
                self._queue.put_nowait(self._body(policy, event))
            except asyncio.QueueFull:
                log.warning("events wait faster than they are posted; dropped: %s on %s", event.reason, policy.name)

    async def run(self) -> None:
        """Post what is handed over until cancelled."""
        while True:
            body = await self._queue.get()
            try:
                await self._api.create(EVENTS, body)
            except ApiError as error:
                log.warning("event %s on %s was not posted: %s", body["reason"], body["regarding"]["name"], error)
            finally:
                self._queue.task_done()

    async def flush(self) -> None:
        """Wait until everything handed over so far is posted or dropped."""
        await self._queue.join()

    def _body(self, policy: Entry[Json], event: Event) -> dict[str, Any]:
        now = self._clock()
        self._count += 1
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "name": f"{policy.name}.{int(now * 1e6):x}{self._count & 0xFFF:03x}",
                "namespace": policy.namespace,
            },
            "eventTime": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": f"{POLICIES.group}/{FIELD_MANAGER}",
            "reportingInstance": self._instance[:128],
            "action": "Reconcile",
            "reason": str(event.reason),
            "type": str(event.type),
            "note": event.message[:_NOTE_LENGTH],
            "regarding": {
                "apiVersion": POLICIES.api_version,
                "kind": POLICIES.kind,
                "namespace": policy.namespace,
                "name": policy.name,
                "uid": policy.uid,
                "resourceVersion": str(policy.resource_version),
            },
        }
