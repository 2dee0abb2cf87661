"""The operator is killed between any two writes of a first apply; the next start ends where one in peace would have."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.operator_process import Audit, OperatorProcess, quiet
from tests.integration.test_operator import children, condition, policy, wait_ready
from tests.stack import models
from tests.stack.cluster import Cluster, Manifest
from tests.stack.faults import Asked, FaultProxy, When, after, writes
from tests.stack.stack import Stack
from tests.stack.waiting import eventually

WRITES = 7
"""Two DestinationRules, two VirtualServices and one status, with an event; one more shows that no write was missed."""


def nth_write(number: int) -> When:
    """Match one write."""
    lock, seen = threading.Lock(), Counter[str]()

    def matches(asked: Asked) -> bool:
        with lock:
            seen["writes"] += writes(asked)
            return writes(asked) and seen["writes"] == number

    return matches


@dataclass(frozen=True)
class FirstApply:
    """A policy with one object of every kind of routing, applied to an operator that runs, and deleted again."""

    stack: Stack
    namespace: str

    @property
    def cluster(self) -> Cluster:
        """The administrator's access."""
        return self.stack.cluster

    def begin(self) -> Audit:
        """Apply the policy; count from here."""
        audit = Audit.begin(self.stack.audit_log)
        self.cluster.apply(policy(self.namespace, service={"name": "llm"}, connectionPool={"maxOpen": 50}))
        return audit

    def end_state(self) -> dict[str, Any]:
        """Return what there is once the policy is in effect, without what differs from one creation to the next."""
        wait_ready(self.cluster, self.namespace)
        status = self.cluster.get("AIGatewayPolicy", "llm", self.namespace)["status"]
        kinds = ("VirtualService", "DestinationRule")
        found = [(kind, item) for kind in kinds for item in self.cluster.items(kind, self.namespace)]
        said = [(c["type"], c["status"], c["reason"], c["observedGeneration"]) for c in status["conditions"]]
        return {
            "objects": {f"{kind}/{item['metadata']['name']}": lasting(item) for kind, item in found},
            "status": {name: status[name] for name in ("weights", "children")} | {"conditions": said},
        }

    def is_in_effect(self) -> bool:
        """Return whether the policy says so now."""
        return condition(self.cluster, self.namespace, "Ready")[0] == "True"

    def undo(self) -> None:
        """Delete the policy and wait until its objects are gone."""
        self.cluster.delete("AIGatewayPolicy", "llm", self.namespace)
        eventually(lambda: children(self.cluster, self.namespace) == set(), "its objects are gone", within=60)


def lasting(item: Manifest) -> tuple[Any, ...]:
    """Return what of an object does not depend on when it was created, and by which policy's uid it is owned."""
    return item["spec"], item["metadata"]["labels"], len(item["metadata"]["ownerReferences"])


def counted(audit: Audit) -> Counter[str]:
    """Return how often each object was written with success, events left out."""
    done = [write for write in audit.writes() if write.resource != "events" and write.code < 300]
    return Counter(f"{write.resource}/{write.name}" for write in done)


def test_killed_after_any_write_it_converges(
    stack: Stack, kubeconfig: Path, faults: FaultProxy, namespace: str, settings: dict[str, str]
) -> None:
    """Killed when the k-th write is in but not yet heard of, for every k: same end, at most one more write each."""
    for name in ("llm-v1", "llm-v2"):
        models.deploy(stack.cluster, namespace, name)
    stack.cluster.apply(models.service(namespace, "llm"))
    log = stack.processes.logs / f"operator-{namespace}.log"
    first = FirstApply(stack, namespace)
    with OperatorProcess(faults.kubeconfig(kubeconfig), log, settings) as operator:
        audit = first.begin()
        expected = first.end_state()
        quiet(audit, seconds=1)
        needed = counted(audit)
        first.undo()
        killed = [k for k in range(1, WRITES + 1) if killed_at(k, operator, faults, first, (expected, needed))]

    assert list(range(1, len(killed) + 1)) == killed
    assert sum(needed.values()) <= len(killed) < WRITES
    assert "Traceback" not in log.read_text()


def killed_at(
    number: int,
    operator: OperatorProcess,
    faults: FaultProxy,
    first: FirstApply,
    reference: tuple[dict[str, Any], Counter[str]],
) -> bool:
    """Kill the operator at a write of a first apply, if there are so many, start it again, and compare the end."""
    expected, needed = reference
    pid = operator.pid
    with faults.inject(after(lambda: os.kill(pid, signal.SIGKILL)), nth_write(number)) as rule:
        audit = first.begin()
        eventually(lambda: rule.hits or first.is_in_effect(), "killed, or done without that many writes")
        quiet(audit, seconds=1)
    if rule.hits:
        assert -signal.SIGKILL == operator.exit_code(within=30)
        operator.start()
    assert expected == first.end_state(), f"after a kill at write {number}"
    quiet(audit, seconds=1)
    written = counted(audit)
    assert set(needed) == set(written)
    assert all(count <= needed[name] + 1 for name, count in written.items()), f"{number}: {written}"
    first.undo()
    return rule.hits > 0
