"""The cache: it follows what it is told and never goes back in time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aigateway.cluster.store import Entry, Store
from aigateway.core.observation import Json

Changes = list[tuple[int | None, int | None]]


def item(version: int, value: int = 0, name: str = "x", uid: str = "u", namespace: str = "ns") -> dict[str, Any]:
    """Return an object whose parsed value is ``value``."""
    metadata = {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, "value": value}


def make() -> tuple[Store[int], Changes]:
    """Return an empty store and the list that its changes are written to."""
    changes: Changes = []

    def told(old: Entry[int] | None, new: Entry[int] | None) -> None:
        changes.append((old.value if old else None, new.value if new else None))

    return Store(lambda raw: int(raw["value"]), told), changes


def value(store: Store[int], name: str = "x") -> int | None:
    """Return the value of one entry."""
    entry = store.get("ns", name)
    return entry.value if entry else None


def test_it_tells_of_changes_of_the_value_only() -> None:
    """A new version with the same value is taken over without a word, since nothing that matters has changed."""
    store, changes = make()
    store.put(item(1, 5))
    store.put(item(2, 5))
    store.put(item(3, 6))
    store.remove(item(4, 6))

    assert [(None, 5), (5, 6), (6, None)] == changes
    assert len(store) == 0
    assert frozenset() == store.namespaces()


def test_a_new_object_of_the_same_name_is_a_change() -> None:
    """An object that was deleted and created again is news, even when it looks the same."""
    store, changes = make()
    store.put(item(1, 5, uid="old"))
    store.put(item(2, 5, uid="new"))

    assert [(None, 5), (5, 5)] == changes


def test_an_older_event_never_overwrites() -> None:
    """What our own write answered stands against events from before it; versions are numbers, not texts."""
    store, _ = make()
    store.put(item(10, 2))
    store.put(item(9, 1))

    assert 2 == value(store)


def test_a_late_deletion_of_the_former_object_spares_the_new_one() -> None:
    """DELETED of an old object that arrives after its successor leaves the successor alone."""
    store, _ = make()
    store.put(item(10, 1, uid="new"))
    store.remove(item(8, 0, uid="old"))

    assert 1 == value(store)


def test_a_deletion_of_our_own_is_not_undone_by_late_events() -> None:
    """After our own deletion, events of that object still on their way are ignored, those of a successor are not."""
    store, changes = make()
    store.put(item(1, 1))
    store.deleted("ns", "x", "u")
    store.put(item(2, 2))
    assert value(store) is None

    store.remove(item(3, 2))
    store.put(item(4, 3, uid="successor"))

    assert 3 == value(store)
    assert [(None, 1), (1, None), (None, 3)] == changes


def test_the_answer_to_our_own_write_is_no_news() -> None:
    """A status that we wrote ourselves is taken over without waking anybody, and its event changes nothing."""
    store, changes = make()
    store.put(item(1, 1))
    store.written(item(2, 2))
    store.put(item(2, 2))

    assert 2 == value(store)
    assert [(None, 1)] == changes


def test_a_list_finds_what_the_watch_has_lost() -> None:
    """Objects that a list lacks are gone, others are new or newer; each difference is told and counted."""
    store, changes = make()
    store.put(item(1, 1, "gone"))
    store.put(item(2, 1, "changed"))
    store.put(item(3, 1, "same"))
    changes.clear()

    listed = [item(5, 2, "changed"), item(3, 1, "same"), item(6, 7, "new")]
    differences = store.replace(listed, 6, store.mark())

    assert 3 == differences
    assert {(1, None), (1, 2), (None, 7)} == set(changes)


def test_a_list_is_older_than_what_came_while_it_was_on_its_way() -> None:
    """A write or an event newer than the list survives it, and so does a deletion of our own."""
    store, _ = make()
    store.put(item(1, 1, "written"))
    store.put(item(2, 1, "deleted"))
    mark = store.mark()
    store.put(item(9, 2, "written"))
    store.put(item(8, 3, "created"))
    store.deleted("ns", "deleted", "u")

    store.replace([item(1, 1, "written"), item(2, 1, "deleted")], 5, mark)

    assert {"written": 2, "created": 3} == {entry.name: entry.value for entry in store}


def test_a_list_asked_for_after_a_deletion_is_believed() -> None:
    """An object that is still there in a list from after our deletion was not deleted after all."""
    store, _ = make()
    store.put(item(1, 1))
    store.deleted("ns", "x", "u")

    store.replace([item(1, 1)], 5, store.mark())

    assert 1 == value(store)


def test_a_restored_cluster_is_believed() -> None:
    """A list from before everything known means a restore from a backup: then the list alone is right."""
    store, _ = make()
    store.put(item(100, 1, "kept"))
    store.put(item(90, 1, "lost"))

    store.replace([item(40, 4, "kept")], 50, store.mark())
    store.put(item(51, 5, "kept"))

    assert {"kept": 5} == {entry.name: entry.value for entry in store}


def test_a_list_of_one_namespace_says_nothing_of_others() -> None:
    """A list of a namespace replaces that namespace alone."""
    store, _ = make()
    store.put(item(1, 1, "a", namespace="one"))
    store.put(item(2, 2, "b", namespace="two"))

    store.replace([], 5, store.mark(), "one")

    assert ["b"] == [entry.name for entry in store]


@pytest.mark.parametrize(
    ("namespace", "left"), [pytest.param("one", ["b"], id="one namespace"), pytest.param(None, [], id="everything")]
)
def test_clearing_tells_nobody(namespace: str | None, left: list[str]) -> None:
    """A scope that is no longer watched is forgotten silently."""
    store, changes = make()
    store.put(item(1, 1, "a", namespace="one"))
    store.put(item(2, 2, "b", namespace="two"))
    changes.clear()

    store.clear(namespace)

    assert left == [entry.name for entry in store]
    assert [] == changes


class StoreMachine(RuleBasedStateMachine):
    """A server's history, delivered late, twice, or not at all, with lists in between: the cache never goes back."""

    def __init__(self) -> None:
        super().__init__()
        self.store, _ = make()
        self.version = 1
        self.history: list[tuple[str, Json]] = []
        self.alive: dict[str, dict[str, Any]] = {}
        self.shown: dict[str, int] = {}

    @rule(name=st.sampled_from("abc"))
    def change(self, name: str) -> None:
        """Create or change an object on the server."""
        self.version += 1
        uid = self.alive[name]["metadata"]["uid"] if name in self.alive else f"u{self.version}"
        self.alive[name] = item(self.version, self.version, name, uid)
        self.history.append(("PUT", self.alive[name]))

    @rule(name=st.sampled_from("abc"))
    def delete(self, name: str) -> None:
        """Delete an object on the server."""
        if name in self.alive:
            self.version += 1
            gone = self.alive.pop(name)
            self.history.append(("DELETE", item(self.version, 0, name, gone["metadata"]["uid"])))

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Deliver any event of the history, perhaps again."""
        if self.history:
            kind, raw = data.draw(st.sampled_from(self.history))
            (self.store.put if kind == "PUT" else self.store.remove)(raw)

    @rule()
    def compare(self) -> None:
        """Take over a list: afterwards the cache is what the server has."""
        self.store.replace(list(self.alive.values()), self.version, self.store.mark())
        server = {name: raw["value"] for name, raw in self.alive.items()}
        assert server == {entry.name: entry.value for entry in self.store}

    @invariant()
    def never_back(self) -> None:
        """While an object stays, its version only grows."""
        now = {f"{entry.name}/{entry.uid}": entry.resource_version for entry in self.store}
        for key, version in now.items():
            assert version >= self.shown.get(key, 0)
        self.shown = now


TestStoreMachine = StoreMachine.TestCase
