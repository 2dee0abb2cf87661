"""``aigateway explain``: every decision with its reason, on worlds of files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from aigateway.cli.main import main
from tests.objects import Object, destination_rule, endpoints, observed, policy, service, stored, virtual_service
from tests.snapshots import check_text
from tests.statuses import FULL
from tests.unit.cli.cases import changed, settled

GOLDEN = Path(__file__).parent / "golden"
PROMETHEUS = ("--prometheus-address", "http://prometheus.monitoring:9090")

EVERYTHING: dict[str, Any] = {
    "service": {"name": "chat", "port": 80},
    "routes": [
        {
            "name": "pin-v2",
            "matches": [
                {"headers": [{"name": "x-model-version", "exact": "v2"}], "method": "POST"},
                {"headers": [{"name": "x-tenant", "prefix": "beta-"}], "pathPrefix": "/v1"},
            ],
            "backend": "v2",
        },
        {"name": "also-split", "matches": [{"pathPrefix": "/v2"}]},
    ],
    "timeouts": {"request": "60s", "perTry": "10s"},
    "retries": {"attempts": 3, "conditions": ["Reset"], "statusCodes": [503]},
    "connectionPool": {"maxOpen": 50, "connectTimeout": "1s"},
    "autoscaling": {
        "minReplicas": 1,
        "maxReplicas": 20,
        "rules": [
            {"type": "RequestRate", "requestRate": {"targetPerReplica": 50}},
            {"type": "CPU", "cpu": {"utilizationPercent": 70}},
        ],
    },
}
ADAPTING = policy(
    retries={"attempts": 3, "statusCodes": [503], "adaptive": {"latencyAbove": "500ms", "failurePercent": 50}}
)
LOWERED = {name: FULL[name] for name in ("retries", "history", "conditions")}
"""What is remembered of a step down."""
MESH = [*observed(), service("chat")]
RULE = destination_rule("theirs", "chat-v2.models.svc.cluster.local")
UP = [*(raw for raw in observed() if raw["metadata"]["name"] != "chat-v2-x"), endpoints("chat-v2", 1)]

WORLDS: dict[str, Sequence[Object]] = {
    "everything": settled(MESH, policy(**EVERYTHING)),
    "never-looked-at": [*observed(), stored(policy())],
    "behind": [*UP, *settled(observed(), policy())[len(observed()) :]],
    "hand-edit": changed(settled(UP, policy()), "VirtualService", "chat-gateway", hosts=["hand.example.com"]),
    "somebody-elses": [*UP, RULE, virtual_service("chat-gateway"), stored(policy(connectionPool={"maxOpen": 1}))],
    "invalid": [
        *settled(UP, policy())[:-2],
        stored(policy(hostz=[]), dict(settled(UP, policy())[-2]["status"]), generation=4),
        settled(UP, policy())[-1],
    ],
    "suspended": settled([*UP, settled(UP, policy())[-1]], policy(suspend=True)),
    "adaptive-retries": settled(UP, ADAPTING, LOWERED),
    "nothing-exists": [stored(policy())],
}


def run(folder: Path, world: Sequence[Object], *args: str) -> Result:
    """Explain in a world of files."""
    (folder / "world.yaml").write_text(yaml.safe_dump({"kind": "List", "apiVersion": "v1", "items": list(world)}))
    return CliRunner().invoke(main, ["explain", "--observed", str(folder / "world.yaml"), *PROMETHEUS, *args])


@pytest.mark.parametrize("name", WORLDS)
def test_text(name: str, tmp_path: Path) -> None:
    """People read every decision of a policy that is there, with the inputs it was made from."""
    result = run(tmp_path, WORLDS[name], "chat", "-n", "models")

    assert 0 == result.exit_code
    check_text(GOLDEN / f"explain-{name}.txt", result.stdout)


def test_a_file_is_explained_as_if_it_were_applied(tmp_path: Path) -> None:
    """Nothing is in effect yet; the decisions are those of the operator."""
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy()))
    result = run(tmp_path, observed(), "-f", str(tmp_path / "policy.yaml"), "-o", "json")

    (explained,) = json.loads(result.stdout)["policies"]
    assert [("v1", 100, "ShareOfUnavailable"), ("v2", 0, "NotReady")] == [
        (item["name"], item["weight"], item["reason"]) for item in explained["backends"]
    ]
    assert "observedGeneration" not in explained
    assert "Ready" in {item["type"] for item in explained["expected"]}


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        pytest.param(("nobody", "-n", "models"), 1, "policy models/nobody does not exist", id="no-such-policy"),
        pytest.param((), 2, "give the name of a policy, or a file with -f", id="nothing-named"),
    ],
)
def test_what_cannot_be_explained(tmp_path: Path, args: tuple[str, ...], code: int, said: str) -> None:
    """A wrong name and a wrong call are told apart by their exit codes."""
    result = run(tmp_path, observed(), *args)

    assert code == result.exit_code
    assert said in result.stderr


def test_an_envoy_filter_is_shown_where_it_is(tmp_path: Path) -> None:
    """Its namespace stands before its name."""
    asking = policy(timeouts={"idle": "1m"})
    result = run(tmp_path, settled(observed(), asking), "chat", "-n", "models", "--allow-envoy-filter", "istio-system")

    assert "EnvoyFilter     istio-system/models.chat" in result.stdout
