"""What a policy names and what exists."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from aigateway.api.reasons import EXTERNAL_SERVICE, PORT_NOT_FOUND, SERVICE_NOT_FOUND, WORKLOAD_NOT_FOUND, Reason
from aigateway.api.resolved import ResolvedPolicy
from aigateway.core.decide.references import resolve_references
from aigateway.core.observation import ServicePort, ServiceState
from tests.resolved import autoscaling, backend, in_mesh, observed, policy


def test_everything_exists() -> None:
    """The only port of a Service is taken without being named."""
    one = policy()

    found = resolve_references(one, observed(one))

    assert {"v1": 80, "v2": 80} == found.ports
    assert () == found.problems


SEVERAL = ServiceState((ServicePort(80, "http"), ServicePort(9090, "metrics")))


@pytest.mark.parametrize(
    ("of", "services", "reason", "said"),
    [
        pytest.param(
            policy(backends=(backend("v1"),)), {}, SERVICE_NOT_FOUND, "there is no Service model-v1", id="no-service"
        ),
        pytest.param(
            policy(backends=(backend("v1", port=8080),)),
            {"model-v1": SEVERAL},
            PORT_NOT_FOUND,
            "spec.backends[0].service.port: Service model-v1 has no port 8080; it has 80, 9090",
            id="no-such-port",
        ),
        pytest.param(
            policy(backends=(backend("v1"),)),
            {"model-v1": SEVERAL},
            PORT_NOT_FOUND,
            "has not exactly one port, and the policy names none; it has 80, 9090",
            id="several-ports-and-none-named",
        ),
        pytest.param(
            policy(backends=(backend("v1"),)),
            {"model-v1": ServiceState((ServicePort(80),), external=True)},
            EXTERNAL_SERVICE,
            "Service model-v1 is of type ExternalName",
            id="external-name",
        ),
        pytest.param(
            policy(backends=(backend("v1"),)),
            {"model-v1": ServiceState(())},
            PORT_NOT_FOUND,
            "it has no port",
            id="service-without-ports",
        ),
    ],
)
def test_missing_service_or_port(
    of: ResolvedPolicy, services: dict[str, ServiceState], reason: Reason, said: str
) -> None:
    """The problem names the field, the Service and what there is instead."""
    found = resolve_references(of, observed(of, services=services))

    assert {} == found.ports
    assert reason is found.problems[0].reason
    assert said in found.problems[0].message


def test_named_port_of_several_is_taken() -> None:
    """A Service may have other ports beside the one that the policy names."""
    one = policy(backends=(backend("v1", port=9090),))

    assert {"v1": 9090} == resolve_references(one, observed(one, services={"model-v1": SEVERAL})).ports


@pytest.mark.parametrize(
    ("port", "services", "exists"),
    [
        pytest.param(None, {"chat": SEVERAL}, True, id="any-port"),
        pytest.param(80, {"chat": SEVERAL}, True, id="named-port"),
        pytest.param(81, {"chat": SEVERAL}, False, id="missing-port"),
        pytest.param(None, {}, False, id="missing-service"),
    ],
)
def test_in_mesh_name(port: int | None, services: dict[str, ServiceState], exists: bool) -> None:
    """The in-mesh name can be routed when its Service has the named port, or no port is named."""
    one = policy(service=in_mesh(port))
    world = observed(one)
    world = dataclasses.replace(world, services={"model-v1": SEVERAL, "model-v2": SEVERAL, **services})

    found = resolve_references(one, world)

    assert exists == found.service_exists
    assert exists == all(not problem.subject.startswith("spec.service") for problem in found.problems)


@pytest.mark.parametrize(
    ("scaled", "expected"),
    [
        pytest.param(autoscaling(), [WORKLOAD_NOT_FOUND], id="scaled"),
        pytest.param(None, [], id="not-scaled"),
    ],
)
def test_missing_workload_matters_only_where_it_is_scaled(scaled: Any, expected: list[Reason]) -> None:
    """A backend that is not scaled may run as anything, or elsewhere."""
    one = policy(backends=(backend("v1", autoscaling=scaled),))

    found = resolve_references(one, observed(one, workloads={}))

    assert expected == [problem.reason for problem in found.problems]
