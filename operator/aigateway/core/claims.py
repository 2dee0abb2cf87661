"""Who owns which host, in-mesh name, Service and workload, when several policies want the same.

:mod:`aigateway.cluster.world` keeps one :class:`Claims` for all policies and asks it for each policy's rivals; the rule
itself is here, without I/O: of two claims that overlap the older policy's holds, and a policy holds all of its claims
or none.  A policy that holds nothing stands in nobody's way.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from aigateway.api.resolved import PolicyKey, ResolvedPolicy


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """``subject`` names what is claimed, as a user reads it; ``path`` the part of it, a prefix in whole segments."""

    subject: str
    path: str = "/"

    def overlaps(self, other: Claim) -> bool:
        """Return whether a request could be meant by both."""
        return self.subject == other.subject and (_within(self.path, other.path) or _within(other.path, self.path))

    def __str__(self) -> str:
        """Return the form for messages."""
        return self.subject if self.path == "/" else f"{self.subject}, path {self.path}"


def _within(path: str, prefix: str) -> bool:
    return prefix in {"/", path} or path.startswith(f"{prefix}/")


@dataclass(frozen=True, slots=True, order=True)
class Age:
    """Order of policies: older first, the uid decides between policies of one second."""

    created: str
    uid: str


@dataclass(frozen=True, slots=True)
class Rival:
    """An older policy that holds something that this one claims too."""

    key: PolicyKey
    claim: Claim


def claims_of(policy: ResolvedPolicy) -> frozenset[Claim]:
    """Return everything that only one policy can have.

    A Service may be a backend of several policies, but its connections can be configured by one only: Istio takes the
    oldest DestinationRule of a host and drops the rest.
    """
    namespace = policy.key.namespace
    found = {
        Claim(f"host {host} on gateway {gateway}", policy.path_prefix)
        for host in policy.hosts
        for gateway in policy.gateways
    }
    if policy.service is not None:
        found.add(Claim(f"in-mesh Service {namespace}/{policy.service.name}"))
    for backend in policy.backends:
        if policy.connection_pool is not None:
            found.add(Claim(f"connections to Service {namespace}/{backend.service}"))
        if backend.autoscaling is not None:
            found.add(Claim(f"replicas of {backend.workload.kind} {namespace}/{backend.workload.name}"))
    return frozenset(found)


class Claims:
    """All claims of all policies, and who holds them.  Each change costs only what it touches."""

    def __init__(self) -> None:
        self._ages: dict[PolicyKey, Age] = {}
        self._claims: dict[PolicyKey, frozenset[Claim]] = {}
        self._by_subject: dict[str, set[PolicyKey]] = {}
        self._lost_to: dict[PolicyKey, Rival] = {}

    def rival(self, key: PolicyKey) -> Rival | None:
        """Return the oldest policy that stands in the way, None where the policy holds all it claims."""
        return self._lost_to.get(key)

    def change(self, key: PolicyKey, age: Age | None, claims: frozenset[Claim]) -> frozenset[PolicyKey]:
        """Take over what a policy claims now (``age`` None: it is gone).

        Returns the policies whose rival has changed by it.
        """
        later = {other for other in self._neighbours(key) if self._older(key, other)}
        before = self._lost_to.get(key)
        self._forget(key)
        if age is not None:
            self._ages[key], self._claims[key] = age, claims
            for claim in claims:
                self._by_subject.setdefault(claim.subject, set()).add(key)
            later.add(key)
            if before is not None:
                self._lost_to[key] = before
        return self._settle(later)

    def _settle(self, pending: set[PolicyKey]) -> frozenset[PolicyKey]:
        """Decide anew, oldest first, for these policies and for every younger one that the answers reach."""
        changed = set()
        heap = [(self._ages[key], key) for key in pending]
        heapq.heapify(heap)
        done: set[PolicyKey] = set()
        while heap:
            _, key = heapq.heappop(heap)
            if key in done:
                continue
            done.add(key)
            before, after = self._lost_to.pop(key, None), self._find_rival(key)
            if after is not None:
                self._lost_to[key] = after
            if before != after:
                changed.add(key)
            for other in self._neighbours(key):
                if self._older(key, other) and other not in done:
                    heapq.heappush(heap, (self._ages[other], other))
        return frozenset(changed)

    def _find_rival(self, key: PolicyKey) -> Rival | None:
        found = [
            (self._ages[other], Rival(other, mine))
            for mine in sorted(self._claims[key])
            for other in self._by_subject[mine.subject]
            if self._older(other, key)
            and other not in self._lost_to
            and any(mine.overlaps(theirs) for theirs in self._claims[other])
        ]
        return min(found, key=lambda item: item[0])[1] if found else None

    def _neighbours(self, key: PolicyKey) -> Iterator[PolicyKey]:
        claims = self._claims.get(key, frozenset())
        seen = {other for claim in claims for other in self._by_subject[claim.subject]} - {key}
        return (o for o in seen if any(a.overlaps(b) for a in claims for b in self._claims[o]))

    def _older(self, one: PolicyKey, other: PolicyKey) -> bool:
        return (self._ages[one], one) < (self._ages[other], other)

    def _forget(self, key: PolicyKey) -> None:
        for subject in {claim.subject for claim in self._claims.pop(key, frozenset())}:
            holders = self._by_subject[subject]
            holders.discard(key)
            if not holders:
                del self._by_subject[subject]
        self._ages.pop(key, None)
        self._lost_to.pop(key, None)
