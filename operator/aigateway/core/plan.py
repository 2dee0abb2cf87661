"""From what there should be and what there is to the ordered steps between the two.

Called by :mod:`aigateway.core.reconcile`; :mod:`aigateway.engine` takes the steps.  The order makes before it breaks: a
DestinationRule is there before a route uses it and leaves after it; a failed required step stops the rest, so that
routes never run ahead of what they need.  An EnvoyFilter too comes first and leaves last, for its patches do nothing
without the routes that they name; but neither it nor a ScaledObject ever holds routing up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aigateway.core.identity import FINGERPRINT_ANNOTATION, ref_of
from aigateway.core.observation import ChildKind, ChildRef, ChildState, Observation
from aigateway.core.outcome import Apply, Delete, Step

_APPLY_ORDER = (
    ChildKind.DESTINATION_RULE,
    ChildKind.SCALED_OBJECT,
    ChildKind.ENVOY_FILTER,
    ChildKind.VIRTUAL_SERVICE,
)
_DELETE_ORDER = (
    ChildKind.VIRTUAL_SERVICE,
    ChildKind.ENVOY_FILTER,
    ChildKind.SCALED_OBJECT,
    ChildKind.DESTINATION_RULE,
)
_NEVER_IN_THE_WAY = frozenset({ChildKind.SCALED_OBJECT, ChildKind.ENVOY_FILTER})
_KINDS = frozenset(map(str, ChildKind))
"""A later version may have written others into the status."""

Body = Mapping[str, Any]


def make_plan(
    uid: str, desired: Sequence[Body], keep: frozenset[ChildRef], observation: Observation
) -> tuple[Step, ...]:
    """Return the steps, in order; empty when the world is as it should be.

    ``uid`` is the policy's; ``keep`` are children that are neither written nor deleted.
    """
    wanted = {ref: body for body in desired if (ref := ref_of(body)).kind in observation.installed}
    known = _known(observation)
    applies = [
        step
        for ref, body in wanted.items()
        if (step := _apply(uid, ref, body, observation.children.get(ref), lost=ref in known))
    ]
    deletes = [
        Delete(ref, child.uid, child.resource_version, required=ref.kind not in _NEVER_IN_THE_WAY)
        for ref, child in observation.children.items()
        if child.owner == uid and ref not in wanted and ref not in keep
    ]
    applies.sort(key=lambda step: (_APPLY_ORDER.index(step.ref.kind), step.ref))
    deletes.sort(key=lambda step: (_DELETE_ORDER.index(step.ref.kind), step.ref))
    return (*applies, *deletes)


def _known(observation: Observation) -> frozenset[ChildRef]:
    """Return the children that the policy had when its status was last written."""
    return frozenset(
        ChildRef(ChildKind(child["kind"]), child["name"], child.get("namespace", ""))
        for child in observation.status.get("children") or ()
        if child["kind"] in _KINDS
    )


def _apply(uid: str, ref: ChildRef, body: Body, live: ChildState | None, *, lost: bool) -> Apply | None:
    """Return the write that is needed, or None.  An object of somebody else counts as not known: it is read first.

    ``lost``: the policy had the object, so where there is none now, someone has deleted it.
    """
    required = ref.kind not in _NEVER_IN_THE_WAY
    if live is None or live.owner != uid:
        return Apply(ref, body, exists=False, required=required, drift=lost and live is None)
    found = live.body["metadata"].get("annotations", {}).get(FINGERPRINT_ANNOTATION)
    if found != body["metadata"]["annotations"][FINGERPRINT_ANNOTATION]:
        # We never write one without it: someone has replaced the object, and may do so again and again.
        return Apply(ref, body, exists=True, required=required, drift=found is None)
    if not contains(live.body, body):
        return Apply(ref, body, exists=True, required=required, drift=True)
    return None


def contains(live: Any, wanted: Any) -> bool:  # noqa: ANN401  (any JSON value)
    """Return whether ``live`` holds all of ``wanted``.

    Objects may hold more (fields of others, human annotations).  Lists must be equal, since the lists in these kinds
    are atomic, but for owner references, where others may stand beside ours.
    """
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            key in live and (_all_in(live[key], value) if key == "ownerReferences" else contains(live[key], value))
            for key, value in wanted.items()
        )
    return bool(live == wanted)


def _all_in(live: Sequence[Any], wanted: Sequence[Any]) -> bool:
    return all(item in live for item in wanted)
