"""Options that commands share."""

from __future__ import annotations

from aigateway.cli.run import run
from aigateway.settings import Settings


def test_the_defaults_are_those_of_the_operator() -> None:
    """What the help shows as default is what the operator takes where nothing is set."""
    shown = {option.name: option.default for option in run.params}
    taken = {field: _as_flag(getattr(Settings(), field)) for field in Settings.__dataclass_fields__}

    assert taken == shown


def _as_flag(value: object) -> object:
    """Return a setting as it is written on the command line; nothing for what is empty."""
    return ",".join(value) or None if isinstance(value, tuple) else value or None
