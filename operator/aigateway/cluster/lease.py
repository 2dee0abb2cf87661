"""The Lease object that replicas take turns in holding: what it says, and how it is read and written.

:mod:`aigateway.cluster.leader` decides by it who leads.  It knows no clock and no policy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aigateway.cluster.client import ApiError, Call, Client, JsonObject
from aigateway.cluster.resources import LEASES

_RELEASED_SECONDS = 1
"""The duration in a Lease that was released: the shortest that the API server accepts."""


@dataclass(frozen=True, slots=True)
class Record:
    """One state of the Lease object."""

    raw: JsonObject

    @property
    def spec(self) -> JsonObject:
        """The object's spec."""
        found: JsonObject = self.raw.get("spec") or {}
        return found

    @property
    def holder(self) -> str:
        """Identity of the holder; empty: nobody holds it."""
        return self.spec.get("holderIdentity") or ""

    @property
    def duration(self) -> float:
        """Seconds after which others may take it, as its holder has promised them."""
        return float(self.spec.get("leaseDurationSeconds") or 0)

    @property
    def released(self) -> bool:
        """Whether its holder gave it up; a name that was emptied by hand is no proof that it has stopped writing."""
        return not self.holder and self.duration <= _RELEASED_SECONDS

    @property
    def transitions(self) -> int:
        """How often it has changed hands."""
        return int(self.spec.get("leaseTransitions") or 0)

    @property
    def version(self) -> str:
        """The resource version: differs whenever anything was written."""
        version: str = self.raw["metadata"]["resourceVersion"]
        return version

    def without_holder(self, now: str) -> JsonObject:
        """Return the whole object as its holder leaves it."""
        return self.with_spec(
            {**self.spec, "holderIdentity": "", "leaseDurationSeconds": _RELEASED_SECONDS, "renewTime": now}
        )

    def with_spec(self, spec: Mapping[str, Any]) -> JsonObject:
        """Return the whole object with another spec, to be written onto exactly this state."""
        return {**self.raw, "spec": dict(spec)}


class Register(Protocol):
    """One Lease object as a register with compare-and-set.  No call takes longer than ``seconds``.

    All raise :class:`ApiError`: a conflict where the object is not in the state that the write was meant for.
    """

    async def read(self, seconds: float) -> JsonObject | None:
        """Return the object, None where it does not exist."""

    async def create(self, spec: JsonObject, seconds: float) -> JsonObject:
        """Create the object and return it."""

    async def replace(self, body: JsonObject, seconds: float) -> JsonObject:
        """Write onto exactly the state that ``body`` was made from, and return the new one."""


class LeaseObject:
    """The Lease object of the cluster as a :class:`Register`."""

    def __init__(self, client: Client, namespace: str, name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name

    async def read(self, seconds: float) -> JsonObject | None:
        """Return the object, None where it does not exist."""
        try:
            return await self._call("get", "GET", self._name, None, seconds)
        except ApiError as error:
            if error.missing:
                return None
            raise

    async def create(self, spec: JsonObject, seconds: float) -> JsonObject:
        """Create the object and return it."""
        metadata = {"name": self._name, "namespace": self._namespace}
        body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        return await self._call("create", "POST", "", body, seconds)

    async def replace(self, body: JsonObject, seconds: float) -> JsonObject:
        """Write onto exactly the state that ``body`` was made from, and return the new one."""
        return await self._call("update", "PUT", self._name, body, seconds)

    async def _call(self, verb: str, method: str, name: str, body: JsonObject | None, seconds: float) -> JsonObject:
        path = LEASES.path(self._namespace, name)
        try:
            # Bounds a login on the way as well.
            async with asyncio.timeout(seconds):
                return await self._client.call(Call(verb, LEASES.label, method, path, body=body, fenced=False))
        except TimeoutError as error:
            raise ApiError(0, "Timeout", f"{verb} {LEASES.label}: no answer within {seconds:.1f} s") from error
