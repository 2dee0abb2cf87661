"""Reasons are a public vocabulary: unique, in CamelCase, and each with a sentence for people."""

from __future__ import annotations

import re

import pytest

from aigateway.api import reasons
from aigateway.api.reasons import Reason

REASONS = {name: value for name, value in vars(reasons).items() if isinstance(value, Reason)}


def test_no_reason_is_there_twice() -> None:
    """Two constants of one name could mean two things to an alert."""
    names = [reason.name for reason in REASONS.values()]

    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("reason", [pytest.param(reason, id=reason.name) for reason in REASONS.values()])
def test_a_reason_is_one_word_with_a_meaning(reason: Reason) -> None:
    """The name has the form that Kubernetes asks of reasons; meaning and remedy are sentences."""
    assert re.fullmatch("[A-Z][A-Za-z]{1,62}", reason.name)
    assert reason.name == str(reason)
    assert reason.meaning.endswith(".")
    assert reason.remedy == "" or reason.remedy.endswith(".")
