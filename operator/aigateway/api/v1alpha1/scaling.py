"""How many replicas a backend gets: bounds, rules, and how fast they move."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from aigateway.api.model import ListType, Model
from aigateway.api.types import Duration, Limit, Percent, Period, Replicas, Stabilization


class RequestRate(Model):
    """Scale with the requests per second that reach the backend."""

    target_per_replica: Limit
    """Requests per second that one replica should serve."""


class Latency(Model):
    """Scale out while requests are slow."""

    percentile: Literal[50, 90, 95, 99]
    """Percentile of the request duration: 50, 90, 95 or 99."""
    threshold: Duration
    """Duration above which replicas are added."""


class QueueLength(Model):
    """Scale out while requests wait for a connection to the backend."""

    total: Limit
    """Waiting requests, over all replicas, above which replicas are added."""


class CPU(Model):
    """Scale with the CPU that the pods use; their containers must request CPU."""

    utilization_percent: Percent
    """Share of the requested CPU that should be in use."""


class ScalingRule(Model):
    """One reason to scale: type, and the member of that name. The rule that asks for most replicas wins."""

    type: Literal["RequestRate", "Latency", "QueueLength", "CPU"]
    """Which of the members is set."""
    request_rate: RequestRate | None = None
    """Set for type RequestRate."""
    latency: Latency | None = None
    """Set for type Latency, beside a RequestRate or QueueLength rule."""
    queue_length: QueueLength | None = None
    """Set for type QueueLength."""
    cpu: CPU | None = None
    """Set for type CPU."""


class ScaleUp(Model):
    """How fast replicas may be added."""

    max_add_replicas: Annotated[int, Field(ge=1, le=1000)]
    """Most replicas that are added in one period."""
    period: Period
    """Length of the period, at most 30m."""


class ScaleDown(Model):
    """How slowly replicas are removed."""

    stabilization: Stabilization | None = None
    """Time for which fewer replicas must have been enough before any is removed (default 10m, at most 1h)."""


Rules = Annotated[tuple[ScalingRule, ...], Field(min_length=1, max_length=8), ListType("map", "type")]


class Autoscaling(Model):
    """How each backend scales, unless it overrides this."""

    min_replicas: Replicas | None = None
    """Fewest replicas (default 1)."""
    max_replicas: Replicas
    """Most replicas."""
    rules: Rules
    """Reasons to scale, at most one of each type."""
    scale_up: ScaleUp | None = None
    """Limit on adding replicas (default: the larger of doubling and two more, in a minute)."""
    scale_down: ScaleDown | None = None
    """Limit on removing replicas."""


class BackendAutoscaling(Model):
    """What differs for one backend; with maxReplicas and rules it stands without spec.autoscaling."""

    min_replicas: Replicas | None = None
    """Fewest replicas of this backend."""
    max_replicas: Replicas | None = None
    """Most replicas of this backend."""
    rules: Rules | None = None
    """Reasons to scale this backend, instead of those in spec.autoscaling."""
    scale_up: ScaleUp | None = None
    """Limit on adding replicas of this backend."""
    scale_down: ScaleDown | None = None
    """Limit on removing replicas of this backend."""
