"""``aigateway completion``: what a real shell completes with the script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from aigateway.cli.completion import completion

BIN = Path(sys.executable).parent


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_prints_a_script_that_calls_the_command(shell: str) -> None:
    """Each script asks `aigateway` itself, by the variable that click answers to."""
    result = CliRunner().invoke(completion, [shell])

    assert 0 == result.exit_code
    assert f"_AIGATEWAY_COMPLETE={shell}_complete" in result.stdout


def test_an_unknown_shell_is_refused() -> None:
    """The shells that work are named."""
    result = CliRunner().invoke(completion, ["tcsh"])

    assert 2 == result.exit_code
    assert "'bash', 'zsh', 'fish'" in result.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_a_command() -> None:
    """In bash, `aigateway ren` becomes `aigateway render`."""
    script = """
    source <(aigateway completion bash)
    COMP_WORDS=(aigateway ren) COMP_CWORD=1
    _aigateway_completion aigateway
    echo "${COMPREPLY[@]}"
    """
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)

    assert "render\n" == ran.stdout
