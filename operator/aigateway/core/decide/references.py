"""Which of the Services, ports and workloads that a policy names exist.

Looks only at the observation.  A missing reference costs only the backend that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aigateway.api.reasons import EXTERNAL_SERVICE, PORT_NOT_FOUND, SERVICE_NOT_FOUND, WORKLOAD_NOT_FOUND
from aigateway.api.resolved import ResolvedPolicy
from aigateway.core.decision import Because
from aigateway.core.observation import Observation, ServiceState


@dataclass(frozen=True, slots=True)
class References:
    """``ports``: the Service port of each backend that resolves; ``service_exists``: the in-mesh name can be routed."""

    ports: Mapping[str, int]
    service_exists: bool
    problems: tuple[Because, ...]


def resolve_references(policy: ResolvedPolicy, observation: Observation) -> References:
    """Look up everything that the policy names."""
    ports: dict[str, int] = {}
    problems: list[Because] = []
    for index, backend in enumerate(policy.backends):
        found = _port(f"spec.backends[{index}].service", backend.service, backend.port, observation.services)
        if isinstance(found, Because):
            problems.append(found)
        else:
            ports[backend.name] = found
    service_problem = _in_mesh_problem(policy, observation)
    missing_workloads = _missing_workloads(policy, observation)
    return References(
        ports=ports,
        service_exists=policy.service is not None and service_problem is None,
        problems=(*problems, *([service_problem] if service_problem else []), *missing_workloads),
    )


def _port(field: str, name: str, wanted: int | None, services: Mapping[str, ServiceState]) -> int | Because:
    service = services.get(name)
    if service is None:
        return Because(field, SERVICE_NOT_FOUND, f"{field}: there is no Service {name} in the policy's namespace")
    if service.external:
        message = f"{field}: Service {name} is of type ExternalName, which leads out of the policy's namespace"
        return Because(field, EXTERNAL_SERVICE, message)
    numbers = [port.number for port in service.ports]
    if wanted is None and len(numbers) == 1:
        return numbers[0]
    if wanted in numbers and wanted is not None:
        return wanted
    listed = ", ".join(map(str, numbers)) or "no port"
    problem = f"has no port {wanted}" if wanted is not None else "has not exactly one port, and the policy names none"
    return Because(field, PORT_NOT_FOUND, f"{field}.port: Service {name} {problem}; it has {listed}")


def _in_mesh_problem(policy: ResolvedPolicy, observation: Observation) -> Because | None:
    """Return what is wrong with the in-mesh name; without a port it may have any number of them."""
    if policy.service is None:
        return None
    found = observation.services.get(policy.service.name)
    if found is not None and policy.service.port is None:
        return None
    port = _port("spec.service", policy.service.name, policy.service.port, observation.services)
    return port if isinstance(port, Because) else None


def _missing_workloads(policy: ResolvedPolicy, observation: Observation) -> list[Because]:
    """Return the workloads that are to be scaled and don't exist; one that is not scaled need not exist."""
    return [
        Because(
            f"spec.backends[{index}].scaleTargetRef",
            WORKLOAD_NOT_FOUND,
            f"spec.backends[{index}].scaleTargetRef: there is no {backend.workload.kind} {backend.workload.name} "
            "in the policy's namespace",
        )
        for index, backend in enumerate(policy.backends)
        if backend.autoscaling is not None and backend.workload not in observation.workloads
    ]
