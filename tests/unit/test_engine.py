"""The engine: the order of writes, what is written at all, and what a pass says comes next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock, call

import pytest

from aigateway.api.administrator import Administrator
from aigateway.api.resolved import PolicyKey, WorkloadKind
from aigateway.cluster.client import Client
from aigateway.cluster.events import Recorder
from aigateway.cluster.queue import Backoff, WorkQueue
from aigateway.cluster.resources import CHILDREN, POLICIES
from aigateway.cluster.world import Presence, World
from aigateway.cluster.writer import Writer
from aigateway.core.observation import ChildKind, Json
from aigateway.engine import Engine, Next, Workers
from tests.unit.cluster.apiserver import FakeApiserver, refusal, running, until

KEY = PolicyKey("models", "llm")
STATUS = f"PATCH {POLICIES.path('models', 'llm', 'status')}"
VIRTUAL_SERVICES = CHILDREN[ChildKind.VIRTUAL_SERVICE]
ROUTE = f"PATCH {VIRTUAL_SERVICES.path('models', 'llm-gateway')}"
ADMINISTRATOR = Administrator(default_gateway="istio-system/ai-gateway")


class Case:
    """An engine on a fake API server, with caches that the test fills by hand and a clock that it sets."""

    def __init__(self, fake: FakeApiserver, client: Client, administrator: Administrator = ADMINISTRATOR) -> None:
        self.fake = fake
        self.now = 1_800_000_000.0
        self.world = World(administrator, lambda: self.now, lambda _: None)
        self.recorder = Recorder(client)
        self.engine = Engine(self.world, Writer(client, self.world), self.recorder, administrator, lambda: self.now)
        for kind in ChildKind:
            self.world.set_presence(kind, Presence.SYNCED)
        self.world.policies_are_synced()
        self.world.namespace_is_synced("models")
        for name in ("llm-v1", "llm-v2"):
            self.backend(name)

    def backend(self, name: str, *addresses: str, ready: int = 1) -> None:
        """Create or change a Service with its endpoints and Deployment."""
        version = self.fake.version = self.fake.version + 1
        metadata = {"name": name, "namespace": "models", "uid": f"uid-{name}", "resourceVersion": str(version)}
        self.world.services.put({"metadata": metadata, "spec": {"ports": [{"port": 80}]}})
        labels = {"labels": {"kubernetes.io/service-name": name}}
        endpoints = [{"addresses": [address]} for address in addresses or ("10.0.0.1",) if ready]
        self.world.slices.put({"metadata": metadata | labels, "endpoints": endpoints})
        status = {"readyReplicas": ready}
        self.world.workloads[WorkloadKind.DEPLOYMENT].put({"metadata": metadata, "spec": {}, "status": status})

    def policy(
        self, *, connection_pool: bool = False, generation: int = 1, weights: Any = (80, 20), idle: str | None = None
    ) -> None:
        """Create or change the policy, on the server and in the cache."""
        backends = [
            {"name": f"v{number}", "service": {"name": f"llm-v{number}"}, "weight": weight}
            for number, weight in enumerate(weights, 1)
        ]
        spec: dict[str, Any] = {"hosts": ["a.example.com"], "backends": backends}
        if idle is not None:
            spec["timeouts"] = {"idle": idle}
        if connection_pool:
            spec["connectionPool"] = {"maxOpen": 50}
        old = self.world.policies.get("models", "llm")
        raw = self.fake.put(
            POLICIES,
            "llm",
            apiVersion="aigateway.dev/v1alpha1",
            kind="AIGatewayPolicy",
            metadata={"generation": generation, "creationTimestamp": "2026-01-01T00:00:00Z"},
            spec=spec,
            status=old.value.get("status", {}) if old else {},
        )
        self.world.policies.put(raw)

    async def settle(self) -> None:
        """Make passes until nothing is left to do, then forget the requests."""
        while (await self.engine.reconcile(KEY)).result == "changed":
            pass
        self.fake.requests.clear()

    @property
    def writes(self) -> list[str]:
        """Method and path of every request but reads and events."""
        return [f"{method} {path}" for method, path in self.fake.requests if method not in ("GET", "POST")]

    @property
    def status(self) -> Json:
        """The status in the cache."""
        entry = self.world.policies.get("models", "llm")
        assert entry is not None
        status: Json = entry.value["status"]
        return status

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        found = next(item for item in self.status["conditions"] if item["type"] == kind)
        return found["status"], found["reason"]


def drive(
    scenario: Callable[[Case], Awaitable[None]], folder: Path, administrator: Administrator = ADMINISTRATOR
) -> None:
    """Run a scenario."""

    async def main() -> None:
        async with asyncio.timeout(20), running(folder) as (fake, client):
            await scenario(Case(fake, client, administrator))

    asyncio.run(main())


def test_a_new_policy(tmp_path: Path) -> None:
    """Children first, then the result into status; the next pass finds nothing to do."""

    async def scenario(case: Case) -> None:
        case.policy(connection_pool=True)
        assert Next("changed") == await case.engine.reconcile(KEY)
        kinds = ["destinationrules", "destinationrules", "virtualservices", "aigatewaypolicies"]
        assert kinds == [next(kind for kind in kinds if kind in write) for write in case.writes]
        assert ("True", "Ready") == case.condition("Ready")

        case.fake.requests.clear()
        assert Next("unchanged") == await case.engine.reconcile(KEY)
        assert [] == case.fake.requests

    drive(scenario, tmp_path)


def test_nothing_happens_before_everything_is_known(tmp_path: Path) -> None:
    """On caches that are not filled nothing is decided."""

    async def scenario(case: Case) -> None:
        case.policy()
        case.world.namespace_is_left("models")
        assert Next("waiting") == await case.engine.reconcile(KEY)
        assert [] == case.fake.requests

    drive(scenario, tmp_path)


def test_a_policy_that_is_gone(tmp_path: Path) -> None:
    """A key without a policy is no work: its children go by their owner reference."""

    async def scenario(case: Case) -> None:
        assert Next("gone") == await case.engine.reconcile(KEY)

    drive(scenario, tmp_path)


def test_memory_is_written_before_children_move(tmp_path: Path) -> None:
    """A backend that is found unavailable is remembered in status first, and only then loses its weight."""

    async def scenario(case: Case) -> None:
        case.policy()
        await case.settle()
        case.backend("llm-v2", ready=0)
        coming = await case.engine.reconcile(KEY)
        assert coming.wake_after is not None
        assert ROUTE not in case.writes

        case.fake.requests.clear()
        case.now += 60
        await case.engine.reconcile(KEY)

        assert [STATUS, ROUTE, STATUS] == case.writes
        assert "v1=100,v2=0" == case.status["weights"]

    drive(scenario, tmp_path)


def test_a_memory_that_cannot_be_written_moves_nothing(tmp_path: Path) -> None:
    """When the compare-and-set of the memory fails, no child is touched and the pass starts again."""

    async def scenario(case: Case) -> None:
        case.policy()
        await case.settle()
        case.backend("llm-v2", ready=0)
        await case.engine.reconcile(KEY)
        case.now += 60
        for status, result in ((409, "conflict"), (503, "failed")):
            case.fake.requests.clear()
            case.fake.faults.append((STATUS, refusal(status, "No")))
            assert result == (await case.engine.reconcile(KEY)).result
            assert [STATUS] == case.writes

    drive(scenario, tmp_path)


def test_a_failed_required_step_stops_the_plan(tmp_path: Path) -> None:
    """A DestinationRule that can't be written keeps the route that needs it from being written; status says why."""

    async def scenario(case: Case) -> None:
        case.policy(connection_pool=True)
        case.fake.faults.append(("PATCH /apis/networking.istio.io", refusal(503, "No", **{"Retry-After": "4"})))
        coming = await case.engine.reconcile(KEY)
        assert ("failed", 4.0) == (coming.result, coming.at_least)
        assert ROUTE not in case.writes
        assert ("False", "ApplyFailed") == case.condition("Programmed")

        assert "changed" == (await case.engine.reconcile(KEY)).result
        assert ("True", "Programmed") == case.condition("Programmed")

    drive(scenario, tmp_path)


def test_a_taken_name_is_looked_at_again_within_a_minute(tmp_path: Path) -> None:
    """Nothing watches a foreign object, so it is looked at again from time to time."""

    async def scenario(case: Case) -> None:
        case.fake.put(VIRTUAL_SERVICES, "llm-gateway")
        case.policy()
        coming = await case.engine.reconcile(KEY)
        assert ("failed", 60.0) == (coming.result, coming.at_most)
        assert ("False", "NameTaken") == case.condition("Programmed")

    drive(scenario, tmp_path)


def test_a_repair_that_was_refused_does_not_count_as_one(tmp_path: Path) -> None:
    """Only what was put back counts against someone who keeps changing a child; refusals have their own backoff."""

    async def scenario(case: Case) -> None:
        case.policy()
        await case.settle()
        store = case.world.children[ChildKind.VIRTUAL_SERVICE]
        entry = store.get("models", "llm-gateway")
        assert entry is not None
        kept = {key: entry.value["metadata"][key] for key in ("labels", "annotations", "ownerReferences")}
        store.put(case.fake.put(VIRTUAL_SERVICES, "llm-gateway", metadata=kept, spec={"hosts": ["b.example.com"]}))
        case.fake.faults += [(ROUTE, refusal(500, "No")) for _ in range(2)]
        for _ in range(3):
            await case.engine.reconcile(KEY)
        assert 3 == case.writes.count(ROUTE)
        assert ("True", "Programmed") == case.condition("Programmed")

    drive(scenario, tmp_path)


def test_replicas_are_written_at_most_every_ten_seconds(tmp_path: Path) -> None:
    """A status that differs in replicas alone waits for its turn; with anything else it goes along at once."""

    async def scenario(case: Case) -> None:
        case.policy()
        await case.settle()
        case.now += 4
        case.backend("llm-v1", "10.0.0.1", "10.0.0.2", ready=2)
        assert Next("unchanged", 6.0) == await case.engine.reconcile(KEY)
        assert [] == case.writes

        case.now += 6
        assert Next("changed") == await case.engine.reconcile(KEY)
        assert [STATUS] == case.writes
        assert "v1=2/1,v2=1/1" == case.status["replicas"]

        case.backend("llm-v1", "10.0.0.1", "10.0.0.2", ready=3)
        case.policy(generation=2, weights=(50, 50))
        assert "changed" == (await case.engine.reconcile(KEY)).result
        assert "v1=3/1,v2=1/1" == case.status["replicas"]

    drive(scenario, tmp_path)


class FakeEngine:
    """Answers each pass with what the test says, after a while; notes how many are in work at once."""

    def __init__(self, *answers: Next | Exception) -> None:
        self.answers = list(answers)
        self.passes: list[PolicyKey] = []
        self.in_work: set[PolicyKey] = set()
        self.most_in_work = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def reconcile(self, key: PolicyKey) -> Next:
        """Make one pass."""
        assert key not in self.in_work
        self.in_work.add(key)
        self.most_in_work = max(self.most_in_work, len(self.in_work))
        self.passes.append(key)
        answer = self.answers.pop(0) if self.answers else Next("unchanged")
        try:
            await asyncio.sleep(0)
            await self.go_on.wait()
        finally:
            self.in_work.discard(key)
        if isinstance(answer, Exception):
            raise answer
        return answer


def work(
    scenario: Callable[[FakeEngine, WorkQueue[PolicyKey], Workers, list[str]], Awaitable[None]], *answers: Any
) -> None:
    """Run a scenario with two workers on a fake engine."""

    async def main() -> None:
        engine, queue, results = FakeEngine(*answers), WorkQueue[PolicyKey](Backoff(first=0.01, most=0.02)), list[str]()
        workers = Workers(engine, queue, 2, lambda result, _: results.append(result))  # type: ignore[arg-type]
        task = asyncio.create_task(workers.run())
        try:
            async with asyncio.timeout(10):
                await scenario(engine, queue, workers, results)
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await workers.drain(0)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "passes"),
    [
        pytest.param(Next("changed"), 1, id="done"),
        pytest.param(Next("changed", wake_after=0.001), 2, id="wanted again later"),
        pytest.param(Next("failed"), 2, id="failed"),
        pytest.param(Next("conflict"), 2, id="conflict"),
        pytest.param(RuntimeError("a fault in here"), 2, id="fault"),
        pytest.param(Next("gone"), 1, id="gone"),
    ],
)
def test_what_comes_after_a_pass(answer: Next | Exception, passes: int) -> None:
    """Failures, conflicts and faults are tried again, wake times are kept, and what is done is left in peace."""

    async def scenario(engine: FakeEngine, queue: WorkQueue[PolicyKey], _: Workers, results: list[str]) -> None:
        queue.add(KEY)
        await until(lambda: len(results) == passes)
        await asyncio.sleep(0.1)
        assert passes == len(engine.passes)

    work(scenario, answer)


@pytest.mark.parametrize("result", ["changed", "failed", "conflict"])
def test_wake_time_is_kept_however_a_pass_went(result: str) -> None:
    """A debounce that ends is looked at in time, also while an object cannot be written for long."""
    queue = Mock(spec=WorkQueue)

    Workers(Mock(spec=Engine), queue, 1)._plan(KEY, Next(result, wake_after=3.0))

    assert [call(KEY, 3.0)] == queue.add_after.mock_calls


def test_several_keys_at_once_but_never_the_same_twice() -> None:
    """Two workers make two passes at once; a key that is asked for during its pass gets one more afterwards."""

    async def scenario(engine: FakeEngine, queue: WorkQueue[PolicyKey], _: Workers, results: list[str]) -> None:
        engine.go_on.clear()
        keys = [PolicyKey("models", str(number)) for number in range(4)]
        for key in keys:
            queue.add(key)
        await until(lambda: len(engine.in_work) == 2)
        queue.add(keys[0])
        engine.go_on.set()
        await until(lambda: len(results) == 5)
        assert 2 == engine.most_in_work
        assert 2 == engine.passes.count(keys[0])

    work(scenario)


@pytest.mark.parametrize(
    ("patience", "cut_off"), [pytest.param(5.0, 0, id="finishes"), pytest.param(0.0, 1, id="late")]
)
def test_draining(patience: float, cut_off: int) -> None:
    """Passes in flight may finish; those that take too long are cut off."""

    async def scenario(engine: FakeEngine, queue: WorkQueue[PolicyKey], workers: Workers, results: list[str]) -> None:
        engine.go_on.clear()
        queue.add(KEY)
        await until(lambda: engine.in_work)
        if not cut_off:
            asyncio.get_running_loop().call_later(0.05, engine.go_on.set)
        assert cut_off == await workers.drain(patience)
        assert 1 == len(results)

    work(scenario)


def test_an_api_error_in_a_pass_is_no_fault(tmp_path: Path) -> None:
    """A status that can't be written is a failed pass that obeys the server's wish, not a trace in the log."""

    async def scenario(case: Case) -> None:
        case.policy()
        case.fake.faults.append((STATUS, refusal(429, "TooMany", **{"Retry-After": "3"})))
        assert Next("failed", at_least=3.0) == await case.engine.reconcile(KEY)

    drive(scenario, tmp_path)
