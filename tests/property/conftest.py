"""Property tests state what holds for every valid policy and observation; the inputs come from shared strategies."""

from __future__ import annotations

from tests import hypothesis_profile

hypothesis_profile.load()
