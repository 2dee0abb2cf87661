"""Which backends get a DestinationRule of ours.

Istio applies one DestinationRule per host and proxy.  Where one of somebody else covers a backend's Service already,
ours would shadow it or be shadowed by it, so none is written and the policy says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from aigateway.api.reasons import DESTINATION_RULE_CONFLICT
from aigateway.api.resolved import Backend, ResolvedPolicy
from aigateway.core.decision import Because
from aigateway.core.observation import Observation


@dataclass(frozen=True, slots=True)
class Connections:
    """``backends`` get a rule; ``problems`` say which don't, and whose rule is in the way."""

    backends: tuple[Backend, ...]
    problems: tuple[Because, ...]


def decide_connections(policy: ResolvedPolicy, observation: Observation) -> Connections:
    """Return the backends whose connections are configured by the policy."""
    if not policy.configures_connections:
        return Connections((), ())
    taken = observation.foreign_rules
    return Connections(
        backends=tuple(backend for backend in policy.backends if backend.service not in taken),
        problems=tuple(
            Because(
                f"backends[{backend.name}].connections",
                DESTINATION_RULE_CONFLICT,
                f"DestinationRule {taken[backend.service]} covers Service {backend.service} of backend {backend.name}",
            )
            for backend in policy.backends
            if backend.service in taken
        ),
    )
