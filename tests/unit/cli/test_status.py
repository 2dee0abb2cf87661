"""``aigateway status``: the table, the lines of a watch, the verdict, from stored statuses alone."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aigateway.cli.main import main
from aigateway.cli.output import as_text
from aigateway.cli.printers.status import age, line, renderables
from aigateway.cli.views.status import policy_line, status_view
from aigateway.cluster.resources import POLICIES
from tests.objects import Object, policy, stored
from tests.snapshots import check_text
from tests.unit.cluster.apiserver import FakeApiserver, refusal, running

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_767_225_600.0 + 3 * 86_400
"""Three days after the policies were created."""


def condition(kind: str, status: str, reason: str, message: str = "") -> Object:
    """Return a condition."""
    return {"type": kind, "status": status, "reason": reason, "message": message}


def told(ready: Object, scaling: str = "NotRequested", **more: Any) -> Object:
    """Return a status."""
    conditions = [ready, condition("ScalingReady", "True", scaling)]
    return {"observedGeneration": 3, "conditions": conditions, **more}


IN_EFFECT = told(
    condition("Ready", "True", "Ready"),
    "ScalingReady",
    weights="v1=80,v2=20",
    replicas="v1=4/4,v2=1/2",
    backends=[
        {"name": "v1", "weight": 80, "available": True, "reason": "AsSpecified"},
        {"name": "v2", "weight": 20, "available": False, "reason": "AllUnavailable"},
    ],
    effective={"scaling": [{"backend": "v1", "minReplicas": 1, "maxReplicas": 20, "triggers": ["CPU: 70 %"]}]},
)
REFUSED = told(condition("Ready", "False", "Invalid", "spec.hosts: [bold]must[/bold] not be empty :smile:"))
POLICIES_SEEN = [
    stored(policy("chat"), IN_EFFECT),
    stored(policy("bad"), REFUSED),
    stored(policy("behind"), IN_EFFECT, generation=4),
    stored(policy("new")),
]


@pytest.mark.parametrize(
    "namespaces", [pytest.param(False, id="one-namespace"), pytest.param(True, id="all-namespaces")]
)
def test_table(namespaces: bool) -> None:
    """Policies by name, a line for each backend, and below the messages of what is not ready."""
    text = as_text(*renderables(status_view(POLICIES_SEEN), NOW, namespaces=namespaces))

    check_text(GOLDEN / f"status-{'all-namespaces' if namespaces else 'one-namespace'}.txt", text)


def test_line_of_a_watch() -> None:
    """A line has the time and what the columns have; a dash where nothing is told."""
    assert [
        "T  models/chat  True  Ready  v1=80,v2=20  v1=4/4,v2=1/2  ScalingReady",
        "T  models/new  Unknown  NotObserved  -  -  -",
    ] == [line(policy_line(POLICIES_SEEN[number]), "T") for number in (0, 3)]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (7_199, "119m"), (7_200, "2h"), (172_800, "2d"), (-5, "0s")],
)
def test_age(seconds: int, shown: str) -> None:
    """An age has one unit, the largest of which there are at least two."""
    assert shown == age("1970-01-01T00:00:00Z", seconds)


def test_age_of_nothing() -> None:
    """Where no time is told, there is no age."""
    assert "-" == age("", NOW)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApiserver]:
    """Run an API server with the policies in a thread of its own, as the default cluster."""
    ready, done = threading.Event(), threading.Event()
    found: list[FakeApiserver] = []

    async def serve() -> None:
        async with running(tmp_path) as (fake, _):
            for raw in POLICIES_SEEN:
                fake.put(POLICIES, raw["metadata"]["name"], **raw)
            found.append(fake)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    monkeypatch.setenv("AIGATEWAY_KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield found[0]
    done.set()
    thread.join(20)


def status(*args: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["status", *args])


@pytest.mark.parametrize(
    ("args", "code"),
    [
        pytest.param(("-n", "models"), 0, id="whatever-they-say"),
        pytest.param(("-n", "models", "--exit-code"), 1, id="not-all-ready"),
        pytest.param(("chat", "-n", "models", "--exit-code"), 0, id="this-one-is-ready"),
        pytest.param(("behind", "-n", "models", "--exit-code"), 1, id="ready-in-an-older-generation"),
        pytest.param(("nobody", "-n", "models"), 1, id="no-such-policy"),
        pytest.param(("chat", "-A"), 2, id="a-name-in-all-namespaces"),
    ],
)
def test_exit_codes(server: FakeApiserver, args: tuple[str, ...], code: int) -> None:
    """Scripts get a verdict where they ask for one."""
    assert code == status(*args).exit_code
    assert server.count("PATCH") == 0


def test_data(server: FakeApiserver) -> None:
    """JSON has the policies with their backends."""
    found = json.loads(status("-A", "-o", "json").stdout)["policies"]

    assert ["bad", "behind", "chat", "new"] == [item["name"] for item in found]
    assert ["1 to 20", ""] == [item["scaling"] for item in found[2]["backends"]]
    assert server.count("GET /apis/aigateway.dev/v1alpha1/aigatewaypolicies") == 1


def test_the_namespace_is_the_contexts(server: FakeApiserver) -> None:
    """Without -n it is the context's namespace; that there is nothing in it is said."""
    result = status()

    assert (0, "", "no policies in default\n") == (result.exit_code, result.stdout, result.stderr)
    assert server.count("GET /apis/aigateway.dev/v1alpha1/namespaces/default") == 1


def test_a_refusal_is_told(server: FakeApiserver) -> None:
    """What the API server says is the message, without a trace."""
    server.faults.append(("GET", refusal(403, "Forbidden", "you may not")))
    result = status("-A")

    assert (1, "Error: you may not (403 Forbidden)\n") == (result.exit_code, result.stderr)
