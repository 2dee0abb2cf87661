"""Unit tests call one module with values and look at what it returns: no cluster, no network, no clock."""

from __future__ import annotations

from tests import hypothesis_profile

hypothesis_profile.load()
