"""Who is in whose way: the claims of all policies, and of VirtualServices that others wrote.

:mod:`aigateway.cluster.world` tells it of every change and asks it for each policy's contest.  The rules are in
:mod:`aigateway.core.claims`; here is only who claims what now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aigateway.api.problems import Rejection
from aigateway.api.resolved import PolicyKey, ResolvedPolicy
from aigateway.cluster.parse import is_generated
from aigateway.cluster.store import Entry
from aigateway.core.claims import Age, Claim, Claims, Holder, claims_in_effect, claims_of, holder_of
from aigateway.core.foreign import claims_of_virtual_service
from aigateway.core.identity import KIND
from aigateway.core.observation import ChildKind, Contest, Json


class Contests:
    """Claims by holder.  ``wake`` is told every policy whose rival has changed.

    ``serves`` says whether a policy's routes in the cluster are for a claim.
    """

    def __init__(
        self, cluster_domain: str, wake: Callable[[PolicyKey], None], serves: Callable[[PolicyKey, Claim], bool]
    ) -> None:
        self._cluster_domain = cluster_domain
        self._wake = wake
        self._serves = serves
        self._claims = Claims()
        self._last_valid: dict[PolicyKey, frozenset[Claim]] = {}

    def contest(self, key: PolicyKey) -> Contest | None:
        """Return what is in a policy's way."""
        rival = self._claims.rival(holder_of(key))
        if rival is None:
            return None
        holder = PolicyKey(rival.holder.namespace, rival.holder.name)
        settled = rival.holder.kind != KIND or not rival.claim.routed or self._serves(holder, rival.claim)
        return Contest(str(rival.claim), str(rival.holder), settled)

    def policy_changed(
        self, key: PolicyKey, entry: Entry[Json] | None, policy: ResolvedPolicy | Rejection | None
    ) -> None:
        """Take over what a policy claims now.

        While its newest generation is invalid or suspended, that is what it has in effect; and nothing, where something
        older was in its way already.
        """
        if entry is None or policy is None:
            self._last_valid.pop(key, None)
            self._change(holder_of(key), None, frozenset())
            return
        if isinstance(policy, ResolvedPolicy) and not policy.suspend:
            self._last_valid[key] = claims_of(policy)
        elif self._claims.rival(holder_of(key)) is not None:
            self._last_valid[key] = frozenset()
        elif key not in self._last_valid:
            self._last_valid[key] = claims_in_effect(key.namespace, entry.value.get("status") or {})
        self._change(holder_of(key), _age(entry), self._last_valid[key])

    def virtual_service_changed(self, old: Entry[Json] | None, new: Entry[Json] | None) -> None:
        """Take over a VirtualService; one of ours is its policy's matter, and concerns those who wait for it."""
        entry = new or old
        if entry is None:
            return
        holder = Holder(ChildKind.VIRTUAL_SERVICE, entry.namespace, entry.name)
        if new is None or is_generated(new.value):
            self._change(holder, None, frozenset())
        else:
            # Of one second the policy counts as older: an object of its own that lost its owner must not outlive it.
            age = Age(_age(new).created, f"~{new.uid}")
            self._change(holder, age, claims_of_virtual_service(new.value, self._cluster_domain))

    def forget_virtual_services(self, entries: Iterable[Entry[Json]]) -> None:
        """Drop what VirtualServices of others claim: the cluster no longer has the kind."""
        for entry in entries:
            self._change(Holder(ChildKind.VIRTUAL_SERVICE, entry.namespace, entry.name), None, frozenset())

    def routes_changed(self, key: PolicyKey) -> None:
        """Let those that give way to a policy look again, since its routes have come or gone."""
        for loser in self._claims.losers(holder_of(key)):
            self._wake(PolicyKey(loser.namespace, loser.name))

    def _change(self, holder: Holder, age: Age | None, claims: frozenset[Claim]) -> None:
        for changed in self._claims.change(holder, age, claims):
            if changed.kind == KIND:
                self._wake(PolicyKey(changed.namespace, changed.name))


def _age(entry: Entry[Json]) -> Age:
    return Age(entry.value["metadata"].get("creationTimestamp", ""), entry.uid)
