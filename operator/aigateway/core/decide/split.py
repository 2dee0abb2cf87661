"""The weights of the split: the one place that decides them.

base (the policy's weights) → 0 for backends that don't resolve or are not available → normalised to 100; if nothing
is left, the base of what resolves is kept, since sending traffic to a backend that may be coming up is better than
taking the last route away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aigateway.api.reasons import (
    ALL_UNAVAILABLE,
    AS_SPECIFIED,
    NOT_READY,
    SHARE_OF_UNAVAILABLE,
    UNRESOLVED,
    Reason,
)

TOTAL = 100


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backend as the split sees it: its weight in the policy, and whether it can be addressed and is ready."""

    name: str
    base: int
    resolved: bool
    available: bool


@dataclass(frozen=True, slots=True)
class Share:
    """A backend's part of the split, in percent, and why."""

    weight: int
    reason: Reason


def decide_split(candidates: Sequence[Candidate]) -> Mapping[str, Share]:
    """Return every backend's share; they sum to 100, or to 0 where no backend with a weight resolves.

    A backend that the policy gives 0 never gets traffic for want of others.
    """
    able = {c.name: c.base for c in candidates if c.resolved and c.available}
    fallen_back = sum(able.values()) == 0
    if fallen_back:
        able = {c.name: c.base for c in candidates if c.resolved}
    weights = normalise(able)
    return {c.name: Share(weights.get(c.name, 0), _reason(c, weights, fallen_back=fallen_back)) for c in candidates}


def _reason(candidate: Candidate, weights: Mapping[str, int], *, fallen_back: bool) -> Reason:
    if not candidate.resolved:
        return UNRESOLVED
    if not candidate.available:
        return ALL_UNAVAILABLE if fallen_back else NOT_READY
    return AS_SPECIFIED if weights[candidate.name] == candidate.base else SHARE_OF_UNAVAILABLE


def normalise(shares: Mapping[str, int]) -> dict[str, int]:
    """Scale shares to integers that sum to 100, by largest remainder; ties go to who comes first.

    Nothing to share (empty, or all zero) stays as it is.
    """
    total = sum(shares.values())
    if total == 0:
        return dict(shares)
    whole = {name: share * TOTAL // total for name, share in shares.items()}
    left = TOTAL - sum(whole.values())
    by_remainder = sorted(shares, key=lambda name: -(shares[name] * TOTAL % total))
    return {name: weight + (name in by_remainder[:left]) for name, weight in whole.items()}
