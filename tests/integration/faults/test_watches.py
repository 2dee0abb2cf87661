"""Watches break: cut, expired with changes in the gap, ended by errors inside the stream."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.integration.faults.conftest import ONE_CHANGE, RECOVERY_SECONDS, Split, changes
from tests.integration.operator_process import Audit, OperatorProcess, quiet
from tests.integration.test_operator import children, condition, one_backend, policy, wait_ready
from tests.stack.cluster import Cluster
from tests.stack.faults import Asked, FaultProxy, When, error_event, no_connection, nothing, watches
from tests.stack.stack import Stack
from tests.stack.waiting import eventually


def first_of_each() -> When:
    """Match the first watch of each resource."""
    seen: set[str] = set()
    lock = threading.Lock()

    def is_first(asked: Asked) -> bool:
        with lock:
            if not watches(asked) or asked.path in seen:
                return False
            seen.add(asked.path)
            return True

    return is_first


def kinds(faults: FaultProxy) -> int:
    """Return how many resources the operator watches."""
    return len({asked.path for asked in faults.asked if asked.is_watch})


def lose(faults: FaultProxy, change: Callable[[], None]) -> None:
    """Do something while nobody watches, and let every watch find that its version has expired."""
    with faults.inject(no_connection, watches):
        faults.cut(watches)
        change()
    with faults.inject(error_event(410), first_of_each()) as expired:
        eventually(lambda: expired.hits == kinds(faults), "every watch has expired", within=RECOVERY_SECONDS)


def test_a_policy_deleted_unseen_is_gone(
    stack: Stack, cluster: Cluster, namespace: str, operator: OperatorProcess, faults: FaultProxy, split: Split
) -> None:
    """A policy deleted while no watch could tell leaves nothing behind, and nothing is written for it."""
    cluster.apply(policy(namespace, "gone", hosts=["gone.example.com"], backends=one_backend()))
    wait_ready(cluster, namespace, "gone")
    quiet(Audit.begin(stack.audit_log))
    audit, known = Audit.begin(stack.audit_log), operator.metric("aigateway_policies", ready="True")

    def delete() -> None:
        cluster.delete("AIGatewayPolicy", "gone", namespace)
        eventually(lambda: children(cluster, namespace) == {"VirtualService/llm-gateway"}, within=60)

    lose(faults, delete)
    eventually(lambda: operator.metric("aigateway_policies", ready="True") == known - 1, within=RECOVERY_SECONDS)
    quiet(audit)

    assert [] == changes(audit)
    assert {"VirtualService/llm-gateway"} == children(cluster, namespace)
    assert 80 == split.written()


def test_a_child_deleted_unseen_is_written_again(
    stack: Stack, cluster: Cluster, namespace: str, operator: OperatorProcess, faults: FaultProxy, split: Split
) -> None:
    """A generated object deleted while no watch could tell comes back, by one write."""
    audit = Audit.begin(stack.audit_log)

    lose(faults, lambda: cluster.delete("VirtualService", "llm-gateway", namespace))
    split.wait(80)
    quiet(audit)

    assert ["patch virtualservices"] == changes(audit)
    assert operator.ready()


def test_watches_that_are_cut_lose_nothing(
    stack: Stack, operator: OperatorProcess, faults: FaultProxy, split: Split
) -> None:
    """Cut again and again in the middle of changes, the watches resume; each change is carried out once."""
    for first in (70, 60, 50):
        audit = Audit.begin(stack.audit_log)
        faults.cut(watches)
        split.change(first)
        faults.cut(watches)
        split.wait(first)
        quiet(audit)
        assert ONE_CHANGE == changes(audit)
    assert operator.ready()


@pytest.mark.parametrize("code", [500, 504])
def test_an_error_inside_every_watch_ends_nothing(
    stack: Stack, operator: OperatorProcess, faults: FaultProxy, split: Split, code: int
) -> None:
    """Errors that end kopf are no reason to exit: its watch is started again, and the other watches resume."""
    audit, restarts = Audit.begin(stack.audit_log), operator.metric("aigateway_policy_watch_restarts")
    with faults.inject(error_event(code, "etcdserver: leader changed"), first_of_each()) as rule:
        faults.cut(watches)
        eventually(lambda: rule.hits == kinds(faults), "every watch has failed", within=RECOVERY_SECONDS)
        split.change(50)
    split.wait(50)
    eventually(operator.ready, "the operator is ready again", within=RECOVERY_SECONDS)
    quiet(audit)

    assert ONE_CHANGE == changes(audit)
    assert restarts + 1 == operator.metric("aigateway_policy_watch_restarts")


def test_watches_that_end_at_once_are_not_asked_for_in_a_loop(
    operator: OperatorProcess, faults: FaultProxy, split: Split
) -> None:
    """A server that agrees to every watch and ends it is asked again with pauses, kopf's watch among them."""
    begun, seconds = time.monotonic(), 5.0
    with faults.inject(nothing, watches):
        faults.cut(watches)
        time.sleep(seconds)
        asked = [request for request in faults.since(begun) if request.is_watch]
    split.change(50)
    split.wait(50)

    most = max(Counter(request.path for request in asked).values())
    assert most <= 4 * seconds
    assert operator.ready()


def test_a_service_deleted_unseen_is_missed(
    stack: Stack, cluster: Cluster, namespace: str, faults: FaultProxy, split: Split
) -> None:
    """A Service deleted while no watch could tell gets no traffic any more, by one write."""
    audit = Audit.begin(stack.audit_log)

    lose(faults, lambda: cluster.delete("Service", "llm-v2", namespace))
    eventually(lambda: split.written() == 100, within=RECOVERY_SECONDS)
    eventually(lambda: condition(cluster, namespace, "ResolvedRefs")[:2] == ("False", "ServiceNotFound"))
    quiet(audit)

    assert 1 == changes(audit).count("patch virtualservices")
