"""Two replicas of the operator on a real apiserver: one works, the other goes on whatever becomes of the first.

Both act as one ServiceAccount; the audit log tells them apart by their User-Agent.  Each reaches the apiserver through
a proxy of its own that a test can cut.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.operator_process import LEASE, NAMESPACE, Audit, OperatorProcess, Request, install, traceback_in
from tests.integration.test_operator import GATEWAY, policy, wait_ready, weights
from tests.stack.addresses import APISERVER
from tests.stack.build import ensure
from tests.stack.cluster import Cluster
from tests.stack.models import Model
from tests.stack.proxy import Proxy
from tests.stack.stack import Stack
from tests.stack.waiting import eventually

LEAD_LOST = 3
TAKEN_OVER_SECONDS = 60.0
"""A deadline with ample room; it should take less than 20."""


@dataclass(frozen=True)
class Replica:
    """One operator and the proxy between it and the apiserver."""

    process: OperatorProcess
    proxy: Proxy

    def requests(self, audit: Audit) -> list[Request]:
        """Return its requests, watches and the policy watch's own left out."""
        return [request for request in audit.requests() if f"({self.process.host}_" in request.agent]

    def writes(self, audit: Audit) -> list[Request]:
        """Return its requests that change something."""
        return [request for request in self.requests(audit) if request.verb not in ("get", "list")]


@dataclass
class Replicas:
    """Starts replicas of one operator and stops them all at the end."""

    stack: Stack
    kubeconfig: Path
    namespace: str
    settings: dict[str, str] = field(default_factory=dict)
    ends: ExitStack = field(default_factory=ExitStack)

    def start(self, host: str) -> Replica:
        """Start a replica that believes to be on this host; return once it is ready."""
        proxy = self.ends.enter_context(Proxy(APISERVER))
        config = yaml.safe_load(self.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
        kubeconfig = self.kubeconfig.with_name(f"{self.namespace}-{host}.kubeconfig")
        kubeconfig.write_text(yaml.safe_dump(config))
        settings = {
            "namespaces": self.namespace,
            "default-gateway": GATEWAY,
            "leader-election": "true",
            "lease-namespace": NAMESPACE,
        }
        log = self.stack.processes.logs / f"operator-{self.namespace}-{host}.log"
        process = OperatorProcess(kubeconfig, log, settings | self.settings, host=host)
        return Replica(self.ends.enter_context(process), proxy)

    def start_two(self) -> tuple[Replica, Replica]:
        """Start the leader, then its standby."""
        leader = self.start("first")
        eventually(leader.process.leads, "the first replica leads")
        standby = self.start("second")
        assert (200, "ok (leader)") == leader.process.probe("readyz")
        assert (200, "ok (standby)") == standby.process.probe("readyz")
        return leader, standby


@pytest.fixture(scope="module")
def kubeconfig(stack: Stack) -> Path:
    """Install what the operator stands on and return its own access."""
    if stack.cluster.find("CustomResourceDefinition", "virtualservices.networking.istio.io") is None:
        stack.cluster.apply_file(ensure(["istio"], lambda _: None).asset("istio", "crd-all.gen.yaml"))
    return install(stack.cluster)


@pytest.fixture
def replicas(
    stack: Stack, cluster: Cluster, kubeconfig: Path, namespace: str, model: Callable[..., Model]
) -> Iterator[Replicas]:
    """Give replicas of an operator in a namespace with one policy; nobody holds the Lease."""
    cluster.delete("Lease", LEASE, NAMESPACE)
    model("llm-v1")
    model("llm-v2")
    cluster.apply(policy(namespace))
    replicas = Replicas(stack, kubeconfig, namespace)
    with replicas.ends:
        yield replicas
    for log in stack.processes.logs.glob(f"operator-{namespace}-*.log"):
        assert "" == traceback_in(log)


@pytest.fixture
def shift(cluster: Cluster, namespace: str) -> Callable[[int], None]:
    """Change the policy's first weight; the second gets the rest."""

    def change(first: int) -> None:
        backends: list[dict[str, Any]] = policy(namespace)["spec"]["backends"]
        halves = zip(backends, (first, 100 - first), strict=True)
        cluster.apply(policy(namespace, backends=[{**backend, "weight": weight} for backend, weight in halves]))

    return change


@pytest.fixture
def shifted(cluster: Cluster, namespace: str) -> Callable[[int], None]:
    """Wait until a first weight is in effect."""

    def wait(first: int) -> None:
        expected = {"llm-v1": first, "llm-v2": 100 - first}
        eventually(lambda: weights(cluster, namespace) == expected, f"{expected}", within=TAKEN_OVER_SECONDS)
        wait_ready(cluster, namespace)

    return wait


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str, float], None]:
    """Print how long something took, past pytest's capture."""

    def say(what: str, since: float) -> None:
        with capsys.disabled():
            print(f"\n{what}: {time.monotonic() - since:.1f} s")

    return say


Shift = Callable[[int], None]
Tell = Callable[[str, float], None]


def versions(cluster: Cluster, namespace: str) -> list[str]:
    """Return the resource versions of the policy and of what it became."""
    spots = (("AIGatewayPolicy", "llm"), ("VirtualService", "llm-gateway"))
    return [cluster.get(kind, name, namespace)["metadata"]["resourceVersion"] for kind, name in spots]


def holder(cluster: Cluster) -> str:
    """Return the host of the replica that holds the Lease."""
    identity: str = cluster.get("Lease", LEASE, NAMESPACE)["spec"]["holderIdentity"]
    return identity.partition("_")[0]


def test_two_idle_replicas_write_only_the_lease(stack: Stack, cluster: Cluster, replicas: Replicas) -> None:
    """At rest the leader renews the Lease and the standby reads it; nothing else is asked of the apiserver."""
    leader, standby = replicas.start_two()
    wait_ready(cluster, replicas.namespace)
    time.sleep(3)  # the debounced rest of the start
    audit = Audit.begin(stack.audit_log)
    eventually(lambda: len(leader.writes(audit)) >= 3 and len(standby.requests(audit)) >= 3)

    assert {("update", "leases", 200)} == {(r.verb, r.resource, r.code) for r in leader.requests(audit)}
    assert {("get", "leases", 200)} == {(r.verb, r.resource, r.code) for r in standby.requests(audit)}


def test_a_killed_leader_is_replaced(
    replicas: Replicas, cluster: Cluster, shift: Shift, shifted: Shift, tell: Tell
) -> None:
    """After kill -9 the other replica goes on with what came meanwhile."""
    leader, standby = replicas.start_two()
    shifted(80)

    leader.process.stop(signal.SIGKILL)
    killed = time.monotonic()
    shift(50)
    shifted(50)

    tell("from kill -9 to the other's write", killed)
    assert standby.process.leads()
    assert ("second", 1) == (holder(cluster), standby.process.metric("aigateway_lease_transitions"))


@pytest.mark.parametrize("busy", [pytest.param(False, id="at rest"), pytest.param(True, id="in the middle of work")])
def test_a_frozen_leader_does_no_harm_when_it_wakes(
    replicas: Replicas, stack: Stack, cluster: Cluster, shift: Shift, shifted: Shift, tell: Tell, busy: bool
) -> None:
    """A leader that was stopped long enough to be replaced writes at most what was in flight, and ends."""
    leader, standby = replicas.start_two()
    shifted(80)

    if busy:
        shift(60)
    leader.process.send_signal(signal.SIGSTOP)
    frozen = time.monotonic()
    shift(50)
    shifted(50)
    tell("from SIGSTOP to the other's write", frozen)
    assert standby.process.leads()
    quiet_but_for_the_lease(Audit.begin(stack.audit_log))
    before, audit = versions(cluster, replicas.namespace), Audit.begin(stack.audit_log)
    leader.process.send_signal(signal.SIGCONT)

    assert LEAD_LOST == leader.process.exit_code(within=30)
    assert len(leader.writes(audit)) <= 1
    assert before == versions(cluster, replicas.namespace)
    assert standby.process.leads()


def test_a_leader_that_is_cut_off_ends(
    replicas: Replicas, cluster: Cluster, shift: Shift, shifted: Shift, tell: Tell
) -> None:
    """A leader that no longer reaches the apiserver ends before another replica takes over."""
    leader, standby = replicas.start_two()
    shifted(80)

    leader.proxy.cut()
    cut = time.monotonic()
    shift(50)
    assert LEAD_LOST == leader.process.exit_code(within=30)
    assert not standby.process.leads()
    tell("from the cut to the leader's end", cut)
    shifted(50)

    tell("from the cut to the other's write", cut)
    assert (True, "second") == (standby.process.leads(), holder(cluster))


def test_what_the_network_held_back_changes_nothing(
    replicas: Replicas, stack: Stack, cluster: Cluster, shift: Shift, shifted: Shift
) -> None:
    """Writes of a leader that arrive only after another has taken over are refused."""
    leader, standby = replicas.start_two()
    shifted(80)
    leader.proxy.hold_requests()
    shift(50)  # the leader still hears of it, and writes
    assert LEAD_LOST == leader.process.exit_code(within=30)
    shifted(50)
    shift(30)
    shifted(30)
    quiet_but_for_the_lease(Audit.begin(stack.audit_log))

    before, audit = versions(cluster, replicas.namespace), Audit.begin(stack.audit_log)
    leader.proxy.heal()
    eventually(lambda: leader.writes(audit), "what was held back arrives")
    quiet_but_for_the_lease(audit)

    late = leader.writes(audit)
    assert [] == [request for request in late if request.code < 400]
    assert len([request for request in late if request.resource != "leases"]) <= 1
    assert [] == [request for request in standby.writes(audit) if request.resource != "leases"]
    assert before == versions(cluster, replicas.namespace)


def test_a_leader_that_stops_hands_over(replicas: Replicas, cluster: Cluster, tell: Tell) -> None:
    """SIGTERM releases the Lease: the standby leads long before it would have expired."""
    replicas.settings = {"lease-duration": "600", "lease-renew-deadline": "400"}
    leader, standby = replicas.start_two()
    wait_ready(cluster, replicas.namespace)
    stopped = time.monotonic()

    assert 0 == leader.process.stop()
    eventually(standby.process.leads)

    tell("from SIGTERM to the other's lead", stopped)
    assert "second" == holder(cluster)


def test_a_deleted_lease_is_written_again_by_its_holder(replicas: Replicas, cluster: Cluster) -> None:
    """Deleting the Lease by hand makes no second leader."""
    leader, standby = replicas.start_two()

    cluster.delete("Lease", LEASE, NAMESPACE)
    eventually(lambda: holder(cluster) == "first")

    assert (True, False) == (leader.process.leads(), standby.process.leads())


def quiet_but_for_the_lease(audit: Audit, seconds: float = 2.0) -> None:
    """Wait until nothing but the Lease was asked for during a while."""

    def count() -> int:
        return len([request for request in audit.requests() if request.resource != "leases"])

    def still() -> bool:
        before = count()
        time.sleep(seconds)
        return before == count()

    eventually(still, "the replicas are at rest", within=30)
