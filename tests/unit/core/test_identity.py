"""Names, owners and fingerprints of generated objects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway.api.resolved import PolicyKey
from aigateway.core.identity import (
    FINGERPRINT_ANNOTATION,
    controller_of,
    fingerprint,
    gateway_envoy_filter,
    generated,
    mesh_envoy_filter,
    mesh_virtual_service,
    owner_of,
    place_of,
    policy_of,
    ref_of,
    scaled_object,
)
from tests.resolved import UID, policy

LABELS = st.from_regex(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)


@given(LABELS, LABELS)
def test_scaled_object_names_leave_room_for_the_autoscaler(policy_name: str, backend: str) -> None:
    """KEDA puts ``keda-hpa-`` before the name, and 63 characters is the end."""
    name = scaled_object(PolicyKey("models", policy_name), backend).name

    assert len(f"keda-hpa-{name}") <= 63
    assert name == scaled_object(PolicyKey("models", policy_name), backend).name


def test_long_names_that_start_alike_stay_apart() -> None:
    """A cut name carries a hash of the whole."""
    key = PolicyKey("models", "p" * 40)

    assert scaled_object(key, "b" * 39 + "1") != scaled_object(key, "b" * 39 + "2")


def test_generated_object_belongs_to_its_policy() -> None:
    """The garbage collector deletes it with the policy, also while the operator is down."""
    body = generated(policy(), mesh_virtual_service(policy().key), {"hosts": ["chat"]})

    assert [{"uid": UID, "controller": True}] == [
        {"uid": owner["uid"], "controller": owner["controller"]} for owner in body["metadata"]["ownerReferences"]
    ]
    assert "models" == body["metadata"]["namespace"]


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.integers())))
def test_fingerprint_does_not_depend_on_key_order(content: dict[str, Any]) -> None:
    """The same content has the same fingerprint however it was put together."""
    assert fingerprint(content) == fingerprint(dict(reversed(content.items())))


def test_fingerprint_tells_a_removed_field() -> None:
    """A field that is no longer asked for changes the fingerprint, which a comparison of fields would not see."""
    ref = mesh_virtual_service(policy().key)
    prints = {
        generated(policy(), ref, spec)["metadata"]["annotations"][FINGERPRINT_ANNOTATION]
        for spec in ({"hosts": ["a"]}, {"hosts": ["a"], "exportTo": ["."]})
    }

    assert 2 == len(prints)


KEY = policy().key
ELSEWHERE = gateway_envoy_filter(KEY, "istio-system")


@pytest.mark.parametrize(
    ("ref", "shown", "namespace", "owners"),
    [
        pytest.param(ELSEWHERE, "EnvoyFilter istio-system/models.chat", "istio-system", 0, id="elsewhere"),
        pytest.param(
            gateway_envoy_filter(KEY, "models"), "EnvoyFilter models.chat", "models", 1, id="gateways-at-home"
        ),
        pytest.param(mesh_envoy_filter(KEY), "EnvoyFilter chat-mesh", "models", 1, id="in-mesh"),
    ],
)
def test_an_object_tells_whose_it_is_wherever_it_is(ref: Any, shown: str, namespace: str, owners: int) -> None:
    """Labels say so in another namespace, an owner reference in the policy's own; both are read back the same way."""
    body = generated(policy(), ref, {})

    assert shown == str(ref_of(body)) == str(ref)
    assert (KEY, UID) == (policy_of(body), owner_of(body))
    assert namespace == body["metadata"]["namespace"]
    assert owners == len(body["metadata"].get("ownerReferences", ()))
    assert "policy" == body["metadata"]["labels"]["aigateway.dev/part"]


@pytest.mark.parametrize(
    ("metadata", "place", "owner"),
    [
        pytest.param({}, "", None, id="nothing-said"),
        pytest.param({"labels": None, "ownerReferences": None}, "", None, id="nulls"),
        pytest.param({"labels": {"aigateway.dev/policy-namespace": "b"}}, "a", None, id="no-uid"),
        pytest.param({"labels": {"aigateway.dev/policy-namespace": "a"}}, "", None, id="its-own-namespace"),
        pytest.param(
            {
                "labels": {"aigateway.dev/policy-namespace": "b", "aigateway.dev/policy-uid": "1"},
                "ownerReferences": [{"uid": "2", "controller": True}],
            },
            "",
            "2",
            id="a-controller-counts-for-more",
        ),
    ],
)
def test_what_others_write_is_read_with_care(metadata: dict[str, Any], place: str, owner: str | None) -> None:
    """Labels that contradict the namespace or a controller make nobody the owner of anything."""
    body = {"kind": "EnvoyFilter", "metadata": {"name": "x", "namespace": "a"} | metadata}

    assert (place, owner) == (place_of(body), owner_of(body))
    assert policy_of(body) is None


@given(LABELS, LABELS, LABELS, LABELS)
def test_two_policies_never_share_an_envoy_filter(space: str, name: str, other_space: str, other: str) -> None:
    """In a namespace of gateways the names of all policies' objects differ, those of its own policies too."""
    mine, theirs = PolicyKey(space, name), PolicyKey(other_space, other)
    at_home = mesh_envoy_filter(PolicyKey("edge", other))

    assert (gateway_envoy_filter(mine, "edge") == gateway_envoy_filter(theirs, "edge")) == (mine == theirs)
    assert gateway_envoy_filter(mine, "edge").name != at_home.name


def test_a_controller_is_told_from_other_owners() -> None:
    """Only one owner controls an object."""
    assert {"uid": "2", "controller": True} == controller_of(
        {"metadata": {"ownerReferences": [{"uid": "1"}, {"uid": "2", "controller": True}]}}
    )
