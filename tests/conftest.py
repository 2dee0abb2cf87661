"""Options of every test run; fixtures live beside the tests that use them."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that keeps a run honest: without it, tests of the real stack are skipped where there is none."""
    parser.addoption(
        "--require-stack",
        action="store_true",
        help="fail, instead of skip, tests that need the real stack when this run is not inside its network namespace",
    )
