"""Who owns which host, in-mesh name and workload, when several want the same.

:mod:`aigateway.cluster.world` keeps one :class:`Claims` for all policies, and for VirtualServices that are nobody's
policy's, and asks it for each policy's rival; the rule itself is here, without I/O: of two claims that overlap the
older holder's counts, and a holder has all of its claims or none.  One that has nothing stands in nobody's way.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import NamedTuple

from aigateway.api.resolved import PolicyKey, ResolvedPolicy
from aigateway.core.identity import KIND
from aigateway.core.observation import Json


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """``subject`` names what is claimed, as a user reads it; ``path`` the part of it, a prefix in whole segments.

    ``routed``: requests come in by it, so that who gives it up has to wait until the other one serves them.
    """

    subject: str
    path: str = "/"
    routed: bool = True

    def overlaps(self, other: Claim) -> bool:
        """Return whether a request could be meant by both."""
        return self.subject == other.subject and (_within(self.path, other.path) or _within(other.path, self.path))

    def __str__(self) -> str:
        """Return the form for messages."""
        return self.subject if self.path == "/" else f"{self.subject}, path {self.path}"


def _within(path: str, prefix: str) -> bool:
    return prefix in {"/", path} or path.startswith(f"{prefix}/")


class Age(NamedTuple):
    """Order of policies: older first, the uid decides between policies of one second."""

    created: str
    uid: str


class Holder(NamedTuple):
    """What claims something: one of our policies, or an object that others wrote."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return the form for messages."""
        return f"{self.kind} {self.namespace}/{self.name}"


def holder_of(key: PolicyKey) -> Holder:
    """Return a policy as a holder."""
    return Holder(KIND, key.namespace, key.name)


@dataclass(frozen=True, slots=True)
class Rival:
    """An older holder of something that this one claims too."""

    holder: Holder
    claim: Claim


def claims_of(policy: ResolvedPolicy) -> frozenset[Claim]:
    """Return everything that only one policy can have.

    A Service may be a backend of several policies, but its connections can be configured by one only: Istio merges
    DestinationRules of one host by taking the oldest's traffic policy.
    """
    namespace = policy.key.namespace
    found = {gateway_claim(host, gateway, policy.path_prefix) for host in policy.hosts for gateway in policy.gateways}
    if policy.service is not None:
        found.add(mesh_claim(namespace, policy.service.name))
    if policy.rate_limits:
        # Envoy keeps them by host, whatever the gateway: a second policy's would take the place of the first's.
        found |= {Claim(f"rate limits of host {host}", routed=False) for host in policy.hosts}
    for backend in policy.backends:
        if policy.configures_connections:
            found.add(Claim(f"connections to Service {namespace}/{backend.service}", routed=False))
        if backend.autoscaling is not None:
            found.add(Claim(f"replicas of {backend.workload.kind} {namespace}/{backend.workload.name}", routed=False))
    return frozenset(found)


def gateway_claim(host: str, gateway: str, path: str) -> Claim:
    """Return the claim on a host's path on a gateway (``namespace/name``)."""
    return Claim(f"host {host} on gateway {gateway}", path)


def mesh_claim(namespace: str, service: str) -> Claim:
    """Return the claim on an in-mesh name."""
    return Claim(f"in-mesh Service {namespace}/{service}")


def claims_in_effect(namespace: str, status: Json) -> frozenset[Claim]:
    """Return what a policy routes by its status: its claims while its newest generation is not valid."""
    effective = status.get("effective") or {}
    path = effective.get("pathPrefix", "/")
    gateways = effective.get("gateways") or ()
    found = {gateway_claim(host, gateway, path) for host in effective.get("hosts") or () for gateway in gateways}
    if "service" in effective:
        found.add(mesh_claim(namespace, effective["service"]))
    return frozenset(found)


class Claims:
    """All claims of all holders, and who has them.  Each change costs only what it touches."""

    def __init__(self) -> None:
        self._ages: dict[Holder, Age] = {}
        self._claims: dict[Holder, frozenset[Claim]] = {}
        self._by_subject: dict[str, dict[Holder, frozenset[Claim]]] = {}
        self._lost_to: dict[Holder, Rival] = {}

    def rival(self, holder: Holder) -> Rival | None:
        """Return the oldest one that stands in the way, None where the holder has all it claims."""
        return self._lost_to.get(holder)

    def losers(self, holder: Holder) -> frozenset[Holder]:
        """Return those that this one stands in the way of."""
        younger = self._younger_neighbours(holder)
        return frozenset(o for o in younger if o in self._lost_to and self._lost_to[o].holder == holder)

    def change(self, holder: Holder, age: Age | None, claims: frozenset[Claim]) -> frozenset[Holder]:
        """Take over what a holder claims now (``age`` None: it is gone).

        Returns the holders whose rival has changed by it.
        """
        if age is not None and (self._ages.get(holder), self._claims.get(holder)) == (age, claims):
            return frozenset()
        later = self._younger_neighbours(holder)
        before = self._lost_to.get(holder)
        self._forget(holder)
        if age is not None:
            self._remember(holder, age, claims)
            later |= {holder} | self._younger_neighbours(holder)
            if before is not None:
                self._lost_to[holder] = before
        return self._settle(later)

    def _settle(self, pending: set[Holder]) -> frozenset[Holder]:
        """Decide anew, oldest first, for these policies and for every younger one that the answers reach."""
        changed = set()
        heap = [(self._ages[holder], holder) for holder in pending]
        heapq.heapify(heap)
        done: set[Holder] = set()
        while heap:
            _, holder = heapq.heappop(heap)
            if holder in done:
                continue
            done.add(holder)
            before, after = self._lost_to.pop(holder, None), self._find_rival(holder)
            if after is not None:
                self._lost_to[holder] = after
            if before != after:
                changed.add(holder)
            if (before is None) != (after is None):
                for other in self._younger_neighbours(holder) - done:
                    heapq.heappush(heap, (self._ages[other], other))
        return frozenset(changed)

    def _find_rival(self, holder: Holder) -> Rival | None:
        found = [
            (self._ages[other], Rival(other, mine))
            for mine in sorted(self._claims[holder])
            for other, claims in self._by_subject[mine.subject].items()
            if other not in self._lost_to
            and self._older(other, holder)
            and any(mine.overlaps(theirs) for theirs in claims)
        ]
        return min(found, key=lambda item: item[0])[1] if found else None

    def _younger_neighbours(self, holder: Holder) -> set[Holder]:
        """Return those that must give way where this one has what it claims."""
        found: set[Holder] = set()
        for mine in self._claims.get(holder, frozenset()):
            for other, claims in self._by_subject[mine.subject].items():
                if other not in found and self._older(holder, other) and any(mine.overlaps(c) for c in claims):
                    found.add(other)
        return found

    def _older(self, one: Holder, other: Holder) -> bool:
        return (self._ages[one], one) < (self._ages[other], other)

    def _remember(self, holder: Holder, age: Age, claims: frozenset[Claim]) -> None:
        self._ages[holder], self._claims[holder] = age, claims
        for claim in claims:
            holders = self._by_subject.setdefault(claim.subject, {})
            holders[holder] = holders.get(holder, frozenset()) | {claim}

    def _forget(self, holder: Holder) -> None:
        for subject in {claim.subject for claim in self._claims.pop(holder, frozenset())}:
            holders = self._by_subject[subject]
            del holders[holder]
            if not holders:
                del self._by_subject[subject]
        self._ages.pop(holder, None)
        self._lost_to.pop(holder, None)
