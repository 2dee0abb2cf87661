"""Executes the steps of a plan and writes status: the only place that changes objects of the cluster.

:mod:`aigateway.engine` calls it.  It knows how to write safely (who owns an object, what a conflict
means) and tells the caches what was written; what should be written, and why, it does not know.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aigateway.api.resolved import PolicyKey
from aigateway.cluster.client import ApiError, Client, JsonObject
from aigateway.cluster.resources import CHILDREN, FIELD_MANAGER, POLICIES
from aigateway.cluster.store import Entry
from aigateway.cluster.world import World
from aigateway.core.identity import controller_of, owner_of, place_of
from aigateway.core.observation import ChildRef, ChildState, Json
from aigateway.core.outcome import Apply, Delete, Failed, Step, StepFailure, Taken

log = logging.getLogger(__name__)

_MESSAGE_LENGTH = 500


class Conflict(Exception):  # noqa: N818 (no error: someone else was faster, look again)
    """An object is not in the state that the decision was made for."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a step was not done, and how many seconds the server wants to be left alone."""

    failure: StepFailure
    retry_after: float = 0.0


class Writer:
    """Writes through one client, and through to the caches of one world."""

    def __init__(self, client: Client, world: World) -> None:
        self._client = client
        self._world = world

    async def take(self, key: PolicyKey, uid: str, step: Step) -> Trouble | None:
        """Take one step for the policy with this ``uid``; None: done.

        Raises:
            Conflict: the object has changed since the decision.
        """
        try:
            if isinstance(step, Delete):
                await self._delete(key, step)
                return None
            return await self._apply(key, uid, step)
        except ApiError as error:
            if error.conflict:
                raise Conflict(f"{step.ref}: {error.message}") from error
            log.warning("%s of policy %s was not written, it is tried again: %s", step.ref, key, shown(str(error)))
            return Trouble(Failed(shown(str(error))), error.retry_after or 0.0)

    async def remove_orphan(self, key: PolicyKey, ref: ChildRef, child: ChildState) -> Trouble | None:
        """Delete what a policy that is no more has left in another namespace; None: done, or its policy is there.

        Raises:
            Conflict: the object has changed since.
        """
        try:
            found = await self._client.find(POLICIES, key.namespace, key.name)
        except ApiError as error:
            return Trouble(Failed(shown(str(error))), error.retry_after or 0.0)
        if found is not None and found["metadata"]["uid"] == child.owner:
            self._world.policies.put(found)  # the watch lags behind
            return None
        uid = child.owner or ""
        return await self.take(key, uid, Delete(ref, child.uid, child.resource_version, required=False))

    async def write_status(self, policy: Entry[Json], status: Mapping[str, Any]) -> Entry[Json]:
        """Write the whole status onto exactly this state of the policy; return the new state.

        Raises:
            Conflict: the policy has changed since, or is gone.
            ApiError: the server refused or did not answer.
        """
        body = {
            "apiVersion": POLICIES.api_version,
            "kind": POLICIES.kind,
            "metadata": {
                "name": policy.name,
                "namespace": policy.namespace,
                "uid": policy.uid,
                "resourceVersion": str(policy.resource_version),
            },
            "status": status,
        }
        try:
            written = await self._client.apply_status(POLICIES, body)
        except ApiError as error:
            if error.missing:
                self._world.policies.deleted(policy.namespace, policy.name, policy.uid)
            if error.conflict or error.missing:
                raise Conflict(error.message) from error
            raise
        self._world.policies.written(written)
        return self._world.policies.get(policy.namespace, policy.name) or policy

    async def _apply(self, key: PolicyKey, uid: str, step: Apply) -> Trouble | None:
        resource, store = CHILDREN[step.ref.kind], self._world.children[step.ref.kind]
        namespace = step.ref.namespace or key.namespace
        known = store.get(namespace, step.ref.name) if step.exists else None
        version = str(known.resource_version) if known else None
        if step.drift and not step.exists:
            await self._require_policy(key, uid)
        if known is None:
            found = await self._client.get(resource, namespace, step.ref.name)
            if found is not None and (refused := not_writable(found, uid)) is not None:
                self._world.is_in_the_way(key, step.ref)
                return Trouble(refused)
            version = found["metadata"]["resourceVersion"] if found else None
        written = await self._client.apply(resource, _onto(step.body, version), force=version is not None)
        store.put(written)
        log.info("wrote %s of policy %s%s", step.ref, key, ", which someone had changed" if step.drift else "")
        return None

    async def _require_policy(self, key: PolicyKey, uid: str) -> None:
        """Make sure that a policy is still there before a child that has gone is written again.

        Children go with their policy.  Where the watch of policies lags behind, they would be written and
        collected as garbage over and over.

        Raises:
            Conflict: the policy is gone, going, or another of that name; the cache knows it now.
        """
        found = await self._client.find(POLICIES, key.namespace, key.name)
        if found is None:
            self._world.policies.deleted(key.namespace, key.name, uid)
            raise Conflict(f"policy {key} is gone")
        self._world.policies.put(found)
        if found["metadata"]["uid"] != uid or "deletionTimestamp" in found["metadata"]:
            raise Conflict(f"policy {key} is going, or is another one now")

    async def _delete(self, key: PolicyKey, step: Delete) -> None:
        resource, store = CHILDREN[step.ref.kind], self._world.children[step.ref.kind]
        namespace = step.ref.namespace or key.namespace
        try:
            left = await self._client.delete(
                resource, namespace, step.ref.name, uid=step.uid, resource_version=step.resource_version
            )
        except ApiError as error:
            if not error.missing:
                raise
            left = {}
        log.info("deleted %s of policy %s", step.ref, key)
        if "deletionTimestamp" in left.get("metadata", {}):
            store.put(left)  # a finalizer holds it: it is gone when the watch says so
        else:
            store.deleted(namespace, step.ref.name, step.uid)


def _onto(body: Json, version: str | None) -> Json:
    """Return what to apply so that it is refused unless the object is in this state; None: it is not there.

    Otherwise a request that the network has held back could undo what the next leader wrote.
    """
    return body if version is None else {**body, "metadata": {**body["metadata"], "resourceVersion": version}}


def not_writable(found: JsonObject, uid: str) -> StepFailure | None:
    """Return why an object under the name of a generated one can't be written, None if it is this policy's."""
    if owner_of(found) != uid:
        if place_of(found):
            return Failed("the object of an earlier policy of this name is still there")
        return Taken(_owner_of(found, controller_of(found)))
    if "deletionTimestamp" in found["metadata"]:
        return Failed("the earlier object of this name is still being deleted")
    return None


def _owner_of(found: JsonObject, owner: Json | None) -> str:
    """Say whose an object is, by its controller or else by who wrote it."""
    if owner is not None:
        return f"{owner.get('kind')} {owner.get('name')}"
    writers = {str(item.get("manager")) for item in found["metadata"].get("managedFields") or ()} - {FIELD_MANAGER}
    return f"whoever wrote it with {', '.join(sorted(writers))}" if writers else "nobody"


def shown(text: str) -> str:
    """Return a text of someone else's as it may stand in logs and status: one line, bounded."""
    return " ".join(text.split())[:_MESSAGE_LENGTH]
