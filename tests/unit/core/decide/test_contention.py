"""When a changed child is put back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway.core.decide.contention import REPAIRS, WINDOW, next_repair

NOW = 1000.0


@pytest.mark.parametrize(
    ("repairs", "expected"),
    [
        pytest.param([], None, id="never-changed-before"),
        pytest.param([NOW - 1], None, id="changed-once"),
        pytest.param([NOW - 30, NOW - 10], NOW + 30, id="changed-again-and-again"),
        pytest.param([NOW - 61, NOW - 10], None, id="the-first-is-long-ago"),
        pytest.param([NOW - 50, NOW - 40, NOW - 10], NOW + 20, id="only-the-last-ones-count"),
        pytest.param([NOW + 3600, NOW + 3700], None, id="a-clock-that-was-set-back-blocks-nothing"),
    ],
)
def test_next_repair(repairs: list[float], expected: float | None) -> None:
    """The third repair within a minute waits until the first of the last two is a minute old."""
    assert expected == next_repair(repairs, NOW)


@given(st.lists(st.floats(0, 30), max_size=60))
def test_repairs_in_a_minute_are_bounded(gaps: list[float]) -> None:
    """However often someone undoes them, there are never more repairs in a minute than allowed."""
    now, repairs = NOW, list[float]()
    for gap in gaps:
        now += gap
        if next_repair(repairs, now) is None:
            repairs.append(now)

    assert all(later - earlier >= WINDOW for earlier, later in zip(repairs, repairs[REPAIRS:], strict=False))
