"""Which policies look at a Service or a workload, and each policy in its resolved form.

:mod:`aigateway.cluster.world` asks it when an object changes.  A policy is resolved once per generation, here.
"""

from __future__ import annotations

from collections.abc import Iterator

from aigateway.api.administrator import Administrator
from aigateway.api.problems import Rejection
from aigateway.api.resolve import load
from aigateway.api.resolved import PolicyKey, ResolvedPolicy
from aigateway.cluster.store import Entry
from aigateway.core.observation import Json

_SERVICE = "Service"
Referent = tuple[str, str, str]
"""Namespace, kind and name of an object that policies refer to."""


class PolicyIndex:
    """Resolved policies by key, and keys by what they refer to."""

    def __init__(self, administrator: Administrator) -> None:
        self._administrator = administrator
        self._resolved: dict[PolicyKey, ResolvedPolicy | Rejection] = {}
        self._users: dict[Referent, set[PolicyKey]] = {}

    def resolved(self, key: PolicyKey) -> ResolvedPolicy | Rejection:
        """Return the resolved form of a policy that was taken over by :meth:`changed`."""
        return self._resolved[key]

    def users_of_service(self, namespace: str, name: str) -> frozenset[PolicyKey]:
        """Return the policies that route to a Service, or whose in-mesh name it is."""
        return frozenset(self._users.get((namespace, _SERVICE, name), ()))

    def users_of_workload(self, namespace: str, kind: str, name: str) -> frozenset[PolicyKey]:
        """Return the policies that scale a workload."""
        return frozenset(self._users.get((namespace, kind, name), ()))

    def changed(self, key: PolicyKey, old: Entry[Json] | None, new: Entry[Json] | None) -> None:
        """Take over a change of a policy; one of its status alone changes nothing here."""
        if old is not None and new is not None and _same_spec(old, new):
            return
        if key in self._resolved:
            self._unlink(key)
        if new is not None:
            self._resolved[key] = load(new.value, self._administrator)
            for referent in references(key, self._resolved[key]):
                self._users.setdefault(referent, set()).add(key)

    def _unlink(self, key: PolicyKey) -> None:
        for referent in references(key, self._resolved.pop(key)):
            users = self._users.get(referent, set())
            users.discard(key)
            if not users:
                self._users.pop(referent, None)


def _same_spec(old: Entry[Json], new: Entry[Json]) -> bool:
    """Whether resolving would give the same; the generation alone is not trusted over a restore from a backup."""
    return (
        old.uid == new.uid and old.value["metadata"] == new.value["metadata"] and old.value["spec"] == new.value["spec"]
    )


def references(key: PolicyKey, policy: ResolvedPolicy | Rejection) -> Iterator[Referent]:
    """Yield what a policy refers to; a rejected one refers to nothing."""
    if isinstance(policy, Rejection):
        return
    if policy.service is not None:
        yield key.namespace, _SERVICE, policy.service.name
    for backend in policy.backends:
        yield key.namespace, _SERVICE, backend.service
        yield key.namespace, backend.workload.kind, backend.workload.name
