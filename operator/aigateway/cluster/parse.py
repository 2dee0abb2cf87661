"""What is kept of each object: the little that decisions look at, parsed once when it arrives.

:mod:`aigateway.cluster.store` calls one of these functions per object.  What is dropped here (managedFields, other
people's status, counters) can neither take memory nor cause a reconcile: two parsed values are equal exactly when no
decision could differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aigateway.core.identity import GATEWAY_FILTER_CONTRACT_ANNOTATION, GATEWAY_FILTER_PART, KIND, PART_LABEL
from aigateway.core.observation import Json, ServicePort, ServiceState, WorkloadState

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class SliceState:
    """The ready addresses of one EndpointSlice, and the Service it belongs to (empty: none)."""

    service: str
    ready: frozenset[str]


def policy(raw: Json) -> Json:
    """Keep a policy's spec and status, and of its metadata what resolving and ownership need."""
    kept = ("name", "namespace", "uid", "generation", "creationTimestamp", "deletionTimestamp", "annotations")
    return _body(raw, kept, ("apiVersion", "kind", "spec", "status"))


def child(raw: Json) -> Json:
    """Keep a generated object whole, but for bookkeeping; of its status only the conditions.

    KEDA writes the time of the last activity into the status on every poll: with it, every poll would be a change.
    """
    dropped = ("managedFields", "resourceVersion", "generation", "selfLink")
    kept = tuple(key for key in raw.get("metadata", {}) if key not in dropped)
    body = _body(raw, kept, tuple(key for key in raw if key not in ("metadata", "status")))
    conditions = (raw.get("status") or {}).get("conditions")
    return {**body, "status": {"conditions": conditions}} if conditions else body


def envoy_filter(raw: Json) -> Json:
    """Keep a generated EnvoyFilter whole; of the gateways' shared one only which it is."""
    metadata = raw["metadata"]
    if (metadata.get("labels") or {}).get(PART_LABEL) != GATEWAY_FILTER_PART:
        return child(raw)
    found = (metadata.get("annotations") or {}).get(GATEWAY_FILTER_CONTRACT_ANNOTATION)
    kept = {key: metadata[key] for key in ("name", "namespace", "deletionTimestamp") if key in metadata}
    return {"metadata": {**kept, "annotations": {GATEWAY_FILTER_CONTRACT_ANNOTATION: found}}}


def routing(raw: Json) -> Json:
    """Keep a VirtualService or DestinationRule.

    Of one that others wrote only what may be in our way is kept: which hosts and paths it is for.
    """
    return child(raw) if is_generated(raw) else _foreign(raw)


def is_generated(raw: Json) -> bool:
    """Whether an object is controlled by a policy."""
    owners = raw["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("kind") == KIND for owner in owners)


def _foreign(raw: Json) -> Json:
    spec = raw.get("spec") or {}
    kept = {key: spec[key] for key in ("hosts", "gateways", "host", "workloadSelector") if key in spec}
    if "http" in spec:
        kept["http"] = [
            {"match": [_path_only(match) for match in route.get("match") or [{}]]} for route in spec["http"]
        ]
    body = _body(raw, ("name", "namespace", "uid", "creationTimestamp"), ("apiVersion", "kind"))
    return {**body, "spec": kept}


def _path_only(match: Json) -> Json:
    return {"uri": match["uri"]} if "uri" in match else {}


def service(raw: Json) -> ServiceState:
    """Keep the ports of a Service, and whether it is one at all."""
    spec = raw.get("spec") or {}
    ports = tuple(ServicePort(port["port"], port.get("name", "")) for port in spec.get("ports") or ())
    return ServiceState(ports, external=spec.get("type") == "ExternalName")


def endpoint_slice(raw: Json) -> SliceState:
    """Keep the ready addresses; an endpoint whose readiness is unknown counts as ready, as Kubernetes asks for."""
    labels = raw.get("metadata", {}).get("labels") or {}
    ready = frozenset(
        address
        for endpoint in raw.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
        for address in (endpoint.get("addresses") or ())[:1]
    )
    return SliceState(labels.get(SERVICE_NAME_LABEL, ""), ready)


def workload(raw: Json) -> WorkloadState:
    """Keep a workload's wanted and ready replicas, and the names of its containers without a CPU request.

    A container with a CPU limit alone has a request: the API server sets it to the limit.
    """
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ()
    return WorkloadState(
        replicas=spec.get("replicas", 1),
        ready=status.get("readyReplicas", 0),
        without_cpu_request=tuple(item["name"] for item in containers if not _has_cpu(item.get("resources") or {})),
    )


def _has_cpu(resources: Json) -> bool:
    return any("cpu" in (resources.get(kind) or {}) for kind in ("requests", "limits"))


def _body(raw: Json, metadata: tuple[str, ...], top: tuple[str, ...]) -> dict[str, Any]:
    kept: dict[str, Any] = {key: raw[key] for key in top if key in raw}
    kept["metadata"] = {key: raw["metadata"][key] for key in metadata if key in raw["metadata"]}
    if "annotations" in kept["metadata"]:
        kept["metadata"]["annotations"] = _without_last_applied(kept["metadata"]["annotations"])
    return kept


def _without_last_applied(annotations: Mapping[str, str] | None) -> dict[str, str]:
    return {key: value for key, value in (annotations or {}).items() if key != _LAST_APPLIED}
