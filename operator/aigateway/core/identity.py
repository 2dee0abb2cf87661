"""Names, labels, owner and fingerprint of generated objects.

Rendering, planning and deciding use it, so that all of them mean the same object by the same name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aigateway.api.resolved import PolicyKey, ResolvedPolicy
from aigateway.core.observation import API_VERSIONS, ChildKind, ChildRef

API_VERSION = "aigateway.dev/v1alpha1"
KIND = "AIGatewayPolicy"

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "aigateway-operator"
POLICY_LABEL = "aigateway.dev/policy"
POLICY_NAMESPACE_LABEL = "aigateway.dev/policy-namespace"
POLICY_UID_LABEL = "aigateway.dev/policy-uid"
"""Whose an object in another namespace is: owner references do not reach there."""
PART_LABEL = "aigateway.dev/part"
"""On every EnvoyFilter of ours, so that only these are watched."""
POLICY_PART = "policy"
GATEWAY_FILTER_PART = "gateway-filter"
GATEWAY_FILTER_CONTRACT_ANNOTATION = "aigateway.dev/gateway-filter-contract"
"""What routes may ask of a gateway filter, as a number that only grows."""
FINGERPRINT_ANNOTATION = "aigateway.dev/applied-fingerprint"
"""Hash of what was last applied: tells a field that the policy no longer asks for, which a comparison cannot see."""

_SCALED_OBJECT_NAME_LIMIT = 54
"""KEDA names its HorizontalPodAutoscaler ``keda-hpa-<name>``, and refuses that over 63 characters."""


def gateway_virtual_service(key: PolicyKey) -> ChildRef:
    """Return the VirtualService that is bound to gateways."""
    return ChildRef(ChildKind.VIRTUAL_SERVICE, f"{key.name}-gateway")


def mesh_virtual_service(key: PolicyKey) -> ChildRef:
    """Return the VirtualService for in-mesh traffic; Istio merges several for one host only on gateways."""
    return ChildRef(ChildKind.VIRTUAL_SERVICE, f"{key.name}-mesh")


def destination_rule(key: PolicyKey, backend: str) -> ChildRef:
    """Return the DestinationRule of one backend."""
    return ChildRef(ChildKind.DESTINATION_RULE, _joined(key.name, backend))


def scaled_object(key: PolicyKey, backend: str) -> ChildRef:
    """Return the ScaledObject of one backend."""
    return ChildRef(ChildKind.SCALED_OBJECT, _joined(key.name, backend))


def gateway_envoy_filter(key: PolicyKey, namespace: str) -> ChildRef:
    """Return the EnvoyFilter for the gateways' proxies of a namespace.

    The names of namespaces and policies have no dot, so it is nobody else's.  Where the proxies run in the policy's own
    namespace the object is an ordinary child of it.
    """
    elsewhere = "" if namespace == key.namespace else namespace
    return ChildRef(ChildKind.ENVOY_FILTER, f"{key.namespace}.{key.name}", elsewhere)


def mesh_envoy_filter(key: PolicyKey) -> ChildRef:
    """Return the EnvoyFilter for clients in the mesh."""
    return ChildRef(ChildKind.ENVOY_FILTER, f"{key.name}-mesh")


def _joined(policy: str, backend: str) -> str:
    """Join two names; over the limit, a hash of both keeps different pairs apart."""
    name = f"{policy}-{backend}"
    if len(name) <= _SCALED_OBJECT_NAME_LIMIT:
        return name
    digest = hashlib.sha256(f"{policy}/{backend}".encode()).hexdigest()[:8]
    return f"{name[: _SCALED_OBJECT_NAME_LIMIT - 9].rstrip('-.')}-{digest}"


def generated(policy: ResolvedPolicy, ref: ChildRef, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole object as it is applied: identity, owner, labels, fingerprint and ``spec``."""
    metadata: dict[str, Any] = {
        "name": ref.name,
        "namespace": ref.namespace or policy.key.namespace,
        "labels": {MANAGED_BY_LABEL: MANAGED_BY, POLICY_LABEL: policy.key.name},
    }
    if ref.kind is ChildKind.ENVOY_FILTER:
        metadata["labels"][PART_LABEL] = POLICY_PART
    if ref.namespace:
        metadata["labels"] |= {POLICY_NAMESPACE_LABEL: policy.key.namespace, POLICY_UID_LABEL: policy.uid}
    else:
        metadata["ownerReferences"] = [_owner(policy)]
    body = {
        "apiVersion": API_VERSIONS[ref.kind],
        "kind": str(ref.kind),
        "metadata": metadata,
        "spec": dict(spec),
    }
    metadata["annotations"] = {FINGERPRINT_ANNOTATION: fingerprint(body)}
    return body


def ref_of(body: Mapping[str, Any]) -> ChildRef:
    """Return which generated object this is."""
    return ChildRef(ChildKind(body["kind"]), body["metadata"]["name"], place_of(body))


def place_of(body: Mapping[str, Any]) -> str:
    """Return the namespace of an object whose labels name a policy of another one, else nothing.

    What has a controller is its controller's, whatever the labels say.
    """
    metadata = body["metadata"]
    named = (metadata.get("labels") or {}).get(POLICY_NAMESPACE_LABEL)
    if not named or named == metadata["namespace"] or controller_of(body) is not None:
        return ""
    return str(metadata["namespace"])


def policy_of(body: Mapping[str, Any]) -> PolicyKey | None:
    """Return the policy that an object says it belongs to; whether it does is :func:`owner_of`'s to tell."""
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    if not labels.get(POLICY_LABEL):
        return None
    namespace = labels[POLICY_NAMESPACE_LABEL] if place_of(body) else metadata["namespace"]
    return PolicyKey(namespace, labels[POLICY_LABEL])


def owner_of(body: Mapping[str, Any]) -> str | None:
    """Return the uid of the policy, or of whatever else, that an object belongs to; None: it is nobody's."""
    if place_of(body):
        uid: str | None = body["metadata"]["labels"].get(POLICY_UID_LABEL)
        return uid
    controller = controller_of(body)
    return None if controller is None else str(controller.get("uid"))


def controller_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the owner reference of an object's controller."""
    owners = body["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def _owner(policy: ResolvedPolicy) -> dict[str, Any]:
    # blockOwnerDeletion is left out: it would need a permission on the policy's finalizers and gain nothing here.
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": policy.key.name,
        "uid": policy.uid,
        "controller": True,
    }


def fingerprint(body: Mapping[str, Any]) -> str:
    """Return a short hash of an object's content, the same for every key order."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
