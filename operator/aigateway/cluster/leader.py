"""Which replica leads: an elector over one Lease object, and the fence that stops a replica that leads no more.

:mod:`aigateway.process` contends, holds and releases; :class:`aigateway.cluster.client.Client` asks the fence before
each write.  It knows neither policies nor queues.

Why two replicas never write at once:

- The holder renews every ``retry`` seconds by a compare-and-set on the resource version, and may write until
  ``renew_deadline`` after the moment when it *sent* the last renewal that was confirmed.
- Others count the Lease as expired once it has not changed for ``duration`` by their own clock, from the moment when
  they *read* it.  That is after the renewal was sent, and ``duration`` is longer than ``renew_deadline``.
- No wall clock is ever compared: the times inside the Lease are for people.  The clock that is used goes on while the
  process is stopped or the machine sleeps.

A write that began before the end of the fence can arrive late.  It is given up by the client when the fence ends, but
what the network holds it may still deliver: at most the one request that each policy in work had under way.  A status
or a deletion is then refused (409), for it names the resource version that it was meant for, as does the apply of a
child that exists.  The first apply of a child, sent for a policy of which the next leader writes the same child, can
arrive second; the next leader sees the difference and applies its own.  An event that arrives late is only late.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn, Protocol

from aigateway.cluster.client import ApiError, JsonObject
from aigateway.cluster.lease import Record, Register

log = logging.getLogger(__name__)

_NEVER = float("-inf")


class LeadLost(Exception):  # noqa: N818 (no error: another replica goes on)
    """This replica leads no more; the message says why."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: after how long others take over, how long a holder writes without a renewal, pause between tries."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    @property
    def request(self) -> float:
        """How long one request may take: a renewal without an answer leaves time for another."""
        return self.renew_deadline / 4


class Leadership(Protocol):
    """What the process asks for before it works: :class:`Elector`, or :class:`Alone`."""

    async def take(self) -> None:
        """Wait until this replica leads."""

    async def hold(self) -> NoReturn:
        """Stay the leader; ends with :class:`LeadLost` only."""

    async def release(self) -> None:
        """Stop leading by one's own will, after the last write."""

    def left(self) -> float:
        """Return for how many seconds from now a write may begin; not above 0: none may."""

    @property
    def transitions(self) -> int:
        """How often the lead has changed hands, as far as this replica knows."""


class Alone:
    """The lead of an operator that has no other replica: taken at once and never lost."""

    transitions = 0

    def __init__(self) -> None:
        self._left = math.inf

    async def take(self) -> None:
        """Return at once."""

    async def hold(self) -> NoReturn:
        """Wait for ever."""
        while True:
            await asyncio.Event().wait()

    async def release(self) -> None:
        """Let no write begin any more."""
        self._left = _NEVER

    def left(self) -> float:
        """Return for how many seconds a write may begin: without end, until the release."""
        return self._left


class Elector:
    """Contends for one register.  ``clock`` gives seconds that only ever go on."""

    def __init__(
        self,
        identity: str,
        register: Register,
        timing: Timing,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.identity = identity
        self._register = register
        self._timing = timing
        self._clock = clock or steady
        self._sleep = sleep
        self._until = _NEVER
        self._seen: Record | None = None
        self._version: str | None = None
        self._seen_at = _NEVER
        self._told = ""

    # The fence ----------------------------------------------------------------------------------------------------

    def left(self) -> float:
        """Return for how many seconds from now a write may begin; not above 0: none may."""
        return self._until - self._clock()

    def may_write(self) -> bool:
        """Whether a write may begin now."""
        return self.left() > 0

    @property
    def transitions(self) -> int:
        """How often the Lease has changed hands, as it says itself."""
        return self._seen.transitions if self._seen else 0

    # Taking, holding, releasing -----------------------------------------------------------------------------------

    async def take(self) -> None:
        """Wait until this replica leads."""
        while not await self._attempt():
            await self._sleep(self._pause())
        log.info("this replica (%s) leads", self.identity)

    async def hold(self) -> NoReturn:
        """Renew until that fails for too long, or another replica holds the Lease.

        Raises:
            LeadLost: always, at the end; the fence is closed by then.
        """
        fresh = True
        while True:
            await self._sleep(max(0.0, min(self._timing.retry, self.left())))
            self._require_lead(None)
            fresh = await self._renew(fresh=fresh)

    async def release(self) -> None:
        """Let the next replica lead at once; call it when no write is under way any more."""
        self._until = _NEVER
        try:
            found = await self._look()
            if found is not None and found.holder == self.identity:
                await self._register.replace(found.without_holder(_now()), self._limit())
                log.info("the lead is released")
        except ApiError as error:
            log.info("the lead could not be released, it ends by itself: %s", error)

    async def _attempt(self) -> bool:
        """Look, and take the Lease if it is free; whether this replica leads now."""
        try:
            found = await self._look()
            if not self._is_free(found):
                self._tell(f"{self._seen.holder if self._seen else 'another replica'} leads; standing by")
                return False
            await self._write(found)
        except ApiError as error:
            self._tell(f"the Lease cannot be taken, it is tried again: {error}", logging.WARNING)
            return False
        if not self.may_write():  # the answer came too late to be of use; the next attempt finds our name
            self._until = _NEVER
        return self.may_write()

    async def _renew(self, *, fresh: bool) -> bool:
        """Renew once, onto what is known or (after a failure, ``fresh`` False) what is there; whether it worked."""
        try:
            found = self._seen if fresh else await self._look()
            self._require_lead(found)
            await self._write(found)
        except ApiError as error:
            log.warning("the Lease was not renewed, %.1f s are left to try: %s", max(0.0, self.left()), error)
            return False
        return True

    def _require_lead(self, found: Record | None) -> None:
        if found is not None and found.holder not in ("", self.identity):
            self._until = _NEVER
            raise LeadLost(f"{found.holder} leads now")
        if not self.may_write():
            self._until = _NEVER
            raise LeadLost(f"the Lease was not renewed for {self._timing.renew_deadline:.0f} s")

    # The register -------------------------------------------------------------------------------------------------

    async def _look(self) -> Record | None:
        raw = await self._register.read(self._limit())
        found = None if raw is None else Record(raw)
        self._saw(found)
        return found

    async def _write(self, found: Record | None) -> None:
        """Write our name onto exactly what was found; the fence opens from the moment of sending."""
        spec, sent = self._claim(found), self._clock()
        if found is None:
            raw = await self._register.create(spec, self._limit())
        else:
            raw = await self._register.replace(found.with_spec(spec), self._limit())
        self._saw(Record(raw))
        self._until = sent + self._timing.renew_deadline

    def _saw(self, record: Record | None) -> None:
        """Note what is there now (None: nothing), and since when it has been so."""
        version = record.version if record else None
        if version != self._version:
            self._version, self._seen_at = version, self._clock()
        self._seen = record or self._seen

    def _claim(self, found: Record | None) -> JsonObject:
        now, old = _now(), found.spec if found else {}
        mine = found is not None and found.holder == self.identity
        return {
            **old,
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self._timing.duration),
            "acquireTime": old.get("acquireTime") if mine else now,
            "renewTime": now,
            "leaseTransitions": (found.transitions + (not mine)) if found else 0,
        }

    def _is_free(self, found: Record | None) -> bool:
        """Whether the Lease may be taken; one emptied or deleted by hand counts until it would have expired."""
        last = found or self._seen
        if last is None or last.released or last.holder == self.identity:
            return True
        return self._clock() >= self._expires_at()

    def _expires_at(self) -> float:
        promised = self._seen.duration if self._seen else 0.0
        return self._seen_at + max(promised, self._timing.duration)

    # Pauses -------------------------------------------------------------------------------------------------------

    def _limit(self) -> float:
        """Return how long the next request may take: a holder's not beyond its fence."""
        request = self._timing.request
        return request if self._until == _NEVER else max(0.0, min(request, self.left()))

    def _pause(self) -> float:
        """Return how long to wait for the next look: at the longest until the Lease expires."""
        left = self._expires_at() - self._clock()
        return min(self._timing.retry, left) if left > 0 else self._timing.retry

    def _tell(self, text: str, level: int = logging.INFO) -> None:
        """Log what has changed since the last look, not each look."""
        if text != self._told:
            log.log(level, "%s", text)
            self._told = text


def steady() -> float:
    """Return seconds that go on while the process is stopped and, where the system can tell, while it sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def new_identity() -> str:
    """Return a name for this process that no other has, not even an earlier one of the same pod."""
    host = os.environ.get("HOSTNAME") or socket.gethostname()
    return f"{host}_{uuid.uuid4().hex[:8]}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
