"""The world that ``aigateway render`` assumes where there is no cluster to look at.

Everything that a policy names exists, is ready, and requests CPU; a Service whose port is not named has one port 80.
"""

from __future__ import annotations

from aigateway.api.resolved import ResolvedPolicy
from aigateway.core.observation import EndpointsState, Observation, ServicePort, ServiceState, WorkloadState

_ASSUMED_PORT = 80


def assume(policy: ResolvedPolicy) -> Observation:
    """Return an observation in which nothing stands in the policy's way."""
    ports = {backend.service: backend.port for backend in policy.backends}
    if policy.service is not None:
        ports[policy.service.name] = policy.service.port
    return Observation(
        services={name: ServiceState((ServicePort(port or _ASSUMED_PORT),)) for name, port in ports.items()},
        endpoints={name: EndpointsState(ready=1, since=0.0) for name in ports},
        workloads={backend.workload: WorkloadState(replicas=1, ready=1) for backend in policy.backends},
    )
