"""One operator that looks at Prometheus often and over a short window, and a short way to apply a policy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.data_plane.conftest import Apply, applying
from tests.integration.operator_process import OperatorProcess, install
from tests.stack.cluster import Cluster
from tests.stack.stack import Stack

INTERVAL = 2
"""Seconds between looks."""
WINDOW = 10
"""Seconds over which rates are taken."""


@pytest.fixture(scope="package")
def operator(stack: Stack) -> Iterator[OperatorProcess]:
    """Run the operator as an administrator would set it up for this stack."""
    settings = {
        "default-gateway": "istio-system/ai-gateway",
        "prometheus-address": stack.prometheus.url,
        "sampling-interval": str(INTERVAL),
        "scaling-window": str(WINDOW),
    }
    log = stack.folder / "logs" / "operator-signals.log"
    with OperatorProcess(install(stack.cluster), log, settings) as running:
        yield running


@pytest.fixture
def apply(operator: OperatorProcess, cluster: Cluster, namespace: str) -> Apply:  # noqa: ARG001 (it has to run)
    """Apply the policy ``chat`` with a spec and wait until it is in effect."""
    return applying(cluster, namespace)
