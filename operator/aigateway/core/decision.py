"""What was decided for one policy, and why.

The answer of :mod:`aigateway.core.decide`, the input of rendering and status.

Every decision carries its :class:`Because`; conditions, events, ``aigateway render`` and tests read the same list.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from aigateway.api.reasons import ConditionStatus, ConditionType, Reason
from aigateway.api.resolved import Autoscaling, Backend, ResolvedPolicy
from aigateway.core.observation import ChildRef, Counted, Lack, Metric


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


class Finding(StrEnum):
    """What one metric of one backend says about retries; the values are the words of the status."""

    FAILING = "Failing"
    SLOW = "Slow"
    BETWEEN = "Between"
    CLEAN = "Clean"
    IDLE = "Idle"
    NO_DATA = "NoData"


@dataclass(frozen=True, slots=True)
class Judged:
    """One metric of one backend beside its bound, both in percent or milliseconds.

    ``at`` is when Prometheus evaluated it, in seconds since the epoch, ``counted`` what a percentage is of; ``lack`` is
    why there is no value.
    """

    backend: str
    metric: Metric
    threshold: int
    finding: Finding
    value: float | None = None
    at: float | None = None
    counted: Counted = Counted.ATTEMPTS
    lack: Lack | None = None


@dataclass(frozen=True, slots=True)
class RetryLevel:
    """How many retries are in effect: ``level`` of the ``asked``, ``before`` it was decided, ``since`` when.

    ``reason`` and ``message`` say why it moves now, None where it stays.  ``judged`` is the whole second of the newest
    sample that a step down was made on, ``clean_since`` since when nothing speaks against a step up.  Times are in
    seconds since the epoch; ``wake_at`` as in :class:`Decision`.
    """

    asked: int
    before: int
    level: int
    reason: Reason | None
    message: str
    since: float
    judged: int | None
    inputs: tuple[Judged, ...]
    clean_since: float | None
    wake_at: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The whole decision for one policy.

    ``policy`` is None where it was rejected: then nothing is routed or scaled, and ``verdicts`` say why.  With
    ``withdraw`` its children go, since something older holds what it claims; without it they stay as they are.
    ``targets`` has one entry per backend in the policy's order; ``connected`` are those that get a DestinationRule.
    ``route_mesh`` and ``route_gateway`` say which
    VirtualServices are written; ``keep`` names children that are neither written nor pruned now because what they
    refer to is missing.  ``wake_at`` is when a debounce ends (seconds since the epoch), None if nothing is pending.
    ``policy`` has the retries of ``retries``, which is None where their number is the policy's own.
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
    retries: RetryLevel | None = None
