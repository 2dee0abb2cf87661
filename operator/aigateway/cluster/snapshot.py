"""One look at the cluster, without watching it: the same parsing and the same world as the running operator's.

The command line uses it for ``plan`` and ``explain``.  Where objects come from (an API server, files) is the caller's
choice; what they mean is :mod:`aigateway.cluster.world`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from aigateway.api.administrator import Administrator
from aigateway.api.resolved import PolicyKey
from aigateway.cluster.client import ApiError, JsonObject, Listing
from aigateway.cluster.reflector import Sink
from aigateway.cluster.resources import (
    CHILD_SELECTORS,
    CHILDREN,
    DEFINITIONS,
    ENDPOINT_SLICES,
    POLICIES,
    SERVICES,
    WORKLOADS,
    Resource,
)
from aigateway.cluster.world import Presence, World
from aigateway.core.features import lacking
from aigateway.core.observation import ChildKind, ChildRef, Feature
from aigateway.core.status import timestamp

NEW_UID = "(set when the policy is created)"
"""The uid of a policy that is not in the cluster."""

_LONG_AGO = 0.0
"""Since when endpoints are as they are: one look cannot tell, so readiness counts as settled."""


class Api(Protocol):
    """Where objects are read: :class:`aigateway.cluster.client.Client`, or files."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JsonObject | None:
        """Return one object, None where it does not exist."""

    async def kinds(self, resource: Resource) -> frozenset[str]:
        """Return the plurals that the resource's group and version serves."""

    def pages(self, resource: Resource, namespace: str | None, selector: str) -> AsyncIterator[Listing]:
        """Yield a collection page by page."""


@dataclass(slots=True)
class Snapshot:
    """What was seen.  ``world`` holds the policies as they are proposed, ``stored`` as they are in the cluster.

    ``unseen`` says what could not be looked at and is not taken into account.  ``envoy_filters`` are the namespaces in
    which EnvoyFilters may be written: without any, none are looked at.
    """

    api: Api
    world: World
    stored: dict[PolicyKey, JsonObject] = field(default_factory=dict)
    envoy_filters: tuple[str, ...] = ()
    unseen: list[str] = field(default_factory=list)
    _originals: dict[tuple[str, ChildKind, str], JsonObject] = field(default_factory=dict)

    async def child(self, namespace: str, ref: ChildRef) -> JsonObject | None:
        """Return the whole object under the name of a generated one, read on its own where no list held it."""
        namespace = ref.namespace or namespace
        known = self._originals.get((namespace, ref.kind, ref.name))
        return known or await self.api.get(CHILDREN[ref.kind], namespace, ref.name)

    async def fill(self, namespaces: frozenset[str]) -> None:
        """Read everything that decisions about the policies of these namespaces look at."""
        for kind in ChildKind:
            if kind is not ChildKind.ENVOY_FILTER or self.envoy_filters:
                await self._read_children(kind, namespaces)
        for namespace in sorted(namespaces):
            await self._read_referents(namespace)
        await self._read_proxies()
        for raw in await self._everywhere(POLICIES, namespaces):
            self.stored[key_of(raw)] = raw

    async def _read_children(self, kind: ChildKind, namespaces: frozenset[str]) -> None:
        resource = CHILDREN[kind]
        if resource.plural not in await self.api.kinds(resource):
            self.world.set_presence(kind, Presence.ABSENT)
            return
        self.world.set_lacking(kind, await self._lacking(kind))
        for raw in await self._list_children(kind, namespaces):
            self.world.children[kind].put(raw)
            self._originals[raw["metadata"]["namespace"], kind, raw["metadata"]["name"]] = raw
        self.world.set_presence(kind, Presence.SYNCED)

    async def _list_children(self, kind: ChildKind, namespaces: frozenset[str]) -> list[JsonObject]:
        resource, selector = CHILDREN[kind], CHILD_SELECTORS.get(kind)
        if selector is None:
            # What others route or configure in other namespaces can be in a policy's way.
            return await self._everywhere(resource, namespaces)
        found = [raw for place in sorted(namespaces) for raw in await self._list(resource, place, selector)]
        if kind is ChildKind.ENVOY_FILTER:
            for place in sorted(set(self.envoy_filters) - namespaces):
                otherwise = "they are shown as if there were none"
                found += await self._list_if_allowed(resource, place, selector, otherwise) or []
        return found

    async def _list_if_allowed(
        self, resource: Resource, namespace: str | None, selector: str, otherwise: str
    ) -> list[JsonObject] | None:
        """Return the objects of a namespace that is not the policies': whoever looks may have no business there.

        None where that is so; ``otherwise`` says what that means for the answer.
        """
        try:
            return await self._list(resource, namespace, selector)
        except ApiError as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
        self.unseen.append(f"{resource.label} of namespace {namespace} may not be listed; {otherwise}")
        return None

    async def _lacking(self, kind: ChildKind) -> frozenset[Feature]:
        """Return what the cluster's version of a kind cannot do; nothing where its definition may not be read."""
        resource = CHILDREN[kind]
        try:
            definition = await self.api.get(DEFINITIONS, None, resource.label)
        except ApiError as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
            self.unseen.append(f"the definition of {resource.label} may not be read; it is taken to be up to date")
            return frozenset()
        return lacking(kind, definition, resource.version) if definition else frozenset()

    async def _read_referents(self, namespace: str) -> None:
        world = self.world
        stores: dict[Resource, Sink] = {
            SERVICES: world.services,
            ENDPOINT_SLICES: world.slices,
            **{WORKLOADS[kind]: store for kind, store in world.workloads.items()},
        }
        for resource, store in stores.items():
            for raw in await self._list(resource, namespace):
                store.put(raw)
        world.namespace_is_synced(namespace)

    async def _read_proxies(self) -> None:
        proxies = self.world.gateway_proxies
        if (scope := proxies.scope) is None:
            return
        otherwise = "no total of rate limits over the gateways' proxies is told"
        found = await self._list_if_allowed(scope.resource, scope.namespace, scope.selector, otherwise)
        if found is not None:
            proxies.replace(found, proxies.newest, proxies.mark())

    async def _everywhere(self, resource: Resource, namespaces: frozenset[str]) -> list[JsonObject]:
        """Return the objects of all namespaces, or of these alone where no more may be seen."""
        try:
            return await self._list(resource, None)
        except ApiError as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
        self.unseen.append(f"{resource.label} of other namespaces may not be listed; what they claim is not known")
        return [raw for namespace in sorted(namespaces) for raw in await self._list(resource, namespace)]

    async def _list(self, resource: Resource, namespace: str | None, selector: str = "") -> list[JsonObject]:
        return [raw async for page in self.api.pages(resource, namespace, selector) for raw in page.items]


async def take(
    api: Api,
    administrator: Administrator,
    namespaces: Iterable[str],
    proposed: Iterable[JsonObject] = (),
    now: float = 0.0,
) -> Snapshot:
    """Look at the cluster as the operator would see it if the ``proposed`` policies were applied now.

    ``namespaces`` are looked at beside those of the proposed policies.

    Raises:
        ApiError: something that must be known could not be read.
    """
    proposed = tuple(proposed)
    world = World(administrator, now=lambda: _LONG_AGO, wake=lambda _: None)
    snapshot = Snapshot(api, world, envoy_filters=administrator.envoy_filter_namespaces)
    await snapshot.fill(frozenset(namespaces) | {key_of(raw).namespace for raw in proposed})
    merged: Mapping[PolicyKey, JsonObject] = {
        **snapshot.stored,
        **{key_of(raw): as_applied(raw, snapshot.stored.get(key_of(raw)), now) for raw in proposed},
    }
    for raw in merged.values():
        snapshot.world.policies.put(raw)
    snapshot.world.policies_are_synced()
    return snapshot


def key_of(raw: JsonObject) -> PolicyKey:
    """Return namespace and name of a policy."""
    return PolicyKey(raw["metadata"]["namespace"], raw["metadata"]["name"])


def as_applied(raw: JsonObject, stored: JsonObject | None, now: float) -> JsonObject:
    """Return a policy from a file as the API server would have it: with the identity and status of the stored one."""
    status: JsonObject = {}
    metadata = raw["metadata"]
    if stored is None:
        created = {"uid": NEW_UID, "resourceVersion": "0", "generation": 1, "creationTimestamp": timestamp(now)}
        metadata = {**metadata, **created}
    else:
        changed = stored.get("spec") != raw.get("spec")
        metadata = {**stored["metadata"], "generation": stored["metadata"].get("generation", 0) + changed}
        status = stored.get("status") or {}
    return {**raw, "metadata": metadata, "status": status}
