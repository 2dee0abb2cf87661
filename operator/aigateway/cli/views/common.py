"""Parts that several views share: conditions as people read them, and objects without bookkeeping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aigateway.api.reasons import ALL_REASONS
from aigateway.core.identity import FINGERPRINT_ANNOTATION
from aigateway.core.observation import Json

_HIDDEN_ANNOTATIONS = frozenset({FINGERPRINT_ANNOTATION, "kubectl.kubernetes.io/last-applied-configuration"})
_METADATA = ("name", "namespace", "labels", "annotations", "ownerReferences")


@dataclass(frozen=True, slots=True)
class ConditionView:
    """One condition.  ``since`` is when its status last changed; ``remedy`` is set where it is not True.

    ``before`` is what the stored status says (``status reason``) where that differs, empty where it says nothing.
    """

    type: str
    status: str
    reason: str
    message: str
    since: str
    before: str | None = None
    remedy: str | None = None


def conditions(status: Json, stored: Json) -> Iterator[ConditionView]:
    """Yield the conditions of a status, compared with those of the stored one."""
    before = {item["type"]: item for item in stored.get("conditions") or ()}
    for item in status.get("conditions") or ():
        old, new = _short(before.get(item["type"])), _short(item)
        reason = ALL_REASONS.get(item["reason"])
        yield ConditionView(
            type=item["type"],
            status=item["status"],
            reason=item["reason"],
            message=item["message"],
            since=item["lastTransitionTime"],
            before=None if old == new else old,
            remedy=reason.remedy or None if reason and item["status"] != "True" else None,
        )


def _short(condition: Json | None) -> str:
    return f"{condition['status']} {condition['reason']}" if condition else ""


def without_bookkeeping(body: Json) -> dict[str, Any]:
    """Return an object as it is meant: without status and what the API server and kubectl keep in its metadata."""
    metadata = {key: body["metadata"][key] for key in _METADATA if body["metadata"].get(key)}
    if "annotations" in metadata:
        metadata["annotations"] = _shown(metadata["annotations"])
    metadata = {key: value for key, value in metadata.items() if value}
    return {
        "apiVersion": body.get("apiVersion"),
        "kind": body.get("kind"),
        "metadata": metadata,
        "spec": body.get("spec"),
    }


def _shown(annotations: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in annotations.items() if key not in _HIDDEN_ANNOTATIONS}
