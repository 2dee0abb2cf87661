"""Generated files are current, and the command that checks them says which are not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aigateway.api.crd import custom_resource_definition
from aigateway.api.generate import generated, stale, write

ROOT = Path(__file__).resolve().parents[3]
CRD = "crds/aigateway.dev_aigatewaypolicies.yaml"


@pytest.mark.parametrize("name", list(generated()))
def test_a_committed_file_is_current(name: str) -> None:
    """What is committed is what the models give; if this fails, run `make generate`."""
    assert name not in stale(ROOT)


def test_generating_twice_gives_the_same_bytes() -> None:
    """No order, date or random value gets in."""
    assert dict(generated()) == dict(generated())


def test_the_yaml_is_the_definition() -> None:
    """The file says the object in full: no anchors, nothing lost in writing."""
    text = generated()[CRD]

    assert custom_resource_definition() == yaml.safe_load(text)
    assert "&id" not in text


def test_a_changed_file_is_stale(tmp_path: Path) -> None:
    """A file that was edited or is missing is named."""
    write(tmp_path)
    assert [] == stale(tmp_path)

    (tmp_path / CRD).write_text("edited")
    (tmp_path / "docs/reference/api.md").unlink()

    assert [CRD, "docs/reference/api.md"] == stale(tmp_path)


def test_the_command_writes_and_checks(tmp_path: Path) -> None:
    """`--check` fails and names the files until they were written."""
    command = [sys.executable, "-m", "aigateway.api.generate", "--root", str(tmp_path)]

    before = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)
    subprocess.run(command, check=True)
    after = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)

    assert (1, 0) == (before.returncode, after.returncode)
    assert CRD in before.stderr
    assert "make generate" in before.stderr
