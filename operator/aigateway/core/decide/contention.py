"""Whether a child that someone has changed is put back now, or someone keeps changing it and we hold off.

Two programs that undo each other's writes would push configuration to every proxy of the mesh, for ever.  So a child is
put back at most REPAIRS times in WINDOW seconds; in between the policy says who it is that it contends over.
"""

from __future__ import annotations

from collections.abc import Sequence

REPAIRS = 2
WINDOW = 60.0


def next_repair(repairs: Sequence[float], now: float) -> float | None:
    """Return when the child may be put back again, None for at once.

    ``repairs`` are the times of earlier ones, oldest first; all times in seconds since the epoch.
    """
    recent = [at for at in repairs if now - WINDOW < at <= now]
    return None if len(recent) < REPAIRS else recent[-REPAIRS] + WINDOW
