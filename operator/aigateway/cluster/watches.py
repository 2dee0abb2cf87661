"""Which reflectors run: for generated objects always, for what policies refer to only where there are policies.

:mod:`aigateway.process` runs it beside the engine.  It starts and stops reflectors, looks for Istio and KEDA until they
are installed, and says whether the caches can be trusted.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from aigateway.cluster.client import ApiError, Client
from aigateway.cluster.reflector import Reflector, Scope, Sink
from aigateway.cluster.resources import CHILD_SELECTORS, CHILDREN, DEFINITIONS, ENDPOINT_SLICES, SERVICES, WORKLOADS
from aigateway.cluster.world import Presence, World
from aigateway.core.features import lacking
from aigateway.core.observation import ChildKind

log = logging.getLogger(__name__)

FRESH_SECONDS = 150.0
"""Twice the longest silence of a healthy watch."""
_LOOK_AGAIN_SECONDS = (20.0, 40.0)
_COMPARE_SECONDS = (600.0, 1800.0)
"""How often definitions are read again: Istio or KEDA may have been upgraded."""


@dataclass(slots=True)
class _Running:
    reflectors: list[Reflector]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def synced(self) -> bool:
        return all(reflector.synced for reflector in self.reflectors)

    def start(self) -> None:
        self.tasks = [asyncio.create_task(item.run(), name=f"watch {item.scope}") for item in self.reflectors]

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Watches:
    """All reflectors of the operator but the policies' own.  ``namespaces`` empty: the whole cluster.

    EnvoyFilters are looked at in ``envoy_filters`` too, and nowhere (nor asked for) where that is empty.  The gateways'
    proxies are counted where their Service is named; nothing waits for that, and nothing is stale for the lack of it.
    """

    def __init__(
        self, client: Client, world: World, namespaces: tuple[str, ...], envoy_filters: tuple[str, ...] = ()
    ) -> None:
        self._client = client
        self._world = world
        self._namespaces = namespaces
        self._envoy_filters = envoy_filters
        self._kinds = tuple(kind for kind in ChildKind if kind is not ChildKind.ENVOY_FILTER or envoy_filters)
        self._children: dict[ChildKind, _Running] = {}
        self._referents: dict[str, _Running] = {}
        self._proxies = self._proxies_reflector()
        self._doubted: set[ChildKind] = set()
        self._filters_refused = False
        self._doubt = asyncio.Event()
        self._stopping: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Keep the reflectors of generated objects running, and look for absent kinds, until cancelled."""
        self._proxies.start()
        try:
            while True:
                await self._look_for_kinds()
                await self._until_next_look()
        finally:
            running = [*self._children.values(), *self._referents.values(), self._proxies]
            await asyncio.gather(*(item.stop() for item in running), *self._stopping)

    def namespace_changed(self, namespace: str, held: bool) -> None:  # noqa: FBT001 (a callback's shape)
        """Start or stop watching what policies refer to in a namespace."""
        if held and namespace not in self._referents:
            self._referents[namespace] = self._referent_reflectors(namespace)
            self._referents[namespace].start()
        elif not held and namespace in self._referents:
            self._stop(self._referents.pop(namespace))
            self._world.namespace_is_left(namespace)

    def reflectors(self) -> Iterable[Reflector]:
        """Return every reflector that runs now and that decisions need."""
        return [
            item for running in (*self._children.values(), *self._referents.values()) for item in running.reflectors
        ]

    def stale(self) -> list[str]:
        """Return what cannot be trusted now: kinds not looked for yet, caches not filled or not fresh."""
        horizon = time.monotonic() - FRESH_SECONDS
        unknown = [
            f"{kind} not looked for yet" for kind, how in self._world.presence.items() if how is Presence.UNKNOWN
        ]
        # Nobody waits for EnvoyFilters that may not be looked at.
        refused = CHILDREN[ChildKind.ENVOY_FILTER] if self._filters_refused else None
        listed = [item for item in self.reflectors() if item.synced or item.scope.resource is not refused]
        waiting = [f"{item.scope} not listed yet" for item in listed if not item.synced]
        silent = [f"{item.scope} silent" for item in self.reflectors() if item.synced and item.heard_at < horizon]
        return [*unknown, *waiting, *silent]

    # Generated objects --------------------------------------------------------------------------------------------

    async def _look_for_kinds(self) -> None:
        """Ask for the kinds that are not watched or in doubt; a group that both kinds of Istio share is asked once."""
        wanted = [kind for kind in self._kinds if kind not in self._children or kind in self._doubted]
        for group in dict.fromkeys(CHILDREN[kind].group_path for kind in wanted):
            kinds = [kind for kind in wanted if CHILDREN[kind].group_path == group]
            try:
                served = await self._client.kinds(CHILDREN[kinds[0]])
            except ApiError as error:
                log.warning("whether the cluster has %s is unknown, it is asked again: %s", kinds[0], error)
                continue
            for kind in kinds:
                self._doubted.discard(kind)
                present = CHILDREN[kind].plural in served
                if present:
                    await self._look_for_features(kind)
                self._found(kind, present=present)

    async def _look_for_features(self, kind: ChildKind) -> None:
        """Read what the cluster's version of a kind lacks; where that can't be read, it is taken to lack nothing."""
        resource = CHILDREN[kind]
        try:
            definition = await self._client.get(DEFINITIONS, None, resource.label)
        except ApiError as error:
            log.warning("the definition of %s cannot be read, it is taken to be up to date: %s", resource.label, error)
            return
        if definition is not None:
            missing = lacking(kind, definition, resource.version)
            self._world.set_lacking(kind, missing)
            for feature in sorted(missing):
                log.warning("%s lacks %s; status.skipped says where that matters", resource.label, feature)

    def _found(self, kind: ChildKind, *, present: bool) -> None:
        running = self._children.get(kind)
        if present and running is not None:
            return
        if not present:
            if running is not None:
                self._stop(self._children.pop(kind))
            if self._world.presence[kind] is not Presence.ABSENT:
                log.warning("the cluster has no %s; policies that need it say so until it is installed", kind)
            self._world.set_presence(kind, Presence.ABSENT)
            return
        running = _Running([self._child_reflector(kind, namespace) for namespace in self._places(kind)])
        self._children[kind] = running
        running.start()

    def _places(self, kind: ChildKind) -> Iterable[str | None]:
        """Return the namespaces in which a kind is watched; None stands for all."""
        if not self._namespaces:
            return (None,)
        return sorted({*self._namespaces, *(self._envoy_filters if kind is ChildKind.ENVOY_FILTER else ())})

    def _child_reflector(self, kind: ChildKind, namespace: str | None) -> Reflector:
        scope = Scope(CHILDREN[kind], namespace, CHILD_SELECTORS.get(kind, ""))
        return Reflector(
            self._client,
            scope,
            self._world.children[kind],
            on_synced=lambda: self._child_synced(kind),
            on_missing=lambda: self._child_missing(kind),
            on_refused=lambda: kind is ChildKind.ENVOY_FILTER and self._refuse_filters(),
        )

    def _refuse_filters(self) -> bool:
        """Let policies go on without EnvoyFilters where the right to look at them is missing; it is asked for again."""
        if self._world.presence[ChildKind.ENVOY_FILTER] is Presence.SYNCED:
            return False
        if not self._filters_refused:
            log.warning(
                "EnvoyFilters are allowed by --allow-envoy-filter, and the right to list them is missing; "
                "until it is there, status.skipped lists the fields that need one"
            )
        self._filters_refused = True
        self._world.set_presence(ChildKind.ENVOY_FILTER, Presence.ABSENT)
        return True

    def _child_synced(self, kind: ChildKind) -> None:
        running = self._children.get(kind)
        if running is not None and running.synced:
            log.info("watching %s", CHILDREN[kind].label)
            self._filters_refused &= kind is not ChildKind.ENVOY_FILTER
            self._world.set_presence(kind, Presence.SYNCED)
            if kind is ChildKind.ENVOY_FILTER and (missing := self._world.without_gateway_filter()):
                log.warning(
                    "%s has no gateway filter, or one too old; status.skipped says where that matters",
                    ", ".join(missing),
                )

    def _child_missing(self, kind: ChildKind) -> None:
        """Let the cluster be asked whether it still has a kind: a refusal, perhaps in one namespace, proves nothing."""
        self._doubted.add(kind)
        self._doubt.set()

    async def _until_next_look(self) -> None:
        """Wait until a kind is in doubt: at most half a minute, or half an hour where every kind is watched."""
        asked = [kind for kind in self._kinds if kind not in self._children]
        if self._doubted or Presence.UNKNOWN in (self._world.presence[kind] for kind in asked):
            await asyncio.sleep(1.0)  # the API server did not answer
            return
        try:
            async with asyncio.timeout(random.uniform(*(_LOOK_AGAIN_SECONDS if asked else _COMPARE_SECONDS))):  # noqa: S311 (spreads load)
                await self._doubt.wait()
        except TimeoutError:
            for kind in () if asked else self._kinds:
                await self._look_for_features(kind)
        self._doubt.clear()

    # What policies refer to ---------------------------------------------------------------------------------------

    def _referent_reflectors(self, namespace: str) -> _Running:
        world = self._world
        stores: dict[Scope, Sink] = {
            Scope(SERVICES, namespace): world.services,
            Scope(ENDPOINT_SLICES, namespace): world.slices,
            **{Scope(WORKLOADS[kind], namespace): store for kind, store in world.workloads.items()},
        }
        synced: Callable[[], None] = lambda: self._referents_synced(namespace)  # noqa: E731
        return _Running([Reflector(self._client, scope, store, synced) for scope, store in stores.items()])

    def _referents_synced(self, namespace: str) -> None:
        running = self._referents.get(namespace)
        if running is not None and running.synced:
            self._world.namespace_is_synced(namespace)

    # The gateways' proxies ----------------------------------------------------------------------------------------

    def _proxies_reflector(self) -> _Running:
        proxies = self._world.gateway_proxies
        if proxies.scope is None:
            return _Running([])
        return _Running([Reflector(self._client, proxies.scope, proxies, on_refused=self._proxies_refused)])

    def _proxies_refused(self) -> bool:
        """Do without the count of proxies until it may be had, and say so once."""
        if self._world.gateway_proxies.refused():
            log.warning(
                "%s may not be listed; the status of policies tells no total of rate limits until they may",
                self._world.gateway_proxies.scope,
            )
        return True

    def _stop(self, running: _Running) -> None:
        """Stop reflectors in the background: this is called from inside their own callbacks."""
        task = asyncio.get_running_loop().create_task(running.stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)
