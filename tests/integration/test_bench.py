"""The benchmarks as programs: each ends with one line of JSON.  What they measure is not judged here."""

from __future__ import annotations

import json

import pytest

from tests.bench.main import run
from tests.bench.resilience import __main__ as resilience
from tests.bench.resilience.sizes import SMOKE as SMOKE_RESILIENCE
from tests.bench.sizes import SMOKE
from tests.stack.stack import Stack


def test_a_benchmark_ends_with_one_line_of_json(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """The smallest run of one figure counts requests and gives the figures by their names, as its last line."""
    run(stack, SMOKE, ["idle"])

    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "main" == last["bench"]
    assert {"idle_writes", "idle_reads"} == set(last["figures"])


def test_the_benchmark_of_policies_ends_with_one_line_of_json(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """The smallest run of one figure has the policy and both hand-written routes in it, each under its name."""
    resilience.run(stack, SMOKE_RESILIENCE, ["posts"])

    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "resilience" == last["bench"]
    assert {"duplicate_posts", "duplicate_posts_defaults", "duplicate_posts_attempts3"} == set(last["figures"])
    assert None not in last["figures"].values()
