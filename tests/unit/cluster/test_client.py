"""The client: errors as values, pages, watches, deadlines, credentials that are read again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aigateway.cluster import client as client_module
from aigateway.cluster.client import ApiError, Client
from aigateway.cluster.connection import AccessError, Source
from aigateway.cluster.resources import CHILDREN, POLICIES, SERVICES
from aigateway.core.observation import ChildKind
from tests.unit.cluster.apiserver import FakeApiserver, refusal, running, write_kubeconfig

VIRTUAL_SERVICES = CHILDREN[ChildKind.VIRTUAL_SERVICE]


def with_server(scenario: Callable[[FakeApiserver, Client], Awaitable[None]], folder: Path) -> None:
    """Run a scenario against a fake server."""

    async def main() -> None:
        async with asyncio.timeout(20), running(folder) as (fake, client):
            await scenario(fake, client)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "status", "reason", "retry_after"),
    [
        pytest.param(lambda: refusal(409, "Conflict"), 409, "Conflict", None, id="a Status"),
        pytest.param(lambda: refusal(429, "TooMany", **{"Retry-After": "7"}), 429, "TooMany", 7.0, id="Retry-After"),
        pytest.param(lambda: web.Response(status=502, text="<html>"), 502, "Bad Gateway", None, id="a proxy's page"),
        pytest.param(lambda: web.json_response([], status=500), 500, "Internal Server Error", None, id="odd JSON"),
        pytest.param(
            lambda: web.json_response({"reason": "T", "details": {"retryAfterSeconds": 3}}, status=504),
            504,
            "T",
            3.0,
            id="seconds in the Status",
        ),
        pytest.param(lambda: web.Response(text="not JSON"), 0, "JSONDecodeError", None, id="200 without JSON"),
    ],
)
def test_refusals(
    tmp_path: Path, answer: Callable[[], web.Response], status: int, reason: str, retry_after: float | None
) -> None:
    """Whatever comes back instead of an object is one kind of error, with what the server said."""

    async def scenario(fake: FakeApiserver, client: Client) -> None:
        fake.faults.append(("GET", answer()))
        with pytest.raises(ApiError) as caught:
            await client.get(SERVICES, "models", "x")
        assert (status, reason, retry_after) == (caught.value.status, caught.value.reason, caught.value.retry_after)

    with_server(scenario, tmp_path)


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    """A missing object is no error, and neither is a group that the cluster does not have."""

    async def scenario(fake: FakeApiserver, client: Client) -> None:
        fake.put(SERVICES, "y")
        assert await client.get(SERVICES, "models", "x") is None
        assert await client.find(SERVICES, "models", "x") is None
        assert frozenset() == await client.kinds(VIRTUAL_SERVICES)
        fake.served.add("virtualservices")
        fake.put(SERVICES, "x")
        assert frozenset({"virtualservices"}) == await client.kinds(VIRTUAL_SERVICES)
        found = await client.get(SERVICES, "models", "x")
        assert found is not None
        assert found == await client.find(SERVICES, "models", "x")

    with_server(scenario, tmp_path)


def test_pages(tmp_path: Path) -> None:
    """A long collection comes page by page, of one namespace or of all."""

    async def scenario(fake: FakeApiserver, client: Client) -> None:
        fake.page_size = 2
        for number in range(3):
            fake.put(SERVICES, f"s{number}")
        fake.put(SERVICES, "s9", "elsewhere")
        pages = [page async for page in client.pages(SERVICES, "models", "")]
        assert [2, 1] == [len(page.items) for page in pages]
        assert 4 == sum([len(page.items) async for page in client.pages(SERVICES, None, "")])

    with_server(scenario, tmp_path)


def test_watching(tmp_path: Path) -> None:
    """A watch yields events from a version on, bookmarks among them, and ends with the stream; long lines are fine."""

    async def scenario(fake: FakeApiserver, client: Client) -> None:
        fake.put(SERVICES, "before")
        since = str(fake.version)
        fake.put(SERVICES, "big", data="x" * 1_000_000)
        fake.remove(SERVICES, "big")
        fake.bookmark(SERVICES)
        seen = []
        async for event in client.watch(SERVICES, None, "", since, 60):
            seen.append(event["type"])
            if len(seen) == 3:
                fake.cut_watches()
        assert ["ADDED", "DELETED", "BOOKMARK"] == seen

    with_server(scenario, tmp_path)


def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request and a watch that hear nothing end with an error after their deadlines."""
    monkeypatch.setattr(client_module, "REQUEST_SECONDS", 0.05)
    monkeypatch.setattr(client_module, "WATCH_SILENCE_SECONDS", 0.05)

    async def black_hole(_: web.Request) -> web.Response:
        await asyncio.sleep(20)
        raise AssertionError("the client waited too long")

    async def main() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", black_hole)
        async with TestServer(app) as server:
            source = Source(write_kubeconfig(tmp_path, str(server.make_url("/"))))
            async with asyncio.timeout(10), Client(source) as client:
                with pytest.raises(ApiError, match="no answer"):
                    await client.get(SERVICES, "models", "x")
                with pytest.raises(ApiError, match="no answer"):
                    await anext(client.watch(SERVICES, None, "", "1", 60))

    asyncio.run(main())


def test_a_watch_in_which_nothing_happens_ends_quietly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence after the server has agreed to a watch is no error; the watch ends, to be asked for again."""
    monkeypatch.setattr(client_module, "WATCH_SILENCE_SECONDS", 0.05)
    opened: list[None] = []

    async def scenario(fake: FakeApiserver, client: Client) -> None:
        fake.put(SERVICES, "x")
        watch = client.watch(SERVICES, None, "", str(fake.version), 60, lambda: opened.append(None))
        assert [] == [event async for event in watch]
        assert [None] == opened

    with_server(scenario, tmp_path)


def test_nobody_listens(tmp_path: Path) -> None:
    """A refused connection is an error with status 0, and is told to whoever counts requests."""
    counted: list[tuple[str, str, int]] = []

    async def main() -> None:
        source = Source(write_kubeconfig(tmp_path, "http://127.0.0.1:1"))
        async with Client(source, lambda verb, resource, code, _: counted.append((verb, resource, code))) as client:
            with pytest.raises(ApiError) as caught:
                await client.get(SERVICES, "models", "x")
            assert 0 == caught.value.status

    asyncio.run(main())
    assert [("get", "services", 0)] == counted


def test_a_refused_token_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 401 the credentials are read anew and the request is sent once more; a second 401 is an error."""
    monkeypatch.setattr(client_module, "_RELOGIN_SECONDS", 0.0)

    async def scenario(fake: FakeApiserver, client: Client) -> None:
        fake.put(SERVICES, "x")
        fake.faults.append(("GET", refusal(401, "Unauthorized")))
        assert await client.get(SERVICES, "models", "x") is not None
        fake.faults += [("GET", refusal(401, "Unauthorized")), ("GET", refusal(401, "Unauthorized"))]
        with pytest.raises(ApiError, match="Unauthorized"):
            await client.get(SERVICES, "models", "x")

    with_server(scenario, tmp_path)


def test_unreadable_credentials_are_kept_while_they_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the kubeconfig is gone for a moment, the credentials in use go on being used, and the log says so."""
    monkeypatch.setattr(client_module, "_TOKEN_SECONDS", 0.0)
    monkeypatch.setattr(client_module, "_RELOGIN_SECONDS", 0.0)

    async def scenario(fake: FakeApiserver, client: Client) -> None:
        fake.put(SERVICES, "x")
        (tmp_path / "kubeconfig").unlink()
        assert await client.get(SERVICES, "models", "x") is not None

    with_server(scenario, tmp_path)
    assert "the ones in use are kept" in caplog.text


def test_no_kubeconfig_at_all(tmp_path: Path) -> None:
    """Without any access the client does not start, and says what it looked for."""

    async def main() -> None:
        async with Client(Source(tmp_path / "missing")):
            raise AssertionError("it started")

    with pytest.raises(AccessError, match="no access to a cluster"):
        asyncio.run(main())


def test_warnings_are_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What the server warns of reaches the log, once for each text."""

    async def scenario(fake: FakeApiserver, client: Client) -> None:
        for _ in range(2):
            fake.faults.append(("GET", web.json_response({}, headers={"Warning": '299 - "deprecated"'})))
            await client.get(POLICIES, "models", "x")

    with caplog.at_level(logging.WARNING):
        with_server(scenario, tmp_path)
    assert 1 == caplog.text.count("deprecated")


def test_deleting_only_what_was_seen(tmp_path: Path) -> None:
    """A deletion names uid and version; an object that has changed since is not deleted."""

    async def scenario(fake: FakeApiserver, client: Client) -> None:
        metadata = fake.put(SERVICES, "x")["metadata"]
        uid, version = metadata["uid"], metadata["resourceVersion"]
        fake.put(SERVICES, "x")
        with pytest.raises(ApiError) as caught:
            await client.delete(SERVICES, "models", "x", uid=uid, resource_version=version)
        assert caught.value.conflict
        await client.delete(SERVICES, "models", "x", uid=uid, resource_version=str(fake.version))
        assert await client.get(SERVICES, "models", "x") is None

    with_server(scenario, tmp_path)
