"""Whether a backend may get traffic, from the readiness of its endpoints, with the flutter taken out.

| known state | endpoints     | for                  | answer      |
|-------------|---------------|----------------------|-------------|
| none        | any ready     | -                    | available   |
| none        | none ready    | -                    | unavailable |
| available   | none ready    | less than DOWN_AFTER | available   |
| available   | none ready    | DOWN_AFTER or longer | unavailable |
| unavailable | any ready     | less than UP_AFTER   | unavailable |
| unavailable | any ready     | UP_AFTER or longer   | available   |

Leaving is quick, since requests fail meanwhile; returning is slow, since a model that just came up often goes again.
"""

from __future__ import annotations

from dataclasses import dataclass

from aigateway.core.observation import EndpointsState

DOWN_AFTER = 3.0
UP_AFTER = 10.0


@dataclass(frozen=True, slots=True)
class Availability:
    """``changes_at``: when the answer will turn if nothing else happens (seconds since the epoch), None: never."""

    available: bool
    changes_at: float | None


def decide_availability(known: bool | None, endpoints: EndpointsState | None, now: float) -> Availability:  # noqa: FBT001  (a state of three values, read from status)
    """Return the debounced readiness of one backend; see the table above."""
    if endpoints is None:
        return Availability(available=bool(known), changes_at=None)
    ready = endpoints.ready > 0
    if known is None or ready == known:
        return Availability(available=ready, changes_at=None)
    due = endpoints.since + (UP_AFTER if ready else DOWN_AFTER)
    if now >= due:
        return Availability(available=ready, changes_at=None)
    return Availability(available=known, changes_at=due)
