"""What Prometheus last showed of backends, and for which of them it is to be asked.

:mod:`aigateway.cluster.world` keeps it up to date and asks it for observations; the sampler fills it at every tick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from aigateway.api.problems import Rejection
from aigateway.api.resolved import Backend, PolicyKey, ResolvedPolicy
from aigateway.core.observation import Lack, Metric, NoData, Sample, ServiceState
from aigateway.core.signals import Target, signals

Address = tuple[str, str, Metric]
"""Namespace, Service and metric of a sample."""


class Samples:
    """The latest samples.  ``service`` looks a Service up; ``configured``: there is a Prometheus to ask."""

    def __init__(self, service: Callable[[str, str], ServiceState | None], *, configured: bool) -> None:
        self._service = service
        self._none_yet = NoData(Lack.NOT_ASKED_YET if configured else Lack.NOT_CONFIGURED)
        self._users: dict[PolicyKey, ResolvedPolicy] = {}
        self._latest: Mapping[Address, Sample | NoData] = {}

    def policy_changed(self, key: PolicyKey, policy: ResolvedPolicy | Rejection | None) -> None:
        """Take over what a policy looks at now."""
        if isinstance(policy, ResolvedPolicy) and signals(policy):
            self._users[key] = policy
        else:
            self._users.pop(key, None)

    def of(self, policy: ResolvedPolicy | Rejection) -> dict[tuple[str, Metric], Sample | NoData]:
        """Return what there is of all that a policy looks at, by Service and metric."""
        if isinstance(policy, Rejection):
            return {}
        return {
            (service, metric): self._latest.get((namespace, service, metric), self._none_yet)
            for namespace, service, metric in _addresses(policy)
        }

    def wanted(self) -> dict[Metric, list[Target]]:
        """Return what is to be asked, each Service once for a metric."""
        ports: dict[Metric, dict[tuple[str, str], set[int]]] = {}
        for policy in self._users.values():
            for metric in signals(policy):
                services = ports.setdefault(metric, {})
                for backend in policy.backends:
                    known = services.setdefault((policy.key.namespace, backend.service), set())
                    known |= self._ports(policy.key.namespace, backend)
        return {
            metric: [Target(*name, tuple(sorted(found))) for name, found in services.items()]
            for metric, services in ports.items()
        }

    def take(self, samples: Mapping[Address, Sample | NoData]) -> Iterator[PolicyKey]:
        """Take over what a tick has shown, and yield the policies that it shows something new to."""
        before, self._latest = self._latest, samples
        for key, policy in self._users.items():
            if any(before.get(address) != samples.get(address) for address in _addresses(policy)):
                yield key

    def _ports(self, namespace: str, backend: Backend) -> set[int]:
        """Return the port that a backend's requests go to, as far as it is known."""
        if backend.port is not None:
            return {backend.port}
        service = self._service(namespace, backend.service)
        numbers = {port.number for port in service.ports} if service else set()
        return numbers if len(numbers) == 1 else set()


def _addresses(policy: ResolvedPolicy) -> Iterable[Address]:
    return ((policy.key.namespace, each.service, metric) for each in policy.backends for metric in signals(policy))
