"""Which metrics a policy's decisions look at: what is asked of Prometheus, and nothing else is.

:mod:`aigateway.cluster.world` asks it for every policy; the decisions find the answers in the observation.
"""

from __future__ import annotations

from aigateway.api.resolved import ResolvedPolicy
from aigateway.core.observation import Metric


def signals(policy: ResolvedPolicy) -> frozenset[Metric]:
    """Return the metrics that are needed of each of a policy's backends."""
    adaptive = getattr(policy.retries, "adaptive", None)
    if adaptive is None or policy.suspend:
        return frozenset()
    return frozenset({Metric.FAILURE_PERCENT, Metric.LATENCY_P99})
