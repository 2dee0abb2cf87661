"""``aigateway plan``: its text, its data and its exit codes, on worlds of files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from aigateway.cli.main import main
from tests.objects import Object, destination_rule, observed, policy, service, stored, virtual_service
from tests.snapshots import check_text
from tests.unit.cli.cases import changed, settled

GOLDEN = Path(__file__).parent / "golden"
SCALED = {"maxReplicas": 4, "rules": [{"type": "CPU", "cpu": {"utilizationPercent": 70}}]}
HALF = [{**backend, "weight": 50} for backend in policy()["spec"]["backends"]]
POOL = {"maxOpen": 5}

PROGRAMMED = settled(observed(), policy())
WORLDS: dict[str, tuple[Sequence[Object], Object, int]] = {
    "new-policy": (observed(), policy(autoscaling=SCALED), 2),
    "nothing-to-do": (PROGRAMMED, policy(), 0),
    "changed-policy": (PROGRAMMED, policy(backends=HALF, connectionPool=POOL), 2),
    "hand-edit": (changed(PROGRAMMED, "VirtualService", "chat-gateway", hosts=["hand.example.com"]), policy(), 2),
    "no-longer-asked-for": (settled(observed(), policy(connectionPool=POOL)), policy(), 2),
    "somebody-elses": ([*observed(), virtual_service("chat-gateway")], policy(connectionPool=POOL), 2),
    "in-the-way-early": (
        [*observed(), destination_rule("chat-v1", "theirs.example.com")],
        policy(connectionPool=POOL),
        2,
    ),
    "held-by-an-older-policy": (settled(observed(), policy("older")), policy(), 2),
    "nothing-exists": ([], policy(), 2),
    "suspended": (PROGRAMMED, policy(suspend=True), 2),
    "invalid": (PROGRAMMED, policy(hostz=[]), 1),
}


def run(folder: Path, world: Sequence[Object], *policies: Object, args: tuple[str, ...] = ()) -> Result:
    """Plan policies in a world of files."""
    (folder / "policy.yaml").write_text(yaml.safe_dump_all(policies))
    (folder / "world.yaml").write_text(yaml.safe_dump({"kind": "List", "apiVersion": "v1", "items": list(world)}))
    files = ["-f", str(folder / "policy.yaml"), "--observed", str(folder / "world.yaml")]
    return CliRunner().invoke(main, ["plan", *files, *args])


@pytest.mark.parametrize("name", WORLDS)
def test_text(name: str, tmp_path: Path) -> None:
    """People read each object's difference and the conditions afterwards; scripts the exit code."""
    world, proposed, code = WORLDS[name]
    result = run(tmp_path, world, proposed)

    check_text(GOLDEN / f"plan-{name}.txt", result.stdout)
    assert code == result.exit_code


def test_several_policies_are_planned_together(tmp_path: Path) -> None:
    """Two new policies in one file that want the same host: the plan shows that only one of them gets it."""
    result = run(tmp_path, observed(), policy(), policy("other"), args=("-o", "json"))

    conditions = [item["conditions"][0] for item in json.loads(result.stdout)["policies"]]
    assert {("True", "Accepted"), ("False", "Conflicted")} == {(item["status"], item["reason"]) for item in conditions}


def test_data_holds_both_sides(tmp_path: Path) -> None:
    """Scripts get each object before and after, whole."""
    world, proposed, _ = WORLDS["hand-edit"]
    result = run(tmp_path, world, proposed, args=("-o", "yaml"))

    (change,) = yaml.safe_load(result.stdout)["policies"][0]["changes"]
    assert ("repair", "VirtualService", "chat-gateway") == (change["action"], change["kind"], change["name"])
    assert (["hand.example.com"], ["ai.example.com"]) == tuple(
        change[side]["spec"]["hosts"] for side in ("before", "after")
    )


def test_talk_goes_to_stderr(tmp_path: Path) -> None:
    """The summary and hints are not part of the data."""
    bare = policy()
    del bare["spec"]["gateways"]
    result = run(tmp_path, observed(), bare)

    assert 1 == result.exit_code
    assert "note: --default-gateway was not given; it must be what the operator has" in result.stderr
    assert "note" not in result.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        pytest.param(("--scaling-window", "1"), "--scaling-window is '1'", id="setting-out-of-range"),
        pytest.param(("--no-such",), "No such option", id="unknown-option"),
    ],
)
def test_a_mistake_of_the_caller_is_no_difference(tmp_path: Path, args: tuple[str, ...], said: str) -> None:
    """Exit code 2 means a difference, so that options that make no sense end with 1."""
    result = run(tmp_path, observed(), policy(), args=args)

    assert 1 == result.exit_code
    assert said in result.stderr


def test_a_policy_that_is_being_deleted(tmp_path: Path) -> None:
    """Nothing can be foretold of it."""
    going = stored(policy(), deletionTimestamp="2026-01-01T00:00:00Z")
    result = run(tmp_path, [*observed(), going], policy())

    assert 1 == result.exit_code
    assert "policy models/chat is being deleted" in result.stderr


def test_the_namespace_of_policies_that_name_none(tmp_path: Path) -> None:
    """It is given with -n, for the files of the world too."""
    bare: dict[str, Any] = policy()
    del bare["metadata"]["namespace"]
    elsewhere = service("chat-v1")
    del elsewhere["metadata"]["namespace"]
    result = run(tmp_path, [elsewhere], bare, args=("-n", "team"))

    assert "team/chat: 1 generated object differs" in result.stdout


ALLOWED = ("--allow-envoy-filter", "istio-system")
IDLE: dict[str, Any] = {"timeouts": {"idle": "1m"}}


def test_an_envoy_filter_is_planned_where_the_gateways_run(tmp_path: Path) -> None:
    """Its namespace stands before its name, and in the data beside it."""
    text = run(tmp_path, observed(), policy(**IDLE), args=ALLOWED)
    data = run(tmp_path, observed(), policy(**IDLE), args=(*ALLOWED, "-o", "json"))

    assert "create EnvoyFilter istio-system/models.chat" in text.stdout
    assert "+++ planned/EnvoyFilter/istio-system/models.chat" in text.stdout
    (planned,) = json.loads(data.stdout)["policies"]
    assert [("models.chat", "istio-system"), ("chat-gateway", "")] == [
        (change["name"], change["namespace"]) for change in planned["changes"]
    ]


def test_an_option_that_was_left_out_is_hinted_at(tmp_path: Path) -> None:
    """A field without effect may only be so because we do not know what the operator may."""
    hint = "note: --allow-envoy-filter was not given"

    assert hint in run(tmp_path, observed(), policy(**IDLE)).stderr
    assert hint not in run(tmp_path, observed(), policy(**IDLE), args=ALLOWED).stderr
