"""Which metrics a policy's decisions look at, and of what: that is asked of Prometheus, and nothing else.

:mod:`aigateway.cluster.samples` asks it for every policy; decisions find the answers in the observation.
"""

from __future__ import annotations

from dataclasses import dataclass

from aigateway.api.resolved import ResolvedPolicy
from aigateway.core.observation import Metric


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A Service that is asked about.  ``ports`` are those that policies route to, as far as they are known."""

    namespace: str
    service: str
    ports: tuple[int, ...] = ()


def signals(policy: ResolvedPolicy) -> frozenset[Metric]:
    """Return the metrics that are needed of each of a policy's backends; a suspended policy decides nothing.

    The rate tells a backend without requests, of which there is no share and no P99, from one that nothing is known of.
    """
    adaptive = policy.retries.adaptive
    if adaptive is None or policy.suspend:
        return frozenset()
    thresholds = {Metric.LATENCY_P99: adaptive.latency_above, Metric.FAILURE_PERCENT: adaptive.failure_percent}
    return frozenset({Metric.REQUEST_RATE, *(metric for metric in thresholds if thresholds[metric] is not None)})
