"""The debounce of readiness, row by row of the table in the module."""

from __future__ import annotations

import pytest

from aigateway.core.decide.availability import DOWN_AFTER, UP_AFTER, Availability, decide_availability
from aigateway.core.observation import EndpointsState

NOW = 1000.0


@pytest.mark.parametrize(
    ("known", "ready", "for_seconds", "expected"),
    [
        pytest.param(None, 2, 0, Availability(available=True, changes_at=None), id="first-look-ready"),
        pytest.param(None, 0, 0, Availability(available=False, changes_at=None), id="first-look-not-ready"),
        pytest.param(True, 2, 0, Availability(available=True, changes_at=None), id="stays-ready"),
        pytest.param(False, 0, 0, Availability(available=False, changes_at=None), id="stays-away"),
        pytest.param(
            True, 0, 1, Availability(available=True, changes_at=NOW - 1 + DOWN_AFTER), id="just-gone-is-still-used"
        ),
        pytest.param(True, 0, DOWN_AFTER, Availability(available=False, changes_at=None), id="gone-long-enough"),
        pytest.param(
            False, 1, 5, Availability(available=False, changes_at=NOW - 5 + UP_AFTER), id="just-back-is-not-yet-used"
        ),
        pytest.param(False, 1, UP_AFTER, Availability(available=True, changes_at=None), id="back-long-enough"),
    ],
)
def test_debounce(known: bool | None, ready: int, for_seconds: float, expected: Availability) -> None:
    """A backend leaves after three seconds without ready endpoints and returns after ten with them."""
    endpoints = EndpointsState(ready=ready, since=NOW - for_seconds)

    assert expected == decide_availability(known, endpoints, NOW)


@pytest.mark.parametrize("known", [True, False, None], ids=["was-ready", "was-not", "unknown"])
def test_missing_observation_moves_nothing(known: bool | None) -> None:
    """Endpoints that were never seen keep a known state, and give an unknown backend no traffic."""
    expected = Availability(available=known is True, changes_at=None)

    assert expected == decide_availability(known, None, NOW)
