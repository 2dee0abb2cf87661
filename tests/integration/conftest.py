"""The real stack as fixtures: started once per test run, one Kubernetes namespace per test, logs shown on failure."""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator, Iterator

import pytest

from tests.stack.binaries import PARTS
from tests.stack.cluster import Cluster
from tests.stack.namespace import is_inside
from tests.stack.stack import Stack

_OUTSIDE = "needs the real stack: python -m tests.stack run -- pytest …"
_STACK = pytest.StashKey[Stack]()


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Give the running stack; AIGATEWAY_STACK_PARTS names fewer parts than all."""
    if not is_inside():
        (pytest.fail if request.config.getoption("--require-stack") else pytest.skip)(_OUTSIDE)
    parts = os.environ.get("AIGATEWAY_STACK_PARTS", ",".join(PARTS)).split(",")
    with Stack(parts) as running:
        request.config.stash[_STACK] = running
        yield running
    del request.config.stash[_STACK]


@pytest.fixture
def cluster(stack: Stack) -> Cluster:
    """Give the administrator's access to the apiserver."""
    return stack.cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """Give the name of a Kubernetes namespace of this test's own; its deletion is started at the end."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    cluster.delete("Namespace", name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of every program's log to the report of a failed test."""
    report = yield
    running = item.config.stash.get(_STACK, None)
    if report.failed and running is not None:
        for name in running.processes.names():
            report.sections.append((f"log of {name}", running.processes.tail(name)))
    return report
