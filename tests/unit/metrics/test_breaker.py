"""The breaker towards Prometheus: how long nothing is asked."""

from __future__ import annotations

import pytest

from aigateway.metrics.breaker import Breaker


def ticks_left_out(failures: int, jitter: float) -> int:
    """Return how many ticks, one each 10 s, find the breaker open after so many failures in a row."""
    breaker = Breaker(10.0, lambda: jitter)
    now = 0.0
    for _ in range(failures):
        while breaker.is_open(now):
            now += 10.0
        breaker.failed(now)
    left_out = 0
    while breaker.is_open(now + 10.0 * (left_out + 1)):
        left_out += 1
    return left_out


@pytest.mark.parametrize("jitter", [0.0, 0.99])
@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        pytest.param(1, 0, id="one failure"),
        pytest.param(2, 1, id="two"),
        pytest.param(3, 3, id="three"),
        pytest.param(9, 3, id="many"),
    ],
)
def test_longer_and_longer(failures: int, expected: int, jitter: float) -> None:
    """The more ticks failed, the more are left out, but never more than three."""
    assert expected == ticks_left_out(failures, jitter)


def test_an_answer_closes_it() -> None:
    """After any answer everything is asked as ever, and the next failure counts as the first."""
    breaker = Breaker(10.0, lambda: 0.0)
    breaker.failed(0.0)
    breaker.failed(10.0)
    assert (True, True) == (breaker.is_open(20.0), breaker.probing)

    breaker.succeeded()
    assert (False, False) == (breaker.is_open(20.0), breaker.probing)

    breaker.failed(20.0)
    assert not breaker.is_open(30.0)
