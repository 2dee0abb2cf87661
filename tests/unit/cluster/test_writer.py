"""The writer: whose object may be written, what a conflict is, and that the caches learn of every write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aigateway.api.administrator import Administrator
from aigateway.api.resolved import PolicyKey
from aigateway.cluster.resources import CHILDREN, POLICIES
from aigateway.cluster.world import World
from aigateway.cluster.writer import Conflict, Writer, shown
from aigateway.core.observation import ChildKind, ChildRef, ChildState
from aigateway.core.outcome import Apply, Delete, Failed, Taken
from tests.unit.cluster.apiserver import FakeApiserver, refusal, running

KEY = PolicyKey("models", "llm")
UID = "uid-of-llm"
REF = ChildRef(ChildKind.VIRTUAL_SERVICE, "llm-gateway")
RESOURCE = CHILDREN[REF.kind]
OURS = {"ownerReferences": [{"uid": UID, "controller": True, "kind": "AIGatewayPolicy", "name": "llm"}]}
AWAY = ChildRef(ChildKind.ENVOY_FILTER, "models.llm", "edge")
FILTERS = CHILDREN[AWAY.kind]
Scenario = Callable[[FakeApiserver, World, Writer], Awaitable[None]]


def write(scenario: Scenario, folder: Path) -> None:
    """Run a scenario with a writer on a fake server."""

    async def main() -> None:
        async with asyncio.timeout(20), running(folder) as (fake, client):
            world = World(Administrator(), lambda: 0.0, lambda _: None)
            await scenario(fake, world, Writer(client, world))

    asyncio.run(main())


def step(*, exists: bool, drift: bool = False) -> Apply:
    """Return the write of a VirtualService."""
    metadata = {"name": REF.name, "namespace": "models", **OURS}
    body = {"apiVersion": RESOURCE.api_version, "kind": RESOURCE.kind, "metadata": metadata, "spec": {"hosts": ["a"]}}
    return Apply(REF, body, exists=exists, required=True, drift=drift)


def test_a_new_object_is_read_before_it_is_written(tmp_path: Path) -> None:
    """Under a free name, one read and one write; the cache has it at once."""

    async def scenario(fake: FakeApiserver, world: World, writer: Writer) -> None:
        assert await writer.take(KEY, UID, step(exists=False)) is None
        assert ["GET", "PATCH"] == [method for method, _ in fake.requests]
        assert world.children[REF.kind].get("models", REF.name) is not None

    write(scenario, tmp_path)


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param(None, id="gone"),
        pytest.param({"uid": "uid-of-another"}, id="another of that name"),
        pytest.param({"deletionTimestamp": "2026-01-01T00:00:00Z"}, id="going"),
    ],
)
def test_a_deleted_child_is_not_written_for_a_policy_that_is_gone(
    tmp_path: Path, metadata: dict[str, Any] | None
) -> None:
    """Where the watch of policies lags behind, the policy itself is read: its children go with it."""

    async def scenario(fake: FakeApiserver, world: World, writer: Writer) -> None:
        world.policies.put(fake.put(POLICIES, "llm", metadata={"uid": UID}))
        fake.remove(POLICIES, "llm")
        if metadata is not None:
            fake.put(POLICIES, "llm", metadata={"uid": UID} | metadata)
        with pytest.raises(Conflict):
            await writer.take(KEY, UID, step(exists=False, drift=True))
        known = world.policy(KEY)
        assert known is None or known.uid != UID
        assert ["GET"] == [method for method, _ in fake.requests]

    write(scenario, tmp_path)


def test_a_deleted_child_of_a_policy_that_is_there_is_written_again(tmp_path: Path) -> None:
    """Two reads, and the child is back."""

    async def scenario(fake: FakeApiserver, world: World, writer: Writer) -> None:
        world.policies.put(fake.put(POLICIES, "llm", metadata={"uid": UID}))
        assert await writer.take(KEY, UID, step(exists=False, drift=True)) is None
        assert ["GET", "GET", "PATCH"] == [method for method, _ in fake.requests]

    write(scenario, tmp_path)


def test_a_known_object_of_ours_is_written_without_a_read(tmp_path: Path) -> None:
    """What the cache knows to be ours costs one request."""

    async def scenario(fake: FakeApiserver, world: World, writer: Writer) -> None:
        world.children[REF.kind].put(fake.put(RESOURCE, REF.name, metadata=OURS))
        assert await writer.take(KEY, UID, step(exists=True)) is None
        assert ["PATCH"] == [method for method, _ in fake.requests]

    write(scenario, tmp_path)


def test_a_known_object_that_has_moved_on_is_looked_at_again(tmp_path: Path) -> None:
    """What someone wrote since the cache saw the object, as the next leader may have, is not overwritten unseen."""

    async def scenario(fake: FakeApiserver, world: World, writer: Writer) -> None:
        world.children[REF.kind].put(fake.put(RESOURCE, REF.name, metadata=OURS))
        fake.put(RESOURCE, REF.name, metadata=OURS, spec={"hosts": ["b"]})
        before = fake.version
        with pytest.raises(Conflict):
            await writer.take(KEY, UID, step(exists=True))
        assert before == fake.version

    write(scenario, tmp_path)


@pytest.mark.parametrize(
    ("metadata", "by"),
    [
        pytest.param(
            {"ownerReferences": [{"uid": "u2", "controller": True, "kind": "AIGatewayPolicy", "name": "other"}]},
            "AIGatewayPolicy other",
            id="another controller's",
        ),
        pytest.param({"managedFields": [{"manager": "kubectl"}]}, "whoever wrote it with kubectl", id="a human's"),
        pytest.param({"ownerReferences": [{"uid": UID}]}, "nobody", id="owned but not controlled"),
        pytest.param({}, "nobody", id="nobody's"),
    ],
)
def test_a_foreign_object_is_left_alone(tmp_path: Path, metadata: dict[str, Any], by: str) -> None:
    """An object that this policy does not control is not written, and it is said whose it is."""

    async def scenario(fake: FakeApiserver, _: World, writer: Writer) -> None:
        fake.put(RESOURCE, REF.name, metadata=metadata)
        trouble = await writer.take(KEY, UID, step(exists=False))
        assert trouble is not None
        assert Taken(by) == trouble.failure
        assert ["GET"] == [method for method, _ in fake.requests]

    write(scenario, tmp_path)


def test_an_object_of_ours_that_is_going_is_waited_for(tmp_path: Path) -> None:
    """Nothing is written into an object that a finalizer still holds."""

    async def scenario(fake: FakeApiserver, _: World, writer: Writer) -> None:
        fake.put(RESOURCE, REF.name, metadata=OURS | {"deletionTimestamp": "2026-01-01T00:00:00Z"})
        trouble = await writer.take(KEY, UID, step(exists=False))
        assert trouble is not None
        assert isinstance(trouble.failure, Failed)

    write(scenario, tmp_path)


def test_ours_without_the_cache_knowing(tmp_path: Path) -> None:
    """An object of ours that lost its label is found by the read and written."""

    async def scenario(fake: FakeApiserver, _: World, writer: Writer) -> None:
        fake.put(RESOURCE, REF.name, metadata=OURS)
        assert await writer.take(KEY, UID, step(exists=False)) is None

    write(scenario, tmp_path)


@pytest.mark.parametrize(
    ("status", "headers", "retry_after"),
    [
        pytest.param(500, {}, 0.0, id="an internal error"),
        pytest.param(429, {"Retry-After": "9"}, 9.0, id="too many requests"),
        pytest.param(422, {}, 0.0, id="a webhook's refusal"),
    ],
)
def test_a_refused_write_is_told(tmp_path: Path, status: int, headers: dict[str, str], retry_after: float) -> None:
    """What the server refuses is a failure with its words on one line, and with the wait it asks for."""

    async def scenario(fake: FakeApiserver, _: World, writer: Writer) -> None:
        fake.faults.append(("PATCH", refusal(status, "No", "admission webhook\ndenied it", **headers)))
        trouble = await writer.take(KEY, UID, step(exists=True))
        assert trouble is not None
        assert isinstance(trouble.failure, Failed)
        assert "admission webhook denied it" in trouble.failure.message
        assert retry_after == trouble.retry_after

    write(scenario, tmp_path)


def test_a_conflict_is_no_failure(tmp_path: Path) -> None:
    """An object that someone else changed in between makes the whole pass start again."""

    async def scenario(fake: FakeApiserver, _: World, writer: Writer) -> None:
        fake.faults.append(("PATCH", refusal(409, "Conflict")))
        with pytest.raises(Conflict):
            await writer.take(KEY, UID, step(exists=True))

    write(scenario, tmp_path)


def deletion(fake: FakeApiserver, world: World, **metadata: Any) -> Delete:
    """Put an object of ours where the cache knows it, and return its deletion."""
    raw = fake.put(RESOURCE, REF.name, metadata=OURS | metadata)
    world.children[REF.kind].put(raw)
    return Delete(REF, raw["metadata"]["uid"], raw["metadata"]["resourceVersion"], required=True)


def test_deleting(tmp_path: Path) -> None:
    """A deleted object is gone from the cache at once; one that was gone already is fine too."""

    async def scenario(fake: FakeApiserver, world: World, writer: Writer) -> None:
        delete = deletion(fake, world)
        assert await writer.take(KEY, UID, delete) is None
        assert world.children[REF.kind].get("models", REF.name) is None
        assert await writer.take(KEY, UID, delete) is None

    write(scenario, tmp_path)


def test_deleting_what_has_changed_since(tmp_path: Path) -> None:
    """An object in another state than the decision looked at is not deleted."""

    async def scenario(fake: FakeApiserver, world: World, writer: Writer) -> None:
        delete = deletion(fake, world)
        fake.put(RESOURCE, REF.name, metadata=OURS)
        with pytest.raises(Conflict):
            await writer.take(KEY, UID, delete)

    write(scenario, tmp_path)


def test_deleting_what_a_finalizer_holds(tmp_path: Path) -> None:
    """An object that a finalizer holds stays in the cache, marked as going, until the watch says it is gone."""

    async def scenario(fake: FakeApiserver, world: World, writer: Writer) -> None:
        delete = deletion(fake, world, finalizers=["finalizer.keda.sh"])
        assert await writer.take(KEY, UID, delete) is None
        entry = world.children[REF.kind].get("models", REF.name)
        assert entry is not None
        assert "deletionTimestamp" in entry.value["metadata"]

    write(scenario, tmp_path)


def test_status_is_written_onto_the_state_that_was_looked_at(tmp_path: Path) -> None:
    """A status goes to the API server and the cache; onto a policy that has changed meanwhile it does not go."""

    async def scenario(fake: FakeApiserver, world: World, writer: Writer) -> None:
        world.policies.put(fake.put(POLICIES, "llm", spec={}, kind="AIGatewayPolicy"))
        policy = world.policies.get("models", "llm")
        assert policy is not None

        written = await writer.write_status(policy, {"weights": "v1=100"})

        assert {"weights": "v1=100"} == written.value["status"]
        assert written == world.policies.get("models", "llm")
        with pytest.raises(Conflict):
            await writer.write_status(policy, {"weights": "v1=50"})
        fake.remove(POLICIES, "llm")
        with pytest.raises(Conflict):
            await writer.write_status(written, {"weights": "v1=50"})
        assert world.policies.get("models", "llm") is None, "the cache knows that it is gone"

    write(scenario, tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("one\nERROR two\r\n", "one ERROR two", id="no lines of its own in the log"),
        pytest.param("x" * 10_000, "x" * 500, id="bounded"),
    ],
)
def test_texts_of_others(text: str, expected: str) -> None:
    """A text of someone else's can neither forge log lines nor flood the status."""
    assert expected == shown(text)


def labels(uid: str = UID) -> dict[str, Any]:
    """Return the metadata of an object in another namespace that belongs to the policy."""
    said = {"policy": "llm", "policy-namespace": "models", "policy-uid": uid}
    return {"labels": {f"aigateway.dev/{key}": value for key, value in said.items()}}


def away(uid: str = UID, *, exists: bool) -> Apply:
    """Return the write of an EnvoyFilter in another namespace."""
    metadata = {"name": AWAY.name, "namespace": "edge", **labels(uid)}
    body = {"apiVersion": FILTERS.api_version, "kind": FILTERS.kind, "metadata": metadata, "spec": {}}
    return Apply(AWAY, body, exists=exists, required=False)


def test_a_child_in_another_namespace(tmp_path: Path) -> None:
    """It is read, written, written again without a read, and deleted, where it is."""

    async def scenario(fake: FakeApiserver, world: World, writer: Writer) -> None:
        assert await writer.take(KEY, UID, away(exists=False)) is None
        assert await writer.take(KEY, UID, away(exists=True)) is None
        entry = world.children[AWAY.kind].get("edge", AWAY.name)
        assert entry is not None
        assert await writer.take(KEY, UID, Delete(AWAY, entry.uid, str(entry.resource_version), required=False)) is None
        assert ["GET", "PATCH", "PATCH", "DELETE"] == [method for method, _ in fake.requests]
        assert {FILTERS.path("edge", AWAY.name)} == {path for _, path in fake.requests}
        assert world.children[AWAY.kind].get("edge", AWAY.name) is None

    write(scenario, tmp_path)


@pytest.mark.parametrize(
    ("metadata", "failure"),
    [
        pytest.param(labels("uid-of-an-earlier-one"), Failed, id="an earlier policy's"),
        pytest.param({}, Taken, id="somebody else's"),
    ],
)
def test_what_has_the_name_in_another_namespace_is_left_alone(
    tmp_path: Path, metadata: dict[str, Any], failure: type
) -> None:
    """What an earlier policy has left is removed first; what somebody else wrote stays."""

    async def scenario(fake: FakeApiserver, _: World, writer: Writer) -> None:
        fake.put(FILTERS, AWAY.name, "edge", kind=FILTERS.kind, metadata=metadata)
        trouble = await writer.take(KEY, UID, away(exists=False))
        assert trouble is not None
        assert isinstance(trouble.failure, failure)

    write(scenario, tmp_path)


def orphan(fake: FakeApiserver, world: World) -> ChildState:
    """Put an EnvoyFilter of the policy where the cache knows it, and return it."""
    raw = fake.put(FILTERS, AWAY.name, "edge", metadata=labels())
    world.children[AWAY.kind].put(raw)
    return ChildState(raw["metadata"]["uid"], raw["metadata"]["resourceVersion"], UID, raw)


@pytest.mark.parametrize(
    ("there", "methods"),
    [
        pytest.param(None, ["GET", "DELETE"], id="gone"),
        pytest.param("another", ["GET", "DELETE"], id="another of that name"),
        pytest.param(UID, ["GET"], id="there after all"),
    ],
)
def test_what_a_policy_has_left(tmp_path: Path, there: str | None, methods: list[str]) -> None:
    """Before it is deleted, the API server is asked for the policy: the cache may lag behind."""

    async def scenario(fake: FakeApiserver, world: World, writer: Writer) -> None:
        left = orphan(fake, world)
        if there is not None:
            fake.put(POLICIES, "llm", metadata={"uid": there})
        fake.requests.clear()
        assert await writer.remove_orphan(KEY, AWAY, left) is None
        assert methods == [method for method, _ in fake.requests]
        gone = world.children[AWAY.kind].get("edge", AWAY.name) is None
        assert gone == (there != UID)
        assert (world.policy(KEY) is not None) == (there == UID)

    write(scenario, tmp_path)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_a_policy_has_left_stays_while_the_server_refuses(tmp_path: Path, method: str) -> None:
    """Nothing is deleted on an answer that did not come, and it is tried again when the server says."""

    async def scenario(fake: FakeApiserver, world: World, writer: Writer) -> None:
        left = orphan(fake, world)
        fake.faults.append((method, refusal(503, "No", **{"Retry-After": "4"})))
        trouble = await writer.remove_orphan(KEY, AWAY, left)
        assert trouble is not None
        assert 4.0 == trouble.retry_after
        assert world.children[AWAY.kind].get("edge", AWAY.name) is not None

    write(scenario, tmp_path)


def test_what_a_policy_has_left_and_somebody_has_changed(tmp_path: Path) -> None:
    """In another state than was seen it is looked at again."""

    async def scenario(fake: FakeApiserver, world: World, writer: Writer) -> None:
        left = orphan(fake, world)
        fake.put(FILTERS, AWAY.name, "edge", metadata=labels("another"))
        with pytest.raises(Conflict):
            await writer.remove_orphan(KEY, AWAY, left)

    write(scenario, tmp_path)
