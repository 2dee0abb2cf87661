"""How properties are searched; the conftest.py of every folder with property tests calls `load` once.

Continuous integration (CI is set) tries the same examples every time, so that a red build is about the change and not
about luck; at a desk the search is random and keeps its finds. It knows nothing of what is tested.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

PROFILE = "aigateway"


def load() -> None:
    """Choose the profile: no deadline per example (machines are shared), and a blob that repeats a failure."""
    settings.register_profile(
        PROFILE,
        derandomize=bool(os.environ.get("CI")),
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile(PROFILE)
