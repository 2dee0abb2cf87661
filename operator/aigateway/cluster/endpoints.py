"""How many endpoints of each Service are ready, and since when there are any.

:mod:`aigateway.cluster.world` feeds it with EndpointSlices (a Service may have several, with the same address in two
of them for a moment) and asks it for observations.  Times are wall-clock seconds, handed in.
"""

from __future__ import annotations

from collections.abc import Callable

from aigateway.cluster.parse import SliceState
from aigateway.cluster.store import Entry
from aigateway.core.observation import EndpointsState

_Service = tuple[str, str]


class Endpoints:
    """Ready addresses by Service.  ``on_change`` is told the namespace and name of a Service whose count changed."""

    def __init__(self, now: Callable[[], float], on_change: Callable[[str, str], None]) -> None:
        self._now = now
        self._on_change = on_change
        self._slices: dict[_Service, dict[str, frozenset[str]]] = {}
        self._states: dict[_Service, EndpointsState] = {}

    def state(self, namespace: str, service: str) -> EndpointsState:
        """Return the state of a Service that exists; without any EndpointSlice it has none ready since this look."""
        return self._states.setdefault((namespace, service), EndpointsState(0, self._now()))

    def changed(self, old: Entry[SliceState] | None, new: Entry[SliceState] | None) -> None:
        """Take over a change of one EndpointSlice."""
        if old is not None and (new is None or new.value.service != old.value.service):
            self._update(old, frozenset())
        if new is not None:
            self._update(new, new.value.ready)

    def clear(self, namespace: str) -> None:
        """Forget a namespace that is no longer watched."""
        for known in (self._slices, self._states):
            for service in [service for service in known if service[0] == namespace]:
                del known[service]

    def _update(self, entry: Entry[SliceState], ready: frozenset[str]) -> None:
        if not entry.value.service:
            return
        service = (entry.namespace, entry.value.service)
        slices = self._slices.setdefault(service, {})
        slices[entry.name] = ready
        if not ready:
            del slices[entry.name]
        self._count(service, len(frozenset().union(*slices.values())))

    def _count(self, service: _Service, ready: int) -> None:
        old = self._states.get(service)
        if old is not None and old.ready == ready:
            return
        moved = old is None or bool(old.ready) != bool(ready)
        self._states[service] = EndpointsState(ready, self._now() if moved or old is None else old.since)
        self._on_change(*service)
