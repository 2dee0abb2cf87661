"""Names, owners and fingerprints of generated objects."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aigateway.api.resolved import PolicyKey
from aigateway.core.identity import FINGERPRINT_ANNOTATION, fingerprint, generated, mesh_virtual_service, scaled_object
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
