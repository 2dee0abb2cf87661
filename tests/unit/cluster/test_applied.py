"""What an apply of ours would make of an object."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway.cluster.applied import after_apply

OURS = "aigateway-operator"


def body(**spec: Any) -> dict[str, Any]:
    """Return an object as we apply it."""
    annotations = {"aigateway.dev/applied-fingerprint": str(sorted(spec))}
    return {"metadata": {"name": "x", "labels": {"a": "1"}, "annotations": annotations}, "spec": spec}


def live(spec: dict[str, Any], owned: dict[str, dict[str, Any]] | None = None, **metadata: Any) -> dict[str, Any]:
    """Return an object as it is; ``owned`` are the fields of its spec by manager."""
    found: dict[str, Any] = {"metadata": {"name": "x", "resourceVersion": "1", **metadata}, "spec": spec}
    if owned is not None:
        entries = [{"manager": who, "fieldsV1": {"f:spec": fields}} for who, fields in owned.items()]
        found["metadata"]["managedFields"] = entries
    return found


def test_a_new_object_is_what_is_applied() -> None:
    """Where there is nothing, there is our body afterwards."""
    assert body(hosts=["a"]) == after_apply(None, body(hosts=["a"]))


@pytest.mark.parametrize(
    ("before", "owned", "wanted", "after"),
    [
        pytest.param({"hosts": ["x"]}, {OURS: {"f:hosts": {}}}, {"hosts": ["a"]}, {"hosts": ["a"]}, id="changed"),
        pytest.param(
            {"hosts": ["a"], "tls": 1},
            {OURS: {"f:hosts": {}}},
            {"hosts": ["a"]},
            {"hosts": ["a"], "tls": 1},
            id="of-others",
        ),
        pytest.param({"a": 1, "b": 2}, {OURS: {"f:a": {}, "f:b": {}}}, {"a": 1}, {"a": 1}, id="no-longer-wanted"),
        pytest.param(
            {"a": 1, "b": 2},
            {OURS: {"f:a": {}, "f:b": {}}, "kubectl": {"f:b": {}}},
            {"a": 1},
            {"a": 1, "b": 2},
            id="no-longer-wanted-but-of-others-too",
        ),
        pytest.param(
            {"pool": {"tcp": {"max": 1}, "http": {"max": 2}}},
            {OURS: {"f:pool": {"f:tcp": {"f:max": {}}, "f:http": {"f:max": {}}}}},
            {"pool": {"tcp": {"max": 1}}},
            {"pool": {"tcp": {"max": 1}}},
            id="no-empty-shell-is-left",
        ),
        pytest.param(
            {"pool": {"tcp": {"max": 1, "theirs": 3}}},
            {OURS: {"f:pool": {"f:tcp": {"f:max": {}}}}},
            {},
            {"pool": {"tcp": {"theirs": 3}}},
            id="deep-within-others",
        ),
    ],
)
def test_fields_by_owner(before: Any, owned: Any, wanted: Any, after: Any) -> None:
    """Ours are set, what only we had set and no longer want goes, everything else stays."""
    assert after == after_apply(live(before, owned), body(**wanted))["spec"]


def test_a_field_in_the_status_is_not_ours_to_remove() -> None:
    """An entry for a subresource says nothing about what an apply of the object owns."""
    found = live({"a": 1, "b": 2}, {})
    found["metadata"]["managedFields"] = [
        {"manager": OURS, "fieldsV1": {"f:spec": {"f:b": {}}}, "subresource": "status"}
    ]

    assert {"a": 1, "b": 2} == after_apply(found, body(a=1))["spec"]


@pytest.mark.parametrize(
    ("fingerprint", "after"),
    [
        pytest.param(str(["a"]), {"a": 1, "b": 2}, id="the-same-was-applied"),
        pytest.param("older", {"a": 1}, id="something-else-was-applied"),
    ],
)
def test_without_managed_fields(fingerprint: str, after: Any) -> None:
    """Where owners are hidden, the fingerprint tells whether a field can be one that we no longer want."""
    found = live({"a": 3, "b": 2}, annotations={"aigateway.dev/applied-fingerprint": fingerprint})

    assert after == after_apply(found, body(a=1))["spec"]


def test_metadata_of_others_stays() -> None:
    """Labels, annotations and owners that others have added are kept."""
    theirs, ours = {"uid": "1"}, {"uid": "2"}
    found = live({}, {}, labels={"b": "2"}, annotations={"c": "3"}, ownerReferences=[theirs, ours])
    wanted = body()
    wanted["metadata"]["ownerReferences"] = [ours]

    metadata = after_apply(found, wanted)["metadata"]

    assert {"a": "1", "b": "2"} == metadata["labels"]
    assert "3" == metadata["annotations"]["c"]
    assert [theirs, ours] == metadata["ownerReferences"]
