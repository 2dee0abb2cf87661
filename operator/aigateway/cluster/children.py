"""Which generated objects each policy has, wherever they are, and whether EnvoyFilters have what they build on.

:mod:`aigateway.cluster.world` tells it of every change.  What it means for a policy is not known here.
"""

from __future__ import annotations

from aigateway.api.resolved import PolicyKey
from aigateway.cluster.store import Entry, Store
from aigateway.core.gateway.gateway_filter import CONTRACT, NAME
from aigateway.core.identity import GATEWAY_FILTER_CONTRACT_ANNOTATION, place_of, policy_of
from aigateway.core.observation import ChildKind, ChildRef, Feature, Json

_DIGITS = 10
"""Numbers with as many digits are nobody's contract."""


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

    Whoever installs the operator installs them, so one that offers less than is asked of it says that this is not done
    yet.  A newer one, as there is while the operator itself is upgraded, offers all that an older one did.
    """

    def __init__(self, store: Store[Json], namespaces: tuple[str, ...]) -> None:
        self._store = store
        self._namespaces = namespaces

    def concerned_by(self, entry: Entry[Json] | None) -> bool:
        """Return whether an EnvoyFilter that has changed is one of them."""
        return entry is not None and entry.name == NAME and entry.namespace in self._namespaces

    def missing(self) -> list[str]:
        """Return the namespaces in which there is none that offers enough."""
        return [namespace for namespace in self._namespaces if self._offered(namespace) < CONTRACT]

    def lacking(self) -> frozenset[Feature]:
        """Return what policies cannot have while one is missing."""
        return frozenset({Feature.GATEWAY_FILTER}) if self.missing() else frozenset()

    def _offered(self, namespace: str) -> int:
        """Return the contract of a namespace's filter; 0: there is none, or none that says so."""
        entry = self._store.get(namespace, NAME)
        noted = (entry.value["metadata"].get("annotations") or {}) if entry is not None else {}
        contract = str(noted.get(GATEWAY_FILTER_CONTRACT_ANNOTATION))
        return int(contract) if contract.isdecimal() and len(contract) < _DIGITS else 0
