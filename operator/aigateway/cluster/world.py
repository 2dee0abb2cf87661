"""Everything the operator knows of the cluster: the caches, what they mean for a policy, and who must look again.

:mod:`aigateway.cluster.watches` fills it, :mod:`aigateway.engine` asks it for observations and tells it of every write.
It does no I/O and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from aigateway.api.administrator import Administrator
from aigateway.api.problems import Rejection
from aigateway.api.resolved import Backend, PolicyKey, ResolvedPolicy, WorkloadKind, WorkloadRef
from aigateway.cluster import parse
from aigateway.cluster.children import ChildIndex, GatewayFilters
from aigateway.cluster.contests import Contests
from aigateway.cluster.endpoints import Endpoints
from aigateway.cluster.gateway_proxies import GatewayProxies
from aigateway.cluster.index import PolicyIndex
from aigateway.cluster.parse import SliceState
from aigateway.cluster.samples import Address, Samples
from aigateway.cluster.store import Entry, Store
from aigateway.core.claims import Claim
from aigateway.core.foreign import claims_of_virtual_service, rule_covers
from aigateway.core.identity import controller_of, owner_of, policy_of
from aigateway.core.observation import (
    ChildKind,
    ChildRef,
    ChildState,
    Feature,
    Json,
    NoData,
    Observation,
    Sample,
    ServiceState,
    WorkloadState,
)

_PARSERS = {
    ChildKind.VIRTUAL_SERVICE: parse.routing,
    ChildKind.DESTINATION_RULE: parse.routing,
    ChildKind.SCALED_OBJECT: parse.child,
    ChildKind.ENVOY_FILTER: parse.envoy_filter,
}


class Presence(Enum):
    """Whether the cluster has a kind of ours, and whether its objects are known."""

    UNKNOWN = "unknown"
    ABSENT = "absent"
    SYNCED = "synced"


class World:
    """The caches.  ``wake`` is told the key of every policy that something changed for.

    ``on_namespace`` is told a namespace when its first policy appears (True) and when its last one has left (False).
    ``renew`` is told a policy, before it is woken, whose own change (or that of an object in its way) may cure what it
    failed on.  ``namespaces`` are those whose policies are known (empty: all); what belongs to a policy of another one
    is somebody else's.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (who is told what)
        self,
        administrator: Administrator,
        now: Callable[[], float],
        wake: Callable[[PolicyKey], None],
        on_namespace: Callable[[str, bool], None] = lambda *_: None,
        renew: Callable[[PolicyKey], None] = lambda _: None,
        namespaces: tuple[str, ...] = (),
    ) -> None:
        self._wake = wake
        self._renew = renew
        self._on_namespace = on_namespace
        self._administrator = administrator
        self._namespaces = namespaces
        self.index = PolicyIndex(administrator)
        self._contests = Contests(administrator.cluster_domain, wake, self._serves)
        self.endpoints = Endpoints(now, self._service_changed)
        self.policies: Store[Json] = Store(parse.policy, self._policy_changed)
        self.services: Store[ServiceState] = Store(parse.service, self._service_entry_changed)
        self.slices: Store[SliceState] = Store(parse.endpoint_slice, self.endpoints.changed)
        self.gateway_proxies = GatewayProxies(administrator.gateway_service, self._proxies_changed)
        self.workloads: dict[WorkloadKind, Store[WorkloadState]] = {
            kind: Store(parse.workload, self._workload_changed(kind)) for kind in WorkloadKind
        }
        self.children: dict[ChildKind, Store[Json]] = {
            kind: Store(_PARSERS[kind], self._children_changed(kind)) for kind in ChildKind
        }
        self.samples = Samples(self._service, configured=administrator.sampling_address is not None)
        self._child_index = ChildIndex()
        self._gateway_filters = GatewayFilters(
            self.children[ChildKind.ENVOY_FILTER], administrator.envoy_filter_namespaces
        )
        self.presence: dict[ChildKind, Presence] = dict.fromkeys(ChildKind, Presence.UNKNOWN)
        if not administrator.envoy_filter_namespaces:
            self.presence[ChildKind.ENVOY_FILTER] = Presence.ABSENT
        self._lacking: dict[ChildKind, frozenset[Feature]] = {}
        self.policies_synced = False
        self._namespaces_synced: set[str] = set()
        self._in_the_way: dict[tuple[str, ChildRef], PolicyKey] = {}

    # What is known ------------------------------------------------------------------------------------------------

    def complete(self, namespace: str) -> bool:
        """Whether enough is known to decide for the policies of a namespace."""
        kinds_known = Presence.UNKNOWN not in self.presence.values()
        return self.policies_synced and kinds_known and namespace in self._namespaces_synced

    def policy(self, key: PolicyKey) -> Entry[Json] | None:
        """Return a policy; None where it does not exist, or is being deleted."""
        entry = self.policies.get(key.namespace, key.name)
        return None if entry is None or "deletionTimestamp" in entry.value["metadata"] else entry

    def observe(self, key: PolicyKey, policy: ResolvedPolicy | Rejection, status: Json) -> Observation:
        """Return what a decision about this policy may look at."""
        services = self._services_of(key, policy)
        return Observation(
            services=services,
            endpoints={name: self.endpoints.state(key.namespace, name) for name in services},
            workloads=self._workloads_of(key, policy),
            children=self._children_of(key),
            installed=frozenset(kind for kind, presence in self.presence.items() if presence is Presence.SYNCED),
            status=status,
            contest=self._contests.contest(key),
            foreign_rules=self._foreign_rules(key, policy),
            lacking=frozenset[Feature]().union(*self._lacking.values(), self._gateway_filters.lacking()),
            gateway_proxies=self.gateway_proxies.count,
            samples=self.samples.of(policy),
        )

    def without_gateway_filter(self) -> list[str]:
        """Return the namespaces in which EnvoyFilters may be written and have nothing to build on."""
        return self._gateway_filters.missing()

    def orphans(self, key: PolicyKey) -> dict[ChildRef, ChildState]:
        """Return what is left in other namespaces of an earlier policy of this name.

        In the policy's own namespace the cluster deletes what belonged to it.
        """
        if not self._knows(key.namespace):
            return {}
        entry = self.policies.get(key.namespace, key.name)
        return {
            ref: child
            for ref, child in self._children_of(key).items()
            if ref.namespace and (entry is None or child.owner != entry.uid)
        }

    def _knows(self, namespace: str) -> bool:
        """Whether a policy of a namespace that is not in the cache does not exist."""
        return self.policies_synced and (not self._namespaces or namespace in self._namespaces)

    def _services_of(self, key: PolicyKey, policy: ResolvedPolicy | Rejection) -> dict[str, ServiceState]:
        if isinstance(policy, Rejection):
            return {}
        names = {backend.service for backend in policy.backends} | ({policy.service.name} if policy.service else set())
        known = self.services.namespace(key.namespace)
        return {name: known[name].value for name in names if name in known}

    def _service(self, namespace: str, name: str) -> ServiceState | None:
        entry = self.services.get(namespace, name)
        return None if entry is None else entry.value

    def _workloads_of(self, key: PolicyKey, policy: ResolvedPolicy | Rejection) -> dict[WorkloadRef, WorkloadState]:
        if isinstance(policy, Rejection):
            return {}
        found = {
            backend.workload: self.workloads[backend.workload.kind].get(key.namespace, backend.workload.name)
            for backend in policy.backends
        }
        return {ref: entry.value for ref, entry in found.items() if entry is not None}

    def _children_of(self, key: PolicyKey) -> dict[ChildRef, ChildState]:
        """Return the policy's children; one that is being deleted counts as gone, and is found again by a read."""
        refs = self._child_index.refs(key)
        found = {ref: self.children[ref.kind].get(ref.namespace or key.namespace, ref.name) for ref in refs}
        return {
            ref: child_state(entry)
            for ref, entry in found.items()
            if entry is not None and "deletionTimestamp" not in entry.value["metadata"]
        }

    def _foreign_rules(self, key: PolicyKey, policy: ResolvedPolicy | Rejection) -> dict[str, str]:
        """Return whose DestinationRule covers a backend's Service, where a proxy would look for one.

        Proxies look in their own namespace, in the Service's and in the root namespace.
        """
        if isinstance(policy, Rejection) or not policy.configures_connections:
            return {}
        places = {key.namespace, self._administrator.root_namespace}
        places |= set(self._administrator.gateway_namespaces)
        found: dict[str, str] = {}
        for place in sorted(places):
            for entry in self.children[ChildKind.DESTINATION_RULE].namespace(place).values():
                if not parse.is_generated(entry.value):
                    found |= {
                        b.service: f"{place}/{entry.name}" for b in policy.backends if self._covers(entry, b, key)
                    }
        return found

    def _covers(self, rule: Entry[Json], backend: Backend, key: PolicyKey) -> bool:
        return rule_covers(rule.value, backend.service, key.namespace, self._administrator.cluster_domain)

    def _serves(self, key: PolicyKey, claim: Claim) -> bool:
        """Whether a route of a policy, as it is in the cluster, is for a claim."""
        policy = self.policies.get(key.namespace, key.name)
        entries = self.children[ChildKind.VIRTUAL_SERVICE].namespace(key.namespace).values()
        return policy is not None and any(
            claim.overlaps(other)
            for entry in entries
            if (controller_of(entry.value) or {}).get("uid") == policy.uid
            for other in claims_of_virtual_service(entry.value, self._administrator.cluster_domain)
        )

    # What changes -------------------------------------------------------------------------------------------------

    def policies_are_synced(self) -> None:
        """Take over that every policy is known."""
        self.policies_synced = True
        self.wake_all()

    def namespace_is_synced(self, namespace: str) -> None:
        """Take over that everything a policy may refer to in a namespace is known."""
        self._namespaces_synced.add(namespace)
        for name in self.policies.namespace(namespace):
            self._wake(PolicyKey(namespace, name))

    def namespace_is_left(self, namespace: str) -> None:
        """Forget a namespace that is no longer watched."""
        self._namespaces_synced.discard(namespace)
        self.services.clear(namespace)
        self.slices.clear(namespace)
        for store in self.workloads.values():
            store.clear(namespace)
        self.endpoints.clear(namespace)

    def set_presence(self, kind: ChildKind, presence: Presence) -> None:
        """Take over whether the cluster has a kind."""
        if self.presence[kind] is presence:
            return
        self.presence[kind] = presence
        if presence is Presence.ABSENT:
            if kind is ChildKind.VIRTUAL_SERVICE:
                self._contests.forget_virtual_services(self.children[kind])
            self.children[kind].clear()
        self.wake_all()

    def set_lacking(self, kind: ChildKind, lacking: frozenset[Feature]) -> None:
        """Take over what the cluster's version of a kind cannot do."""
        if self._lacking.get(kind, frozenset()) != lacking:
            self._lacking[kind] = lacking
            self.wake_all()

    def is_in_the_way(self, key: PolicyKey, ref: ChildRef) -> None:
        """Take over that a policy can't write a child because of an object that has its name."""
        self._in_the_way[ref.namespace or key.namespace, ChildRef(ref.kind, ref.name)] = key

    def sampled(self, samples: Mapping[Address, Sample | NoData]) -> None:
        """Take over what Prometheus shows, and let the policies look again that it shows something new to."""
        for key in list(self.samples.take(samples)):
            self._wake(key)

    def wake_all(self) -> None:
        """Let every policy be looked at, and every one that has gone and left something behind."""
        for entry in self.policies:
            self._wake(PolicyKey(entry.namespace, entry.name))
        for key in self._child_index.elsewhere():
            self._wake_orphaned(key)

    def _policy_changed(self, old: Entry[Json] | None, new: Entry[Json] | None) -> None:
        entry = new or old
        if entry is None:
            return
        key = PolicyKey(entry.namespace, entry.name)
        self.index.changed(key, old, new)
        going = new is None or "deletionTimestamp" in new.value["metadata"]
        resolved = None if going else self.index.resolved(key)
        self._contests.policy_changed(key, new, resolved)
        self.samples.policy_changed(key, resolved)
        held = len(self.policies.namespace(key.namespace))
        if old is None and held == 1:
            self._on_namespace(key.namespace, True)  # noqa: FBT003 (the meaning is the callback's)
        elif new is None and held == 0:
            self._on_namespace(key.namespace, False)  # noqa: FBT003
        if old is None or new is None or _generation(old) != _generation(new):
            self._renew(key)
        self._wake(key)

    def _service_entry_changed(self, old: Entry[ServiceState] | None, new: Entry[ServiceState] | None) -> None:
        entry = new or old
        if entry is not None:
            self._service_changed(entry.namespace, entry.name)

    def _service_changed(self, namespace: str, name: str) -> None:
        for key in self.index.users_of_service(namespace, name):
            self._wake(key)

    def _workload_changed(
        self, kind: WorkloadKind
    ) -> Callable[[Entry[WorkloadState] | None, Entry[WorkloadState] | None], None]:
        def changed(old: Entry[WorkloadState] | None, new: Entry[WorkloadState] | None) -> None:
            entry = new or old
            if entry is not None:
                for key in self.index.users_of_workload(entry.namespace, kind, entry.name):
                    self._wake(key)

        return changed

    def _children_changed(self, kind: ChildKind) -> Callable[[Entry[Json] | None, Entry[Json] | None], None]:
        def changed(old: Entry[Json] | None, new: Entry[Json] | None) -> None:
            self._child_index.changed(kind, old, new)
            self._child_changed(old, new)
            self._make_way(kind, old, new)
            if kind is ChildKind.VIRTUAL_SERVICE:
                self._contests.virtual_service_changed(old, new)
            elif kind is ChildKind.DESTINATION_RULE:
                self._rule_changed(old, new)
            elif kind is ChildKind.ENVOY_FILTER and self._gateway_filters.concerned_by(new or old):
                self.wake_all()

        return changed

    def _make_way(self, kind: ChildKind, old: Entry[Json] | None, new: Entry[Json] | None) -> None:
        """Let a policy try again at once where an object that had a name of its children is gone, or has become its."""
        if old is None or (new is not None and not parse.is_generated(new.value)):
            return
        key = self._in_the_way.pop((old.namespace, ChildRef(kind, old.name)), None)
        if key is not None:
            self._renew(key)
            self._wake(key)

    def _rule_changed(self, old: Entry[Json] | None, new: Entry[Json] | None) -> None:
        """Let every policy look again that somebody else's DestinationRule may concern."""
        entry = new or old
        if entry is not None and not parse.is_generated(entry.value):
            self._wake_where(lambda policy: policy.configures_connections)

    def _proxies_changed(self) -> None:
        """Let every policy look again whose status tells a total over the gateways' proxies."""
        self._wake_where(lambda policy: bool(policy.rate_limits))

    def _wake_where(self, concerned: Callable[[ResolvedPolicy], bool]) -> None:
        for policy in self.policies:
            resolved = self.index.resolved(PolicyKey(policy.namespace, policy.name))
            if isinstance(resolved, ResolvedPolicy) and concerned(resolved):
                self._wake(resolved.key)

    def _child_changed(self, old: Entry[Json] | None, new: Entry[Json] | None) -> None:
        for entry in (old, new):
            key = policy_of(entry.value) if entry is not None else None
            if key is None:
                continue
            if self.policies.get(key.namespace, key.name) is not None:
                self._wake(key)
                self._contests.routes_changed(key)
            elif entry is new:
                self._wake_orphaned(key)

    def _wake_orphaned(self, key: PolicyKey) -> None:
        """Let the key of a policy that does not exist be looked at where it has left something in other namespaces."""
        if self.policies.get(key.namespace, key.name) is None and self.orphans(key):
            self._wake(key)


def _generation(policy: Entry[Json]) -> tuple[str, object]:
    """Return what changes with a policy's spec, and with the policy itself."""
    return policy.uid, policy.value["metadata"].get("generation")


def child_state(entry: Entry[Json]) -> ChildState:
    """Return a cached child as decisions see it."""
    return ChildState(entry.uid, str(entry.resource_version), owner_of(entry.value), entry.value)
