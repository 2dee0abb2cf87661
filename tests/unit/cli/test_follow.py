"""Policies as they change, shown on a terminal and elsewhere."""

from __future__ import annotations

import json
from io import StringIO

import pytest
import yaml
from rich.console import Console
from rich.live import Live

from aigateway.cli.follow import Wanted, _Lines, _Screen, _Table
from aigateway.cluster import parse
from aigateway.cluster.store import Store
from aigateway.core.observation import Json
from tests.objects import Object, policy, stored

READY = {
    "observedGeneration": 3,
    "weights": "v1=80,v2=20",
    "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": ""}],
}


def following(screen: _Screen) -> Store[Json]:
    """Return a cache that tells a screen what changes."""
    return Store(parse.policy, screen.changed)


def seen(version: int, status: Object | None = None, name: str = "chat") -> Object:
    """Return a policy in one of its states."""
    return stored(policy(name), status, resourceVersion=str(version), uid=f"uid of {name}")


def test_every_change_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for a new policy and for each that says something new; nothing where only bookkeeping moved."""
    store = following(_Lines(Wanted("models", None), "text"))

    store.put(seen(1))
    store.put(seen(2, READY))
    store.put({**seen(3, READY), "spec": {}})
    store.remove(seen(4))
    out, err = capsys.readouterr()

    assert [
        ["models/chat", "Unknown", "NotObserved", "-", "-", "-"],
        ["models/chat", "True", "Ready", "v1=80,v2=20", "-", "-"],
    ] == [line.split()[1:] for line in out.splitlines()]
    assert "policy models/chat was deleted\n" == err


@pytest.mark.parametrize(("output", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_every_change_is_a_document(capsys: pytest.CaptureFixture[str], output: str, load: object) -> None:
    """Scripts get one document for each change."""
    store = following(_Lines(Wanted("models", None), output))
    store.put(seen(1, READY))

    assert callable(load)
    document = load(capsys.readouterr().out)
    assert ("chat", "True") == (document["name"], document["ready"])


def test_only_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """With a name given, other policies are neither shown nor counted."""
    screen = _Lines(Wanted("models", "chat"), "text")
    store = following(screen)
    store.put(seen(1, name="other"))
    store.put(seen(2, READY))

    assert 1 == len(capsys.readouterr().out.splitlines())
    assert screen.view.all_ready


def test_a_table_is_drawn_in_its_place() -> None:
    """On a terminal there is one table with the newest state of every policy; a deleted one is gone from it."""
    terminal = StringIO()
    with Live(console=Console(file=terminal, force_terminal=True, width=120), auto_refresh=False) as live:
        screen = _Table(Wanted(None, None), live)
        store = following(screen)
        store.put(seen(1))
        store.put(seen(2, name="other"))
        store.put(seen(3, READY))
        store.remove(seen(4, name="other"))
        screen.redraw()

    last = terminal.getvalue().rpartition("NAMESPACE")[2]
    assert "v1=80,v2=20" in last
    assert "other" not in last
