"""Probes and /metrics over HTTP."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Gauge

from aigateway.metrics.server import Address, Health, Server


def free_address() -> Address:
    """Return a loopback address that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", probe.getsockname()[1])


async def get(address: Address, path: str) -> tuple[int, str]:
    """Return status and text of a path; status 0 where nothing listens."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://{address}{path}") as answer:
            return answer.status, await answer.text()
    except aiohttp.ClientConnectionError:
        return 0, ""


def ask(probes: Address, metrics: Address, path: str, dead: list[str], unready: list[str]) -> tuple[int, str]:
    """Start a server and ask it for a path, at the address where that belongs."""
    registry = CollectorRegistry()
    Gauge("answer", "to everything", registry=registry).set(42)
    health = Health(lambda: dead, lambda: unready, lambda: "ok (standby)")

    async def main() -> tuple[int, str]:
        async with asyncio.timeout(10), Server(probes, metrics, registry, health):
            return await get(metrics if path == "/metrics" else probes, path)

    return asyncio.run(main())


@pytest.mark.parametrize("shared", [pytest.param(True, id="one address"), pytest.param(False, id="two addresses")])
@pytest.mark.parametrize(
    ("path", "dead", "unready", "status", "text"),
    [
        pytest.param("/livez", [], [], 200, "ok", id="alive"),
        pytest.param("/livez", ["stuck"], [], 503, "stuck", id="dead"),
        pytest.param("/livez", [], ["not listed"], 200, "ok", id="alive though not ready"),
        pytest.param("/readyz", [], [], 200, "ok (standby)", id="ready"),
        pytest.param("/readyz", [], ["not listed", "silent"], 503, "not listed\nsilent", id="not ready"),
        pytest.param("/metrics", ["x"], ["y"], 200, "answer 42.0", id="metrics"),
        pytest.param("/", [], [], 404, "Not Found", id="nothing else"),
    ],
)
def test_answers(path: str, dead: list[str], unready: list[str], status: int, text: str, *, shared: bool) -> None:
    """Probes pass when nothing is wrong and say what is wrong otherwise; metrics are always there."""
    probes = free_address()
    found = ask(probes, probes if shared else free_address(), path, dead, unready)

    assert status == found[0]
    assert text in found[1]


def test_it_stops_listening() -> None:
    """After its end nothing answers any more."""
    address = free_address()

    async def main() -> tuple[int, str]:
        async with Server(address, address, CollectorRegistry(), Health(list, list)):
            pass
        return await get(address, "/livez")

    assert (0, "") == asyncio.run(main())
