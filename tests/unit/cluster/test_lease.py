"""The Lease object over HTTP, and the client's fence, through which every write goes but the Lease's own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aigateway.cluster.client import ApiError, Client
from aigateway.cluster.connection import Source
from aigateway.cluster.leader import Elector, LeadLost, Timing
from aigateway.cluster.lease import LeaseObject, Record
from aigateway.cluster.resources import CHILDREN, EVENTS, LEASES, POLICIES
from aigateway.core.observation import ChildKind
from tests.unit.cluster.apiserver import FakeApiserver, refusal, running, write_kubeconfig

ROUTES = CHILDREN[ChildKind.VIRTUAL_SERVICE]
BODY = {"metadata": {"name": "x", "namespace": "models"}, "status": {}}
NAME, NAMESPACE = "aigateway-operator", "aigateway-system"
Scenario = Callable[[FakeApiserver, Client], Awaitable[None]]


def with_server(scenario: Scenario, folder: Path) -> None:
    """Run a scenario against a fake server."""

    async def main() -> None:
        async with asyncio.timeout(20), running(folder) as (fake, client):
            await scenario(fake, client)

    asyncio.run(main())


def test_the_lease_is_a_register(tmp_path: Path) -> None:
    """It is created once, and written onto the state that was read and no other."""

    async def scenario(_: FakeApiserver, client: Client) -> None:
        lease = LeaseObject(client, NAMESPACE, NAME)
        assert await lease.read(5) is None
        first = Record(await lease.create({"holderIdentity": "a"}, 5))
        second = Record(await lease.replace(first.with_spec({"holderIdentity": "b"}), 5))
        assert ("a", "b") == (first.holder, second.holder)
        with pytest.raises(ApiError) as caught:
            await lease.replace(first.with_spec({"holderIdentity": "c"}), 5)
        assert caught.value.conflict
        assert second.raw == await lease.read(5)

    with_server(scenario, tmp_path)


def test_a_read_that_is_refused_is_no_missing_lease(tmp_path: Path) -> None:
    """Only a clear answer says that the Lease does not exist."""

    async def scenario(fake: FakeApiserver, client: Client) -> None:
        fake.faults.append(("GET", refusal(503, "ServiceUnavailable")))
        with pytest.raises(ApiError):
            await LeaseObject(client, NAMESPACE, NAME).read(5)

    with_server(scenario, tmp_path)


def test_a_server_that_says_nothing_is_waited_for_no_longer_than_asked(tmp_path: Path) -> None:
    """A request of the elector ends at its own deadline, long before the client's."""

    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async def main() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", silent)
        async with asyncio.timeout(10), TestServer(app) as server:
            async with Client(Source(write_kubeconfig(tmp_path, str(server.make_url("/"))))) as client:
                with pytest.raises(ApiError) as caught:
                    await LeaseObject(client, NAMESPACE, NAME).read(0.05)
            assert (0, "Timeout") == (caught.value.status, caught.value.reason)

    asyncio.run(main())


def test_an_elector_on_real_time(tmp_path: Path) -> None:
    """It takes a Lease, renews it, and ends when it is given to another."""

    async def scenario(fake: FakeApiserver, client: Client) -> None:
        elector = Elector("a", LeaseObject(client, NAMESPACE, NAME), Timing(3, 2, 0.05))
        await elector.take()
        holding = asyncio.create_task(elector.hold())
        while fake.count(f"PUT {LEASES.path(NAMESPACE, NAME)}") < 2:  # noqa: ASYNC110 (requests are counted, not told of)
            await asyncio.sleep(0.01)
        fake.put(LEASES, NAME, NAMESPACE, spec={"holderIdentity": "b"})
        with pytest.raises(LeadLost, match="b leads now"):
            await holding
        assert not elector.may_write()

    with_server(scenario, tmp_path)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda client: client.apply(ROUTES, BODY, force=True), id="apply"),
        pytest.param(lambda client: client.apply_status(POLICIES, BODY), id="status"),
        pytest.param(lambda client: client.delete(ROUTES, "models", "x", uid="u", resource_version="1"), id="delete"),
        pytest.param(lambda client: client.create(EVENTS, BODY), id="event"),
    ],
)
@pytest.mark.parametrize("left", [pytest.param(0.0, id="at its end"), pytest.param(-math.inf, id="never open")])
def test_no_write_passes_a_closed_fence(
    tmp_path: Path, write: Callable[[Client], Awaitable[object]], left: float
) -> None:
    """Without the lead nothing that changes an object is sent; reads are, and the Lease is written."""

    async def main() -> None:
        async with asyncio.timeout(20), running(tmp_path) as (fake, _):
            async with Client(Source(tmp_path / "kubeconfig"), fence=lambda: left) as client:
                with pytest.raises(ApiError, match="NotLeading"):
                    await write(client)
                assert [] == fake.requests
                assert await client.get(ROUTES, "models", "x") is None
                await LeaseObject(client, NAMESPACE, NAME).create({}, 5)
            assert ["GET", "POST"] == [method for method, _ in fake.requests]

    asyncio.run(main())


def test_a_write_is_given_up_when_the_fence_closes(tmp_path: Path) -> None:
    """A write that has begun waits for its answer no longer than it could have begun."""

    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async def main() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", silent)
        async with asyncio.timeout(10), TestServer(app) as server:
            source = Source(write_kubeconfig(tmp_path, str(server.make_url("/"))))
            async with Client(source, fence=lambda: 0.05) as client:
                with pytest.raises(ApiError) as caught:
                    await client.apply(ROUTES, BODY, force=True)
            assert (0, "Timeout") == (caught.value.status, caught.value.reason)

    asyncio.run(main())
