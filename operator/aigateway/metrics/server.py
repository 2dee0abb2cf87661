"""The operator's own HTTP endpoints: /livez and /readyz for the kubelet, /metrics for Prometheus.

:mod:`aigateway.process` starts it in the engine's loop: that it answers at all shows that the loop turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Faults = Callable[[], Iterable[str]]
"""Names what is wrong now; nothing: all is well."""
_FINE = "ok"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; ``host`` None: on all addresses."""

    host: str | None
    port: int

    def __str__(self) -> str:
        """Return the form of the command line."""
        return f"{self.host or ''}:{self.port}"


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes ask: why to restart the process, why not to count on it, and what to say where all is well."""

    dead: Faults
    unready: Faults
    ready: Callable[[], str] = lambda: _FINE


class Server:
    """Serves until closed; use it as an asynchronous context manager.  Equal addresses share one listener."""

    def __init__(self, probes: Address, metrics: Address, registry: CollectorRegistry, health: Health) -> None:
        self._registry = registry
        self._health = health
        routes = {probes: self._probe_routes(), metrics: [web.get("/metrics", self._metrics)]}
        if probes == metrics:
            routes[probes] = [*self._probe_routes(), web.get("/metrics", self._metrics)]
        self._routes = routes
        self._runners: list[web.AppRunner] = []

    async def __aenter__(self) -> Self:
        for address, routes in self._routes.items():
            app = web.Application()
            app.add_routes(routes)
            runner = web.AppRunner(app, access_log=None, handle_signals=False)
            self._runners.append(runner)
            await runner.setup()
            await web.TCPSite(runner, address.host, address.port, reuse_address=True).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for runner in self._runners:
            await runner.cleanup()

    def _probe_routes(self) -> list[web.RouteDef]:
        return [web.get("/livez", self._livez), web.get("/readyz", self._readyz)]

    async def _livez(self, _: web.Request) -> web.Response:
        return _answer(self._health.dead())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self._health.unready(), self._health.ready())

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _answer(faults: Iterable[str], fine: str = _FINE) -> web.Response:
    found = list(faults)
    return web.Response(text="\n".join(found) or fine, status=503 if found else 200)
