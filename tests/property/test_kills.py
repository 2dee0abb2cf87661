"""Whichever write of a change of retries the operator is killed at, before it or after it: the end is the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from aigateway.api.resolved import PolicyKey
from aigateway.cluster.client import Client
from aigateway.cluster.resources import CHILDREN, POLICIES
from aigateway.cluster.store import Entry
from aigateway.cluster.writer import Trouble, Writer
from aigateway.core.observation import ChildKind, Json, Metric, Sample
from aigateway.core.outcome import Step
from aigateway.engine import Engine
from tests.unit.cluster.apiserver import FakeApiserver, running
from tests.unit.test_engine import ADMINISTRATOR, KEY, Case

INTERVAL = 15.0
SPEC = {
    "hosts": ["a.example.com"],
    "backends": [{"name": "v1", "service": {"name": "llm-v1"}}],
    "retries": {"attempts": 3, "statusCodes": [503], "adaptive": {"latencyAbove": "500ms", "failurePercent": 50}},
}
TICKS = [(0.0, 100.0)] * 2 + [(0.0, 900.0)] * 2 + [(80.0, 900.0)] * 2 + [(0.0, 100.0)] * 18
"""The share of failures and the P99 at every look at Prometheus."""
WRITES = 2 + 6 * 3
"""The route and the status; then status, route and status again for each of six steps."""


class Killed(Exception):  # noqa: N818 (no error: the end of a process)
    """The operator is gone."""


class Mortal(Writer):
    """Ends the process at a write: ``after`` it is in the API server, or before."""

    def __init__(self, case: Case, client: Client, at: int, *, after: bool) -> None:
        super().__init__(client, case.world)
        self.writes = 0
        self._at = at
        self._after = after

    async def take(self, key: PolicyKey, uid: str, step: Step) -> Trouble | None:
        """Write a child, or die."""
        self._begin()
        found = await super().take(key, uid, step)
        self._end()
        return found

    async def write_status(self, policy: Entry[Json], status: Json) -> Entry[Json]:
        """Write a status, or die."""
        self._begin()
        found = await super().write_status(policy, status)
        self._end()
        return found

    def _begin(self) -> None:
        self.writes += 1
        if self.writes == self._at and not self._after:
            raise Killed

    def _end(self) -> None:
        if self.writes == self._at and self._after:
            raise Killed


class Operator:
    """An operator that is killed once and started again."""

    def __init__(self, fake: FakeApiserver, client: Client, at: int, *, after: bool) -> None:
        self.fake = fake
        self.client = client
        self.case = Case(fake, client)
        self.deaths = 0
        self.writer = Mortal(self.case, client, at, after=after)
        self._use(self.writer)

    def _use(self, writer: Writer) -> None:
        case = self.case
        case.engine = Engine(case.world, writer, case.recorder, ADMINISTRATOR, lambda: case.now)

    async def start(self) -> None:
        """Read what there is."""
        for resource, store in (
            (POLICIES, self.case.world.policies),
            (CHILDREN[ChildKind.VIRTUAL_SERVICE], self.case.world.children[ChildKind.VIRTUAL_SERVICE]),
        ):
            async for page in self.client.pages(resource, None, ""):
                for raw in page.items:
                    store.put(raw)

    async def look(self, now: float, failing: float, p99: float) -> None:
        """Take over what Prometheus says and make passes until there is nothing to do, whoever dies meanwhile."""
        while True:
            self.case.now = now
            values = {Metric.FAILURE_PERCENT: failing, Metric.LATENCY_P99: p99}
            self.case.world.sampled({("models", "llm-v1", m): Sample(value, now - 1) for m, value in values.items()})
            try:
                while (await self.case.engine.reconcile(KEY)).result == "changed":
                    pass
            except Killed:
                self.deaths += 1
                self.case = Case(self.fake, self.client)
                self._use(Writer(self.client, self.case.world))
                await self.start()
            else:
                return


async def lived(folder: Path, at: int, *, after: bool) -> tuple[int, int, list[Any]]:
    """Return deaths, writes, and what is in the end: retries of the routes, level, and every decision."""
    async with asyncio.timeout(60), running(folder) as (fake, client):
        metadata = {"generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
        head: Json = {"apiVersion": "aigateway.dev/v1alpha1", "kind": "AIGatewayPolicy"}
        fake.put(POLICIES, "llm", **head, metadata=metadata, spec=SPEC)
        operator = Operator(fake, client, at, after=after)
        await operator.start()
        begin = operator.case.now
        for number, (failing, p99) in enumerate(TICKS):
            await operator.look(begin + number * INTERVAL, failing, p99)
        route = await client.get(CHILDREN[ChildKind.VIRTUAL_SERVICE], "models", "llm-gateway")
        assert route is not None
        status = operator.case.status
        end = [
            [http["retries"]["attempts"] for http in route["spec"]["http"]],
            status["retries"]["level"],
            [(step["from"], step["to"], step["reason"]) for step in status["history"]],
        ]
        return operator.deaths, operator.writer.writes, end


EXPECTED = [
    [3, 3],
    3,
    [
        ("3", "2", "LatencyHigh"),
        ("2", "1", "LatencyHigh"),
        ("1", "0", "FailuresHigh"),
        ("0", "1", "Recovered"),
        ("1", "2", "Recovered"),
        ("2", "3", "Recovered"),
    ],
]


def test_nobody_dies(tmp_path: Path) -> None:
    """Down at once and up again, each step with three writes: status, route, status."""
    deaths, writes, end = asyncio.run(lived(tmp_path, 0, after=False))

    assert (0, WRITES) == (deaths, writes)
    assert EXPECTED == end


@pytest.mark.parametrize("after", [pytest.param(False, id="before"), pytest.param(True, id="after")])
@pytest.mark.parametrize("at", range(1, WRITES + 1))
def test_killed_at_a_write(tmp_path: Path, at: int, after: bool) -> None:
    """A step is neither skipped nor made twice."""
    deaths, _, end = asyncio.run(lived(tmp_path, at, after=after))

    assert (1, EXPECTED) == (deaths, end)
