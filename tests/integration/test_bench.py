"""The benchmark as a program: it ends with one line of JSON.  What it measures is not judged here."""

from __future__ import annotations

import json

import pytest

from tests.bench.main import run
from tests.bench.sizes import SMOKE
from tests.stack.stack import Stack


def test_a_benchmark_ends_with_one_line_of_json(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """The smallest run of one figure counts requests and gives the figures by their names, as its last line."""
    run(stack, SMOKE, ["idle"])

    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "main" == last["bench"]
    assert {"idle_writes", "idle_reads"} == set(last["figures"])
