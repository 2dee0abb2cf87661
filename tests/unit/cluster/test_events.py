"""The event recorder: what is posted, how much of it, and that it never harms."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from aigateway.api.reasons import PROGRAMMED, EventType
from aigateway.cluster.client import ApiError
from aigateway.cluster.events import Budget, Recorder
from aigateway.cluster.resources import EVENTS, Resource
from aigateway.cluster.store import Entry
from aigateway.core.observation import Json
from aigateway.core.outcome import Event

POLICY: Entry[Json] = Entry("models", "llm", "uid-1", 7, {})


class FakeApi:
    """Takes events, or refuses each of them."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.bodies: list[dict[str, Any]] = []

    async def create(self, resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
        """Take one event."""
        assert resource is EVENTS
        self.bodies.append(body)
        if self.refuses:
            raise ApiError(403, "Forbidden", "no events for you")
        return body


def post(api: FakeApi, *messages: str) -> None:
    """Post events with these messages and wait until they are through."""

    async def main() -> None:
        recorder = Recorder(api, lambda: 1_800_000_000.25)
        recorder.post(POLICY, [Event(EventType.NORMAL, PROGRAMMED, message) for message in messages])
        task = asyncio.create_task(recorder.run())
        async with asyncio.timeout(10):
            await recorder.flush()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_an_event_is_about_its_policy() -> None:
    """An event names policy, reason and note, and has a name of its own."""
    api = FakeApi()
    post(api, "all is written", "and again")

    first, second = api.bodies
    assert ("Programmed", "Normal", "all is written") == (first["reason"], first["type"], first["note"])
    assert "2027-01-15T08:00:00.250000Z" == first["eventTime"]
    assert ("AIGatewayPolicy", "llm", "uid-1") == tuple(first["regarding"][key] for key in ("kind", "name", "uid"))
    assert "models" == first["metadata"]["namespace"]
    assert first["metadata"]["name"] != second["metadata"]["name"]


def test_a_long_message_is_cut() -> None:
    """A note is never longer than the API server takes."""
    api = FakeApi()
    post(api, "x" * 5000)

    assert 1024 == len(api.bodies[0]["note"])


def test_a_policy_cannot_flood(caplog: pytest.LogCaptureFixture) -> None:
    """After twenty events at once, more go to the log only."""
    api = FakeApi()
    with caplog.at_level(logging.INFO):
        post(api, *map(str, range(25)))

    assert 20 == len(api.bodies)
    assert "too many events on models/llm" in caplog.text


def test_refused_events_are_logged_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """An event that can't be posted costs a line in the log; the next one is tried all the same."""
    api = FakeApi(refuses=True)
    with caplog.at_level(logging.WARNING):
        post(api, "one", "two")

    assert 2 == len(api.bodies)
    assert "Forbidden" in caplog.text


def test_the_budget_refills_and_is_each_policy_s_own() -> None:
    """A spent budget grows back by two events a minute; another policy's is untouched."""
    budget = Budget()
    assert [True] * 20 + [False] == [budget.spend("a", 0) for _ in range(21)]

    assert budget.spend("b", 0)
    assert not budget.spend("a", 29)
    assert budget.spend("a", 61)
    assert budget.spend("a", 61)
    assert not budget.spend("a", 61)
