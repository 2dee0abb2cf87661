"""How many proxies the gateways have: the ready addresses of the Service that the administrator has named.

:mod:`aigateway.cluster.watches` feeds it with that Service's EndpointSlices, or :mod:`aigateway.cluster.snapshot` does
so once; :mod:`aigateway.cluster.world` asks it.  It is only told to people: nothing waits for it, and nothing else may
depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aigateway.cluster import parse
from aigateway.cluster.parse import SliceState
from aigateway.cluster.reflector import Scope
from aigateway.cluster.resources import ENDPOINT_SLICES
from aigateway.cluster.store import Mark, Store
from aigateway.core.observation import Json


class GatewayProxies(Store[SliceState]):
    """The slices of ``service`` (``namespace/name``; None: none is named).  ``on_change`` is told of a new count.

    ``count`` is None while no list of them is known; ``scope`` is what has to be watched, None for nothing.
    """

    def __init__(self, service: str | None, on_change: Callable[[], None]) -> None:
        super().__init__(parse.endpoint_slice, lambda *_: self._recount())
        self._tell = on_change
        self._listed = False
        self._is_refused = False
        self.count: int | None = None
        self.scope = _scope(service) if service else None

    def replace(self, listed: Iterable[Json], resource_version: int, mark: Mark, namespace: str | None = None) -> int:
        """Take over a whole list, with which the count is known."""
        differences = super().replace(listed, resource_version, mark, namespace)
        self._listed, self._is_refused = True, False
        self._recount()
        return differences

    def refused(self) -> bool:
        """Take over that the slices may not be looked at, so that there is no count; return whether that is news."""
        news = not self._is_refused
        self._listed, self._is_refused = False, True
        self._recount()
        return news

    def _recount(self) -> None:
        count = self._ready() if self._listed else None
        if count != self.count:
            self.count = count
            self._tell()

    def _ready(self) -> int:
        """Return how many addresses are ready; in a cluster of two address families each proxy has one of both."""
        addresses = frozenset[str]().union(*(entry.value.ready for entry in self))
        of_version_6 = sum(":" in address for address in addresses)
        return max(of_version_6, len(addresses) - of_version_6)


def _scope(service: str) -> Scope:
    namespace, _, name = service.partition("/")
    return Scope(ENDPOINT_SLICES, namespace, f"{parse.SERVICE_NAME_LABEL}={name}")
