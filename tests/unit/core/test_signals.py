"""Which metrics a policy looks at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aigateway.api.resolved import Adaptive
from aigateway.core.observation import Metric
from aigateway.core.signals import signals
from tests.resolved import policy

RATE = Metric.REQUEST_RATE


@pytest.mark.parametrize(
    ("adaptive", "suspend", "expected"),
    [
        pytest.param(None, False, set(), id="none"),
        pytest.param(Adaptive(500, None), False, {RATE, Metric.LATENCY_P99}, id="latency"),
        pytest.param(Adaptive(None, 50), False, {RATE, Metric.FAILURE_PERCENT}, id="failures"),
        pytest.param(Adaptive(500, 50), False, {RATE, Metric.LATENCY_P99, Metric.FAILURE_PERCENT}, id="both"),
        pytest.param(Adaptive(500, 50), True, set(), id="suspended"),
    ],
)
def test_signals(adaptive: Adaptive | None, suspend: bool, expected: set[Metric]) -> None:
    """Metrics with a threshold are looked at, and the rate; none by a policy that is not acted upon."""
    made = policy()
    made = replace(made, suspend=suspend, retries=replace(made.retries, adaptive=adaptive))

    assert expected == signals(made)
