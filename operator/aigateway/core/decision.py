"""What was decided for one policy, and why.

The answer of :mod:`aigateway.core.decide`, the input of rendering and status.

Every decision carries its :class:`Because`; conditions, events, ``aigateway render`` and tests read the same list.
"""

from __future__ import annotations

from dataclasses import dataclass

from aigateway.api.reasons import ConditionStatus, ConditionType, Reason
from aigateway.api.resolved import Autoscaling, Backend, ResolvedPolicy
from aigateway.core.observation import ChildRef


@dataclass(frozen=True, slots=True)
class Because:
    """Why something is as it is.  ``subject`` names it: ``backends[v2].weight``."""

    subject: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A condition before it has a transition time."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Target:
    """A backend as traffic reaches it.

    ``port`` is None while its Service or port is missing; ``available`` is the debounced readiness; ``weight`` is the
    share of the split in percent, 0 where it gets none.
    """

    backend: Backend
    port: int | None
    available: bool
    weight: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Scaler:
    """A backend that is scaled, by what, and within which bounds.

    ``fallback``: KEDA can be told to keep the current replicas while metrics are missing; the autoscaler itself does so
    only as long as KEDA answers with an error.
    """

    backend: Backend
    port: int
    autoscaling: Autoscaling
    fallback: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """The whole decision for one policy.

    ``policy`` is None where it was rejected: then nothing is routed or scaled, and ``verdicts`` say why.  With
    ``withdraw`` its children go, since something older holds what it claims; without it they stay as they are.
    ``targets`` has one entry per backend in the policy's order; ``connected`` are those that get a DestinationRule.
    ``route_mesh`` and ``route_gateway`` say which
    VirtualServices are written; ``keep`` names children that are neither written nor pruned now because what they
    refer to is missing.  ``wake_at`` is when a debounce ends (seconds since the epoch), None if nothing is pending.
    """

    policy: ResolvedPolicy | None
    verdicts: tuple[Verdict, ...]
    targets: tuple[Target, ...] = ()
    scalers: tuple[Scaler, ...] = ()
    connected: tuple[Backend, ...] = ()
    route_gateway: bool = False
    route_mesh: bool = False
    keep: frozenset[ChildRef] = frozenset()
    because: tuple[Because, ...] = ()
    wake_at: float | None = None
    skipped: tuple[Because, ...] = ()
    withdraw: bool = False
