"""Electors over one Lease under a virtual clock: the real coroutines, stepped through a network that a test bends.

Every elector has a clock of its own that differs from all others by a constant.  All times are multiples of an eighth
of a second, so that they are exact.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Coroutine, Generator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aigateway.cluster.client import ApiError
from aigateway.cluster.leader import Elector, LeadLost, Timing

TIMING = Timing(duration=15.0, renew_deadline=10.0, retry=2.0)
OFFSET = 1000.0
"""Between the clocks of one elector and the next."""


class Network(StrEnum):
    """What becomes of the requests that an elector sends from now on."""

    PROMPT = "prompt"
    DEAF = "deaf"
    """They arrive; no answer comes back."""
    HELD = "held"
    """They wait for :meth:`Simulation.deliver`."""


@dataclass(eq=False)
class Pending:
    """What a coroutine waits for: the end of a sleep (``verb`` empty), or the answer to a request."""

    until: float
    verb: str = ""
    body: dict[str, Any] | None = None
    done: bool = False
    answer: dict[str, Any] | None = None
    error: ApiError | None = None

    def __await__(self) -> Generator[Pending, None, Any]:
        """Wait until the simulation says that it is done."""
        while not self.done:
            yield self
        if self.error is not None:
            raise self.error
        return copy.deepcopy(self.answer)


@dataclass(eq=False)
class Actor:
    """One elector, its clock, its network, and where its coroutine waits.  It is its elector's register."""

    simulation: Simulation
    name: str
    offset: float
    network: Network = Network.PROMPT
    paused: bool = False
    ended: str = ""
    waits: Pending | None = None
    life: Coroutine[Pending, None, None] | None = None

    def __post_init__(self) -> None:
        """Begin to contend."""
        self.elector = Elector(self.name, self, TIMING, lambda: self.simulation.now + self.offset, self.sleep)
        self.life = self._live()

    async def _live(self) -> None:
        await self.elector.take()
        await self.elector.hold()

    def sleep(self, seconds: float) -> Pending:
        """Sleep by the virtual clock."""
        return Pending(self.simulation.now + seconds)

    async def read(self, seconds: float) -> dict[str, Any] | None:
        """Return the Lease."""
        return await self._send("read", None, seconds)

    async def create(self, spec: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Create the Lease."""
        return await self._send("create", {"metadata": {}, "spec": spec}, seconds) or {}

    async def replace(self, body: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Write the Lease by compare-and-set."""
        return await self._send("replace", body, seconds) or {}

    async def _send(self, verb: str, body: dict[str, Any] | None, seconds: float) -> dict[str, Any] | None:
        request = Pending(self.simulation.now + seconds, verb, copy.deepcopy(body))
        self.simulation.sent(self, request)
        found: dict[str, Any] | None = await request
        return found

    def go_on(self) -> None:
        """Run the coroutine until it has to wait."""
        while self.life is not None and not self.paused and (self.waits is None or self.waits.done):
            try:
                self.waits = self.life.send(None)
            except StopIteration:
                self.ended, self.life = "stopped", None
            except LeadLost as lost:
                self.ended, self.life = str(lost), None

    def end(self, *, release: bool) -> None:
        """End the coroutine, as a cancelled task or (without ``release``) a killed process."""
        if self.life is not None:
            self.life.close()
        self.waits = None
        self.life = self.elector.release() if release else None
        if not release:
            self.elector._until = -math.inf  # a process that is dead writes nothing
            self.ended = "killed"


@dataclass
class Simulation:
    """The register, the time and the electors; verbs take names, so that a test can be written as text."""

    now: float = 0.0
    lease: dict[str, Any] | None = None
    version: int = 0
    actors: dict[str, Actor] = field(default_factory=dict)
    held: list[Pending] = field(default_factory=list)

    # What a test does ---------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start an elector under a new name."""
        self.actors[name] = Actor(self, name, OFFSET * (len(self.actors) + 1))
        self._settle()

    def wait(self, seconds: str | float) -> None:
        """Let time pass, event by event."""
        end = self.now + float(seconds)
        while (due := self._next_due()) <= end:
            self.now = max(self.now, due)
            self._settle()
        self.now = end
        self._settle()

    def pause(self, name: str) -> None:
        """Stop a process, as SIGSTOP does."""
        self.actors[name].paused = True

    def resume(self, name: str) -> None:
        """Let it go on."""
        self.actors[name].paused = False
        self._settle()

    def set(self, name: str, network: str) -> None:
        """Change an elector's network."""
        self.actors[name].network = Network(network)

    def kill(self, name: str) -> None:
        """End a process without a word."""
        self.actors[name].end(release=False)

    def stop(self, name: str) -> None:
        """End a process by its own will."""
        self.actors[name].end(release=True)
        self._settle()

    def deliver(self, number: str | int = 0) -> None:
        """Let a held request arrive now, and its answer, whether or not its sender still waits."""
        request = self.held.pop(int(number))
        answer, error = self._serve(request)
        if not request.done:
            request.answer, request.error, request.done = answer, error, True
        self._settle()

    def delete(self) -> None:
        """Delete the Lease by hand."""
        self.lease = None

    def record(self, holder: str, seconds: str = "15") -> None:
        """Let the Lease say that someone holds it (``nobody``: no one), renewed in a far future."""
        spec = {"holderIdentity": "" if holder == "nobody" else holder, "leaseDurationSeconds": int(seconds)}
        self._store({"metadata": {}, "spec": spec | {"renewTime": "2199-01-01T00:00:00.000000Z"}})

    def close(self) -> None:
        """End every process."""
        for actor in self.actors.values():
            if actor.life is not None:
                actor.life.close()

    # What a test looks at -----------------------------------------------------------------------------------------

    def writers(self) -> list[str]:
        """Return who may write now."""
        return [name for name, actor in self.actors.items() if actor.elector.may_write()]

    def holder(self) -> str:
        """Return whom the Lease names."""
        return str(self.lease["spec"]["holderIdentity"]) if self.lease else ""

    # How it works -------------------------------------------------------------------------------------------------

    def sent(self, actor: Actor, request: Pending) -> None:
        """Take a request that an elector sends."""
        if actor.network is Network.HELD:
            self.held.append(request)
            return
        answer, error = self._serve(request)
        if actor.network is Network.PROMPT:
            request.answer, request.error, request.done = answer, error, True

    def _serve(self, request: Pending) -> tuple[dict[str, Any] | None, ApiError | None]:
        body, there = request.body, self.lease
        if request.verb == "read":
            return copy.deepcopy(there), None
        known = (body or {}).get("metadata", {}).get("resourceVersion")
        if known != (there["metadata"]["resourceVersion"] if there else None):
            return None, ApiError(409, "Conflict", "the object has been modified")
        return self._store(body or {}), None

    def _store(self, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = copy.deepcopy(body) | {"metadata": {"resourceVersion": str(self.version)}}
        return copy.deepcopy(self.lease)

    def _next_due(self) -> float:
        waits = (actor.waits for actor in self.actors.values() if actor.life is not None and not actor.paused)
        return min((item.until for item in waits if item is not None and not item.done), default=math.inf)

    def _settle(self) -> None:
        """Let everyone go on who can, and hold that never two may write."""
        for actor in self.actors.values():
            waits = actor.waits
            if waits is not None and not waits.done and not actor.paused and waits.until <= self.now:
                waits.error = ApiError(0, "Timeout", "no answer in time") if waits.verb else None
                waits.done = True
            actor.go_on()
            assert len(self.writers()) <= 1, self.writers()
