"""Policies at a glance, from their stored status alone: what the operator says is in effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aigateway.core.observation import Json

NOT_OBSERVED = "NotObserved"
"""Reason of a policy whose newest generation the operator has not looked at: what it says is about an older one."""


@dataclass(frozen=True, slots=True)
class BackendLine:
    """One backend: its share in percent and why, ready/wanted replicas, and the bounds of its scaling."""

    name: str
    weight: int | None
    reason: str
    available: bool | None
    replicas: str
    scaling: str
    triggers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """One policy.  ``ready`` is True, False or Unknown, ``scaling`` the reason of ScalingReady; empty: not told."""

    namespace: str
    name: str
    ready: str
    reason: str
    message: str
    weights: str
    replicas: str
    scaling: str
    scaling_ready: str
    created: str
    backends: tuple[BackendLine, ...]


@dataclass(frozen=True, slots=True)
class StatusView:
    """Policies by namespace and name."""

    policies: tuple[PolicyLine, ...]

    @property
    def all_ready(self) -> bool:
        """Whether every policy is in effect as it is written."""
        return all(policy.ready == "True" for policy in self.policies)


def status_view(policies: Iterable[Json]) -> StatusView:
    """Return the view of policies as the API server has them."""
    lines = map(policy_line, policies)
    return StatusView(tuple(sorted(lines, key=lambda line: (line.namespace, line.name))))


def policy_line(raw: Json) -> PolicyLine:
    """Return one policy at a glance."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    told = {item["type"]: item for item in status.get("conditions") or ()}
    ready, scaling = told.get("Ready", {}), told.get("ScalingReady", {})
    generation = metadata.get("generation", 0)
    if not ready or status.get("observedGeneration", 0) < generation:
        message = f"the operator has not looked at generation {generation} yet"
        ready = {"status": "Unknown", "reason": NOT_OBSERVED, "message": message}
    return PolicyLine(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        ready=ready["status"],
        reason=ready["reason"],
        message=ready["message"],
        weights=status.get("weights", ""),
        replicas=status.get("replicas", ""),
        scaling=scaling.get("reason", ""),
        scaling_ready=scaling.get("status", ""),
        created=metadata.get("creationTimestamp", ""),
        backends=tuple(_backends(status)),
    )


def _backends(status: Json) -> Iterator[BackendLine]:
    replicas = dict(part.partition("=")[::2] for part in status.get("replicas", "").split(","))
    scaled = {item["backend"]: item for item in (status.get("effective") or {}).get("scaling") or ()}
    for backend in status.get("backends") or ():
        bounds = scaled.get(backend["name"], {})
        yield BackendLine(
            name=backend["name"],
            weight=backend.get("weight"),
            reason=backend.get("reason", ""),
            available=backend.get("available"),
            replicas=replicas.get(backend["name"], ""),
            scaling=f"{bounds.get('minReplicas')} to {bounds.get('maxReplicas')}" if bounds else "",
            triggers=tuple(bounds.get("triggers") or ()),
        )
