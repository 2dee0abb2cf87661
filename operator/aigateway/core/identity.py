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


def _joined(policy: str, backend: str) -> str:
    """Join two names; over the limit, a hash of both keeps different pairs apart."""
    name = f"{policy}-{backend}"
    if len(name) <= _SCALED_OBJECT_NAME_LIMIT:
        return name
    digest = hashlib.sha256(f"{policy}/{backend}".encode()).hexdigest()[:8]
    return f"{name[: _SCALED_OBJECT_NAME_LIMIT - 9].rstrip('-.')}-{digest}"


def generated(policy: ResolvedPolicy, ref: ChildRef, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole object as it is applied: identity, owner, labels, fingerprint and ``spec``."""
    body: dict[str, Any] = {
        "apiVersion": API_VERSIONS[ref.kind],
        "kind": str(ref.kind),
        "metadata": {
            "name": ref.name,
            "namespace": policy.key.namespace,
            "labels": {MANAGED_BY_LABEL: MANAGED_BY, POLICY_LABEL: policy.key.name},
            "ownerReferences": [_owner(policy)],
        },
        "spec": dict(spec),
    }
    body["metadata"]["annotations"] = {FINGERPRINT_ANNOTATION: fingerprint(body)}
    return body


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
