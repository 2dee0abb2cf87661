"""Options that commands share."""

from __future__ import annotations

from aigateway.cli.run import run
from aigateway.settings import Settings


def test_the_defaults_are_those_of_the_operator() -> None:
    """What the help shows as default is what the operator takes where nothing is set."""
    shown = {option.name: option.default for option in run.params}
    taken = {field: getattr(Settings(), field) or None for field in Settings.__dataclass_fields__}

    assert taken == shown
