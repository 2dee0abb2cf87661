"""The API server is gone, silent, or answers nonsense for a while: no exit, and afterwards all is caught up with."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from tests.integration.faults.conftest import ONE_CHANGE, RECOVERY_SECONDS, Split, changes
from tests.integration.operator_process import Audit, OperatorProcess, quiet
from tests.integration.test_operator import one_backend, policy, wait_ready
from tests.stack.cluster import Cluster
from tests.stack.faults import (
    Fault,
    FaultProxy,
    half_an_answer,
    no_connection,
    page,
    refusal,
    silence,
    writes,
)
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually

OUTAGE_SECONDS = 3.0
SILENCE_SECONDS = 20.0
"""Longer than a request may take: tries end by themselves."""


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        pytest.param(refusal(500), OUTAGE_SECONDS, id="500 for every request"),
        pytest.param(refusal(503), OUTAGE_SECONDS, id="503 for every request"),
        pytest.param(refusal(401), OUTAGE_SECONDS, id="credentials refused"),
        pytest.param(no_connection, OUTAGE_SECONDS, id="connections dropped"),
        pytest.param(silence, SILENCE_SECONDS, id="no answer at all"),
        pytest.param(half_an_answer, OUTAGE_SECONDS, id="truncated JSON"),
        pytest.param(page(200), OUTAGE_SECONDS, id="HTML with 200"),
        pytest.param(page(502), OUTAGE_SECONDS, id="HTML with 502"),
    ],
)
def test_an_outage_is_survived_and_caught_up_with(
    stack: Stack, operator: OperatorProcess, faults: FaultProxy, split: Split, fault: Fault, seconds: float
) -> None:
    """No fault ends the operator; what was changed meanwhile is carried out afterwards, and nothing else is written."""
    with faults.inject(fault):
        faults.cut()
        split.change(50)
        time.sleep(seconds)
        assert 80 == split.written()
        assert (200, "ok") == operator.probe("livez")
    audit = Audit.begin(stack.audit_log)

    split.wait(50)
    quiet(audit)

    assert ONE_CHANGE == changes(audit)


def test_a_killed_apiserver_costs_nothing_but_time(
    stack: Stack, cluster: Cluster, namespace: str, operator: OperatorProcess, faults: FaultProxy, split: Split
) -> None:
    """While the apiserver is dead and after it is back traffic flows as before; only what was changed is written."""
    cluster.apply(
        policy(namespace, "same", hosts=["same.example.com"], backends=one_backend()),
        policy(namespace, "gone", hosts=["gone.example.com"], backends=one_backend()),
    )
    wait_ready(cluster, namespace, "same")
    wait_ready(cluster, namespace, "gone")
    quiet(Audit.begin(stack.audit_log))

    with Traffic(stack.gateway.url).steady(f"{namespace}.example.com", rate=20) as answers:
        with faults.inject(no_connection):  # so that the operator comes back after the changes
            stack.processes.kill("kube-apiserver")
            stack.processes.start_again("kube-apiserver")
            eventually(lambda: cluster.kubectl("get", "--raw", "/readyz"), "the apiserver is back", within=90)
            split.change(50)
            cluster.delete("AIGatewayPolicy", "gone", namespace)
            eventually(lambda: cluster.find("VirtualService", "gone-gateway", namespace) is None, within=90)
            audit = Audit.begin(stack.audit_log)
        split.wait(50)
        eventually(operator.ready, "the operator is ready again", within=RECOVERY_SECONDS)
        quiet(audit)

    assert ONE_CHANGE == changes(audit)
    assert {200} == {answer.status for answer in answers}
    assert 0 == operator.metric("aigateway_policies", ready="False")


def test_too_many_requests_are_not_answered_with_more(
    namespace: str, operator: OperatorProcess, faults: FaultProxy, split: Split
) -> None:
    """429 with Retry-After: no object is tried again before that time, and the end state is reached."""
    after, slack = 3, 0.05
    begun = time.monotonic()
    with faults.inject(refusal(429, retry_after=after), writes) as rule:
        split.change(50)
        eventually(lambda: rule.hits >= 4, "refused again and again", within=RECOVERY_SECONDS)
    split.wait(50)

    for resource in ("virtualservices", "aigatewaypolicies"):
        tried = [a.at for a in faults.since(begun) if a.is_write and a.concerns(resource, namespace)]
        assert all(late - early > after - slack for early, late in pairwise(tried[:3]))
    assert operator.ready()
