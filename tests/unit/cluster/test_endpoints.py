"""Ready endpoints of Services, over all their slices."""

from __future__ import annotations

from aigateway.cluster.endpoints import Endpoints
from aigateway.cluster.parse import SliceState
from aigateway.cluster.store import Entry
from aigateway.core.observation import EndpointsState


class Case:
    """Endpoints on a clock that the test sets, and the Services whose count was told as changed."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.told: list[str] = []
        self.endpoints = Endpoints(lambda: self.now, lambda _, service: self.told.append(service))
        self._slices: dict[str, Entry[SliceState]] = {}

    def set(self, name: str, *addresses: str, service: str = "llm") -> None:
        """Create or change a slice."""
        old = self._slices.get(name)
        self._slices[name] = Entry("ns", name, f"u-{name}", 1, SliceState(service, frozenset(addresses)))
        self.endpoints.changed(old, self._slices[name])

    def delete(self, name: str) -> None:
        """Delete a slice."""
        self.endpoints.changed(self._slices.pop(name), None)

    @property
    def state(self) -> EndpointsState:
        """The state of the Service ``llm``."""
        return self.endpoints.state("ns", "llm")


def test_addresses_count_once_over_all_slices() -> None:
    """An address that moves between slices, and is in both for a moment, counts once."""
    case = Case()
    case.set("a", "10.0.0.1", "10.0.0.2")
    case.set("b", "10.0.0.2", "10.0.0.3")

    assert 3 == case.state.ready


def test_since_moves_only_from_and_to_zero() -> None:
    """``since`` tells when readiness as a whole came or went, not when the count changed."""
    case = Case()
    case.set("a", "10.0.0.1")
    case.now = 1010
    case.set("a", "10.0.0.1", "10.0.0.2")
    assert EndpointsState(2, 1000) == case.state

    case.now = 1020
    case.set("a")
    assert EndpointsState(0, 1020) == case.state

    case.now = 1030
    case.set("b", "10.0.0.9")
    assert EndpointsState(1, 1030) == case.state
    assert ["llm"] * 4 == case.told


def test_a_service_without_slices_has_none_ready_since_the_first_look() -> None:
    """A Service that nobody made endpoints for counts as not ready from the moment it is looked at."""
    case = Case()
    assert EndpointsState(0, 1000) == case.state
    case.now = 1500
    assert EndpointsState(0, 1000) == case.state
    assert [] == case.told


def test_slices_that_go_or_change_hands() -> None:
    """A deleted slice, and one that is given to another Service, take their addresses along."""
    case = Case()
    case.set("a", "10.0.0.1")
    case.set("b", "10.0.0.2")
    case.delete("a")
    assert 1 == case.state.ready
    case.set("b", "10.0.0.2", service="other")

    assert 0 == case.state.ready
    assert 1 == case.endpoints.state("ns", "other").ready


def test_slices_of_no_service_are_ignored() -> None:
    """A slice that somebody made without naming a Service counts for none."""
    case = Case()
    case.set("a", "10.0.0.1", service="")

    assert [] == case.told


def test_a_namespace_can_be_forgotten() -> None:
    """After a namespace was left, its Services are as never seen."""
    case = Case()
    case.set("a", "10.0.0.1")
    case.endpoints.clear("ns")
    case.now = 2000

    assert EndpointsState(0, 2000) == case.state
