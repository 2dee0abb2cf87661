"""The group of commands: its names, its help, and how little it imports."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from aigateway.cli.main import COMMANDS, main

EXPENSIVE = {"kopf", "kubernetes", "aiohttp", "pydantic", "rich", "yaml"}


def imported_by(code: str, **environment: str) -> set[str]:
    """Return which expensive modules a fresh interpreter has imported after running some code."""
    tail = "\nimport sys\nprint('|'.join(m for m in sys.modules if '.' not in m), file=sys.stderr)"
    ran = subprocess.run(
        [sys.executable, "-c", code + tail],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return EXPENSIVE & set(ran.stderr.splitlines()[-1].split("|"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_what_the_list_says(name: str) -> None:
    """The list of commands, which imports none of them, has each one's own first sentence."""
    command = main.get_command(click.Context(main), name)

    assert command is not None
    assert name == command.name
    assert COMMANDS[name] == command.get_short_help_str(limit=200)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    """No option of any command stands in the help without a word."""
    command = main.get_command(click.Context(main), name)

    assert command is not None
    assert [] == [p.name for p in command.params if isinstance(p, click.Option) and not p.help]


def test_help_imports_no_command() -> None:
    """Listing the commands costs no more than click."""
    assert set() == imported_by("from aigateway.cli.main import main; main(['--help'], standalone_mode=False)")


def test_completing_a_name_imports_no_command() -> None:
    """A shell asks on every press of the tab key."""
    code = "from aigateway.cli.main import main\ntry: main(prog_name='aigateway')\nexcept SystemExit: pass"
    words = {"COMP_WORDS": "aigateway r", "COMP_CWORD": "1", "_AIGATEWAY_COMPLETE": "bash_complete"}

    assert set() == imported_by(code, **words)


@pytest.mark.parametrize(
    ("program", "shown"),
    [
        pytest.param("aigateway", "Usage: aigateway [OPTIONS]", id="by-itself"),
        pytest.param("kubectl-aigateway", "Usage: kubectl aigateway [OPTIONS]", id="as-a-plugin"),
    ],
)
def test_usage_has_the_name_that_was_typed(program: str, shown: str) -> None:
    """Who typed `kubectl aigateway` reads how to go on with kubectl."""
    assert CliRunner().invoke(main, ["--help"], prog_name=program).stdout.startswith(shown)


def test_an_unknown_command_is_refused() -> None:
    """A misspelt command is named."""
    result = CliRunner().invoke(main, ["rendr"])

    assert 2 == result.exit_code
    assert "No such command 'rendr'" in result.stderr
