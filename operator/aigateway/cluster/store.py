"""A cache of one resource, fed by a watch, by lists and by our own writes, that never goes back in time.

:mod:`aigateway.cluster.reflector` and the policy watch feed it, the writer tells it what was written, and
:mod:`aigateway.cluster.world` reads it.  It knows nothing of HTTP and of what the objects mean.

Resource versions are compared as numbers, which Kubernetes guarantees for every resource served by kube-apiserver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from aigateway.core.observation import Json

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One object: where it is, which state of it this is, and what was kept of it."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    value: T


@dataclass(frozen=True, slots=True)
class Mark:
    """What a store knew at one moment."""

    newest: int
    deleted: frozenset[tuple[str, str]]


OnChange = Callable[[Entry[T] | None, Entry[T] | None], None]
"""Told the old and the new entry (None: absent) whenever the value or the identity of an object changes."""


class Store(Generic[T]):
    """Objects of one resource by namespace and name.

    ``parse`` says what to keep of an object; a change of anything else is no change.
    """

    def __init__(self, parse: Callable[[Json], T], on_change: OnChange[T]) -> None:
        self._parse = parse
        self._on_change = on_change
        self._entries: dict[str, dict[str, Entry[T]]] = {}
        self._deleted: dict[tuple[str, str], str] = {}
        self.newest = 0
        """The highest resource version seen."""

    def get(self, namespace: str, name: str) -> Entry[T] | None:
        """Return one entry."""
        return self._entries.get(namespace, {}).get(name)

    def namespace(self, namespace: str) -> Mapping[str, Entry[T]]:
        """Return the entries of one namespace by name."""
        return self._entries.get(namespace, {})

    def namespaces(self) -> frozenset[str]:
        """Return the namespaces that hold an entry."""
        return frozenset(self._entries)

    def __iter__(self) -> Iterator[Entry[T]]:
        return iter([entry for found in self._entries.values() for entry in found.values()])

    def __len__(self) -> int:
        return sum(len(found) for found in self._entries.values())

    def put(self, raw: Json) -> None:
        """Take over an object as a watch or our own write gave it, unless a newer state of it is known already."""
        entry = self._entry(raw)
        self.newest = max(self.newest, entry.resource_version)
        old = self.get(entry.namespace, entry.name)
        if self._deleted.get((entry.namespace, entry.name)) == entry.uid:
            return
        if old is None or entry.resource_version > old.resource_version:
            self._set(old, entry)

    def written(self, raw: Json) -> None:
        """Take over the answer to our own compare-and-set write: it holds nothing that its writer does not know."""
        entry = self._entry(raw)
        old = self.get(entry.namespace, entry.name)
        self.newest = max(self.newest, entry.resource_version)
        if old is not None and entry.resource_version > old.resource_version:
            self._entries[entry.namespace][entry.name] = entry

    def remove(self, raw: Json) -> None:
        """Take over that an object was deleted in the state ``raw``; a newer object of that name stays."""
        gone = self._entry(raw)
        self.newest = max(self.newest, gone.resource_version)
        self._deleted.pop((gone.namespace, gone.name), None)
        old = self.get(gone.namespace, gone.name)
        if old is not None and (old.uid == gone.uid or old.resource_version < gone.resource_version):
            self._drop(old)

    def deleted(self, namespace: str, name: str, uid: str) -> None:
        """Take over our own deletion at once: events of that object still on their way are ignored."""
        old = self.get(namespace, name)
        if old is not None and old.uid == uid:
            self._deleted[(namespace, name)] = uid
            self._drop(old)

    def mark(self) -> Mark:
        """Return what is known now; take it before a list is asked for and hand it to :meth:`replace`."""
        return Mark(self.newest, frozenset(self._deleted))

    def replace(self, listed: Iterable[Json], resource_version: int, mark: Mark, namespace: str | None = None) -> int:
        """Take over a whole consistent list and return how many differences there were.

        What came in by a watch or a write while the list was on its way stays.  A list can't be older than what was
        known before it was asked for, unless the cluster was restored from a backup: then the list alone is right.
        """
        restored = resource_version < mark.newest
        for spot in mark.deleted:
            self._deleted.pop(spot, None)
        found = {(entry.namespace, entry.name): entry for entry in map(self._entry, listed)}
        differences = 0
        for old in self._scope(namespace):
            if (old.namespace, old.name) not in found and (restored or old.resource_version <= resource_version):
                self._drop(old)
                differences += 1
        differences += sum(self._take_listed(entry, restored=restored) for entry in found.values())
        self.newest = resource_version if restored else max(self.newest, resource_version)
        return differences

    def clear(self, namespace: str | None = None) -> None:
        """Forget a namespace (None: everything) without telling anyone: nobody watches it any more."""
        for spot in [spot for spot in self._deleted if namespace in (None, spot[0])]:
            del self._deleted[spot]
        for name in [namespace] if namespace else list(self._entries):
            self._entries.pop(name, None)

    def _take_listed(self, entry: Entry[T], *, restored: bool) -> bool:
        old = self.get(entry.namespace, entry.name)
        if self._deleted.get((entry.namespace, entry.name)) == entry.uid:
            return False
        if old is not None and (entry.resource_version <= old.resource_version and not restored):
            return False
        self._set(old, entry)
        return old is None or old.resource_version != entry.resource_version

    def _scope(self, namespace: str | None) -> list[Entry[T]]:
        return list(self) if namespace is None else list(self.namespace(namespace).values())

    def _set(self, old: Entry[T] | None, new: Entry[T]) -> None:
        self._deleted.pop((new.namespace, new.name), None)
        self._entries.setdefault(new.namespace, {})[new.name] = new
        if old is None or (old.uid, old.value) != (new.uid, new.value):
            self._on_change(old, new)

    def _drop(self, old: Entry[T]) -> None:
        found = self._entries[old.namespace]
        del found[old.name]
        if not found:
            del self._entries[old.namespace]
        self._on_change(old, None)

    def _entry(self, raw: Json) -> Entry[T]:
        metadata = raw["metadata"]
        return Entry(
            metadata.get("namespace", ""),
            metadata["name"],
            metadata["uid"],
            int(metadata["resourceVersion"]),
            self._parse(raw),
        )
