"""Which generated objects each policy has, wherever they are, and whether EnvoyFilters have what they build on.

:mod:`aigateway.cluster.world` tells it of every change.  What it means for a policy is not known here.
"""

from __future__ import annotations

from aigateway.api.resolved import PolicyKey
from aigateway.cluster.store import Entry, Store
from aigateway.core.identity import FINGERPRINT_ANNOTATION, place_of, policy_of
from aigateway.core.observation import ChildKind, ChildRef, Feature, Json
from aigateway.core.render.gateway_filter import gateway_filter


class ChildIndex:
    """The children of each policy by name, so that a pass need not look at those of all others."""

    def __init__(self) -> None:
        self._by_policy: dict[PolicyKey, set[ChildRef]] = {}

    def refs(self, key: PolicyKey) -> frozenset[ChildRef]:
        """Return the objects that say they belong to a policy."""
        return frozenset(self._by_policy.get(key, ()))

    def elsewhere(self) -> list[PolicyKey]:
        """Return the policies that have objects in other namespaces."""
        return [key for key, refs in self._by_policy.items() if any(ref.namespace for ref in refs)]

    def changed(self, kind: ChildKind, old: Entry[Json] | None, new: Entry[Json] | None) -> None:
        """Take over a change of an object."""
        for entry in (old, new):
            key = policy_of(entry.value) if entry is not None else None
            if entry is not None and key is not None:
                ref = ChildRef(kind, entry.name, place_of(entry.value))
                refs = self._by_policy.setdefault(key, set())
                (refs.add if entry is new else refs.discard)(ref)
                if not refs:
                    del self._by_policy[key]


class GatewayFilters:
    """The gateways' shared EnvoyFilters, which each policy's own builds on, in the namespaces where it may be written.

    Whoever installs the operator installs them, so one of another version says that this is not done yet.
    """

    def __init__(self, store: Store[Json], namespaces: tuple[str, ...]) -> None:
        self._store = store
        wanted = [gateway_filter(namespace)["metadata"] for namespace in namespaces]
        self._expected = {(item["namespace"], item["name"]): _fingerprint(item) for item in wanted}

    def concerned_by(self, entry: Entry[Json] | None) -> bool:
        """Return whether an EnvoyFilter that has changed is one of them."""
        return entry is not None and (entry.namespace, entry.name) in self._expected

    def missing(self) -> list[str]:
        """Return the namespaces in which there is none of this version."""
        return [spot[0] for spot, wanted in self._expected.items() if self._found(*spot) != wanted]

    def lacking(self) -> frozenset[Feature]:
        """Return what policies cannot have while one is missing."""
        return frozenset({Feature.GATEWAY_FILTER}) if self.missing() else frozenset()

    def _found(self, namespace: str, name: str) -> object:
        entry = self._store.get(namespace, name)
        return None if entry is None else _fingerprint(entry.value["metadata"])


def _fingerprint(metadata: Json) -> object:
    return (metadata.get("annotations") or {}).get(FINGERPRINT_ANNOTATION)
