"""The process: parts wired together, probes and metrics about them, and a stop that finishes what is in flight."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import pytest
from prometheus_client.exposition import generate_latest

from aigateway.cli import run as command
from aigateway.cluster.leader import LeadLost
from aigateway.cluster.resources import CHILDREN, ENDPOINT_SLICES, LEASES, POLICIES, SERVICES
from aigateway.core.observation import ChildKind
from aigateway.process import Operator
from aigateway.settings import Settings
from tests.unit.cluster.apiserver import FakeApiserver, refusal, running, until
from tests.unit.metrics.test_server import free_address

ROUTES = CHILDREN[ChildKind.VIRTUAL_SERVICE]


class Case:
    """An operator on a fake API server, in this event loop."""

    def __init__(self, fake: FakeApiserver, settings: Settings) -> None:
        self.fake = fake
        self.settings = settings
        self.operator = Operator(settings)
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.operator.run(self.stop))

    async def probe(self, path: str) -> tuple[int, str]:
        """Ask one of the operator's endpoints; status 0 where nothing answers."""
        try:
            url = f"http://{self.settings.probes}{path}"
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientConnectionError:
            return 0, ""

    async def until_ready(self) -> None:
        """Wait for the readiness probe."""
        while (await self.probe("/readyz"))[0] != 200:  # noqa: ASYNC110 (readiness is asked for, as the kubelet does)
            await asyncio.sleep(0.01)

    def put_policy(self) -> None:
        """Create a policy with everything that it refers to."""
        labels = {"labels": {"kubernetes.io/service-name": "llm-v1"}}
        self.fake.put(SERVICES, "llm-v1", spec={"ports": [{"port": 80}]})
        self.fake.put(ENDPOINT_SLICES, "llm-v1-1", metadata=labels, endpoints=[{"addresses": ["10.0.0.1"]}])
        self.fake.put(
            POLICIES,
            "llm",
            apiVersion="aigateway.dev/v1alpha1",
            kind="AIGatewayPolicy",
            metadata={"generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"},
            spec={"hosts": ["a.example.com"], "backends": [{"name": "v1", "service": {"name": "llm-v1"}}]},
        )


async def _kopf_that_only_waits(**arguments: Any) -> None:
    await arguments["stop_flag"].wait()


@asynccontextmanager
async def operating(folder: Path, **changes: Any) -> AsyncIterator[Case]:
    """Run an operator until the end of the block; alone, unless settings say otherwise."""
    address = str(free_address())
    async with asyncio.timeout(20), running(folder) as (fake, _):
        fake.served |= {resource.plural for resource in CHILDREN.values()}
        settings = Settings(
            folder / "kubeconfig",
            default_gateway="istio-system/gw",
            probes_address=address,
            metrics_address=address,
            **{"leader_election": False, **changes},
        )
        case = Case(fake, settings)
        try:
            yield case
        finally:
            case.stop.set()
            await asyncio.gather(case.task, return_exceptions=True)


def operate(
    scenario: Callable[[Case], Awaitable[None]], folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> None:
    """Run a scenario."""
    monkeypatch.setattr(kopf, "operator", _kopf_that_only_waits)

    async def main() -> None:
        async with operating(folder, **changes) as case:
            await scenario(case)

    asyncio.run(main())


def test_from_a_policy_to_a_route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that is there at the start gets its route, its status and its event; metrics tell of it."""

    async def scenario(case: Case) -> None:
        case.put_policy()
        await case.until_ready()
        await until(lambda: case.fake.count(f"PATCH {POLICIES.path('models', 'llm', 'status')}"))
        assert 1 == case.fake.count(f"PATCH {ROUTES.path('models', 'llm-gateway')}")
        await until(lambda: case.fake.count("POST /apis/events.k8s.io/v1"))
        text = (await case.probe("/metrics"))[1]
        assert 'aigateway_policies{ready="True"} 1.0' in text
        assert 'aigateway_watch_age_seconds{resource="services"}' in text

    operate(scenario, tmp_path, monkeypatch)


def test_readiness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until policies are listed the operator is alive and not ready, and says why."""

    async def scenario(case: Case) -> None:
        case.fake.faults += [(f"GET {POLICIES.path()}", refusal(403, "Forbidden")) for _ in range(2)]
        await until(lambda: case.fake.count(f"GET {POLICIES.path()}"))
        status, text = await case.probe("/readyz")
        assert (503, "policies not listed yet") == (status, text.splitlines()[0])
        assert (200, "ok") == await case.probe("/livez")
        await case.until_ready()

    operate(scenario, tmp_path, monkeypatch)


def test_liveness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy watch that shows no life for a minute makes the kubelet restart the process."""

    async def scenario(case: Case) -> None:
        await case.until_ready()
        case.operator.policies.beat_at -= 1000
        status, text = await case.probe("/livez")
        assert 503 == status
        assert "no life" in text

    operate(scenario, tmp_path, monkeypatch)


def test_a_pass_in_flight_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop waits for the pass that runs: its last write arrives, and nothing listens afterwards."""

    async def scenario(case: Case) -> None:
        await case.until_ready()
        case.put_policy()
        case.operator.world.policies.put(case.fake._objects[(POLICIES.group_path, POLICIES.plural, "models", "llm")])
        await until(lambda: case.fake.count(f"GET {ROUTES.path('models', 'llm-gateway')}"))
        case.stop.set()
        await case.task
        assert 1 == case.fake.count(f"PATCH {POLICIES.path('models', 'llm', 'status')}")
        assert (0, "") == await case.probe("/livez")

    operate(scenario, tmp_path, monkeypatch)


def test_a_standby_takes_nothing_until_it_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ready, queues and writes nothing; with the lead it looks at every policy; without it, it ends."""

    async def scenario(case: Case) -> None:
        def lease(holder: str, seconds: int) -> None:
            spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds}
            case.fake.put(LEASES, "aigateway-operator", "aigateway-system", spec=spec)

        lease("other", 15)
        case.put_policy()
        await case.until_ready()
        assert (200, "ok (standby)") == await case.probe("/readyz")
        text = (await case.probe("/metrics"))[1]
        assert "aigateway_leader 0.0" in text
        assert "aigateway_queue_depth 0.0" in text
        assert 0 == case.fake.count("PATCH")

        lease("", 1)
        await until(lambda: case.fake.count(f"PATCH {POLICIES.path('models', 'llm', 'status')}"))
        assert (200, "ok (leader)") == await case.probe("/readyz")

        lease("other", 15)
        with pytest.raises(LeadLost):
            await case.task

    changes = {"lease_namespace": "aigateway-system", "lease_retry": 1, "leader_election": True}
    operate(scenario, tmp_path, monkeypatch, **changes)


def test_a_stop_releases_the_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last thing that a leader writes is that it leads no more."""

    async def scenario(case: Case) -> None:
        await case.until_ready()
        case.stop.set()
        await case.task
        methods = [method for method, path in case.fake.requests if "/leases" in path]
        assert ["POST", "GET", "PUT"] == [methods[1], *methods[-2:]]
        found = case.fake._objects[(LEASES.group_path, LEASES.plural, "aigateway-system", "aigateway-operator")]
        assert "" == found["spec"]["holderIdentity"]

    operate(scenario, tmp_path, monkeypatch, lease_namespace="aigateway-system", leader_election=True)


def test_a_part_that_ends_by_itself_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a part fails for good the operator ends with that error, rather than live on as a half."""

    async def broken(_: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("aigateway.cluster.watches.Watches.run", broken)

    async def scenario(case: Case) -> None:
        with pytest.raises(RuntimeError, match="broken on purpose"):
            await case.task

    operate(scenario, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        pytest.param(None, 0, "", id="asked to stop"),
        pytest.param(OSError("address already in use"), 1, "the operator cannot start", id="cannot start"),
        pytest.param(LeadLost("b leads now"), 3, "it leads no more: b leads now", id="lost the lead"),
        pytest.param(RuntimeError("a part failed"), 1, "start it again", id="failed"),
    ],
)
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception | None, code: int, said: str
) -> None:
    """The exit code tells a stop from a failure, and the last line of the log is JSON that says what to do."""

    async def run(_: Settings) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(command, "_run", run)
    root = logging.getLogger()
    before = root.handlers, root.level
    try:
        with pytest.raises(SystemExit) as ended:
            command.run.main(["--log-level=info"])
    finally:
        root.handlers, root.level = before

    assert code == (ended.value.code or 0)
    line = capsys.readouterr().err
    if said:
        entry = json.loads(line)
        assert said in entry["message"]
        assert entry["time"].endswith("Z")


def test_nothing_is_collected_twice() -> None:
    """Two operators in one process (as in tests) have registries of their own."""

    async def make() -> tuple[bytes, bytes]:
        settings = Settings(leader_election=False)
        first, second = Operator(settings), Operator(settings)
        return generate_latest(first._instruments.registry), generate_latest(second._instruments.registry)

    assert all(b"aigateway_build_info" in text for text in asyncio.run(make()))
