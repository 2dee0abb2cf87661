"""The real stack as fixtures: started once per test run, one Kubernetes namespace per test, logs shown on failure."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Generator, Iterator
from typing import Any, cast

import pytest

from tests.stack import external, models
from tests.stack.backend import Backend
from tests.stack.binaries import PARTS
from tests.stack.cluster import Cluster
from tests.stack.errors import OnlyOnTheStackError
from tests.stack.models import Model
from tests.stack.namespace import is_inside
from tests.stack.services import namespace_manifest
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually

_OUTSIDE = "needs the real stack: python -m tests.stack run -- pytest …"
_STACK = pytest.StashKey[Stack]()


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Give the running stack; AIGATEWAY_STACK_PARTS names fewer parts than all."""
    if not is_inside() and not external.is_chosen():
        (pytest.fail if request.config.getoption("--require-stack") else pytest.skip)(_OUTSIDE)
    parts = os.environ.get("AIGATEWAY_STACK_PARTS", ",".join(PARTS)).split(",")
    with external.chosen(parts) as running:
        # A cluster of the user's own has the attributes it can have; the others raise, saying so.
        stack = cast("Stack", running)
        if isinstance(running, Stack):
            request.config.stash[_STACK] = running
        yield stack


@pytest.fixture
def cluster(stack: Stack) -> Cluster:
    """Give the administrator's access to the apiserver."""
    return stack.cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """Give the name of a Kubernetes namespace of this test's own; its deletion is started at the end."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.apply(namespace_manifest(name))
    yield name
    cluster.delete("Namespace", name)


@pytest.fixture
def host(namespace: str) -> str:
    """Give a host name of this test's own: routes of another test that are just being deleted cannot answer for it."""
    return f"{namespace}.example.com"


@pytest.fixture
def model(stack: Stack, namespace: str) -> Callable[..., Model]:
    """Deploy model versions into this test's namespace: ``model("v1", replicas=2)``, as ``tests.stack.models`` does.

    Where the gateway runs, it knows the pods on return.
    """

    def deploy(name: str, **options: Any) -> Model:
        deployed = models.deploy(stack.cluster, namespace, name, **options)
        if "routing" in stack.started:
            eventually(lambda: deployed.addresses() == stack.gateway.endpoints(deployed.host))
        return deployed

    return deploy


@pytest.fixture
def backend(stack: Stack) -> Backend:
    """Give the model backend with nothing seen and every pod answering 200 at once."""
    stack.backend.reset()
    return stack.backend


@pytest.fixture
def gateway(stack: Stack) -> Traffic:
    """Send requests through the ingress gateway, to a backend that is as new."""
    if "routing" in stack.started:
        stack.backend.reset()
    return Traffic(stack.gateway.url)


@pytest.fixture
def mesh(stack: Stack, namespace: str) -> Iterator[Traffic]:
    """Send requests for in-mesh hosts through a sidecar in this test's namespace, to a backend that is as new."""
    stack.backend.reset()
    with stack.sidecar(namespace) as proxy:
        yield Traffic(proxy.url)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of every program's log to a failed test's report; skip what a cluster of the user's own cannot do."""
    report = yield
    if call.excinfo and isinstance(call.excinfo.value, OnlyOnTheStackError):
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, f"Skipped: {call.excinfo.value}")
    running = item.config.stash.get(_STACK, None)
    if report.failed and running is not None:
        for name in running.processes.names():
            report.sections.append((f"log of {name}", running.processes.tail(name)))
    return report
