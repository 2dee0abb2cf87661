"""The world: what a policy's decision may look at, and which policies must look again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from aigateway.api.administrator import Administrator
from aigateway.api.problems import Rejection
from aigateway.api.resolved import PolicyKey, WorkloadKind, WorkloadRef
from aigateway.cluster.world import Presence, World
from aigateway.core.observation import (
    ChildKind,
    ChildRef,
    EndpointsState,
    Observation,
    ServicePort,
    ServiceState,
    WorkloadState,
)

LLM = PolicyKey("models", "llm")
ADMINISTRATOR = Administrator(default_gateway="istio-system/ai-gateway")


class Case:
    """A world fed by hand; ``woken`` are the keys told since the last look, ``namespaces`` what to watch."""

    def __init__(self, administrator: Administrator = ADMINISTRATOR, watched: tuple[str, ...] = ()) -> None:
        self.version = 0
        self._woken: set[PolicyKey] = set()
        self.namespaces: list[tuple[str, bool]] = []
        self.renewed: list[str] = []
        self.world = World(
            administrator,
            lambda: 1000.0,
            self._woken.add,
            lambda namespace, held: self.namespaces.append((namespace, held)),
            lambda key: self.renewed.append(str(key)),
            watched,
        )

    def raw(self, name: str, namespace: str = "models", **body: Any) -> dict[str, Any]:
        """Return an object in a new version."""
        self.version += 1
        metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": str(self.version)}
        return {"metadata": metadata | body.pop("metadata", {}), **body}

    def policy(
        self, name: str = "llm", namespace: str = "models", service: str = "llm-v1", generation: int = 1, **spec: Any
    ) -> None:
        """Create or change a policy with one backend."""
        whole = {"hosts": ["a.example.com"], "backends": [{"name": "v1", "service": {"name": service}}]} | spec
        metadata = {"generation": generation, "creationTimestamp": "2026-01-01T00:00:00Z"}
        raw = self.raw(name, namespace, apiVersion="aigateway.dev/v1alpha1", kind="AIGatewayPolicy", spec=whole)
        raw["metadata"] |= metadata
        self.world.policies.put(raw)

    def child(self, name: str, policy: str = "llm", owner: str = "uid-llm", **metadata: Any) -> None:
        """Create or change a VirtualService that says it belongs to a policy."""
        whole = {
            "labels": {"aigateway.dev/policy": policy},
            "ownerReferences": [{"uid": "other"}, {"uid": owner, "controller": True, "kind": "AIGatewayPolicy"}],
        } | metadata
        self.world.children[ChildKind.VIRTUAL_SERVICE].put(self.raw(name, metadata=whole))

    def away(self, policy: str = "llm", namespace: str = "models", owner: str = "uid-llm") -> dict[str, Any]:
        """Create or change the EnvoyFilter of a policy in another namespace; return it."""
        labels = {"policy": policy, "policy-namespace": namespace, "policy-uid": owner, "part": "policy"}
        metadata = {"labels": {f"aigateway.dev/{key}": value for key, value in labels.items()}}
        raw = self.raw(f"{namespace}.{policy}", "edge", metadata=metadata)
        self.world.children[ChildKind.ENVOY_FILTER].put(raw)
        return raw

    def orphans(self, key: PolicyKey = LLM) -> list[str]:
        """Return what an earlier policy of a name has left."""
        return [str(ref) for ref in self.world.orphans(key)]

    def woken(self) -> set[str]:
        """Return and forget who was woken."""
        names = {str(key) for key in self._woken}
        self._woken.clear()
        return names

    def observe(self, key: PolicyKey = LLM) -> Observation:
        """Observe for a policy."""
        return self.world.observe(key, self.world.index.resolved(key), {})


@pytest.fixture
def case() -> Case:
    """Return a world with two policies on different Services, nobody woken yet."""
    made = Case()
    made.policy()
    made.policy("other", service="other-v1", hosts=["b.example.com"])
    made.woken()
    made.renewed.clear()
    return made


def test_only_those_who_refer_to_it_look_again(case: Case) -> None:
    """A changed Service, slice, workload or child wakes its own policies and no other."""
    case.world.services.put(case.raw("llm-v1", spec={"ports": [{"port": 80}]}))
    assert {"models/llm"} == case.woken()

    labels = {"labels": {"kubernetes.io/service-name": "other-v1"}}
    case.world.slices.put(case.raw("slice", metadata=labels, endpoints=[{"addresses": ["10.0.0.1"]}]))
    assert {"models/other"} == case.woken()

    case.world.workloads[WorkloadKind.DEPLOYMENT].put(case.raw("llm-v1", spec={"replicas": 2}))
    assert {"models/llm"} == case.woken()

    case.world.workloads[WorkloadKind.STATEFUL_SET].put(case.raw("llm-v1", spec={"replicas": 2}))
    case.world.services.put(case.raw("nobody-refers-to-it", spec={"ports": [{"port": 80}]}))
    case.child("elsewhere", policy="unknown")
    assert set() == case.woken()

    case.child("llm-gateway")
    assert {"models/llm"} == case.woken()


def test_a_child_that_changes_hands_wakes_both(case: Case) -> None:
    """A generated object whose policy label is changed wakes the policy that lost it and the one that it names now."""
    case.child("llm-gateway")
    case.woken()
    case.child("llm-gateway", policy="other")

    assert {"models/llm", "models/other"} == case.woken()


def test_children_are_seen_as_they_are_now(case: Case) -> None:
    """A child is observed in its newest version, only by the policy that its label names, and until it is gone."""
    case.child("llm-gateway")
    case.child("llm-gateway")
    [seen] = case.observe().children.values()
    assert str(case.version) == seen.resource_version

    case.child("llm-gateway", policy="other")
    assert {} == case.observe().children
    assert 1 == len(case.observe(PolicyKey("models", "other")).children)

    case.world.children[ChildKind.VIRTUAL_SERVICE].remove(
        case.raw("llm-gateway", metadata={"labels": {"aigateway.dev/policy": "other"}})
    )
    assert {} == case.observe(PolicyKey("models", "other")).children


def test_children_of_a_kind_that_was_removed_are_gone(case: Case) -> None:
    """No child is observed after its kind has left the cluster, and those of its return are."""
    case.world.set_presence(ChildKind.VIRTUAL_SERVICE, Presence.SYNCED)
    case.child("llm-gateway")
    case.world.set_presence(ChildKind.VIRTUAL_SERVICE, Presence.ABSENT)
    assert {} == case.observe().children

    case.child("llm-gateway")
    assert [ChildRef(ChildKind.VIRTUAL_SERVICE, "llm-gateway")] == list(case.observe().children)


def test_what_a_policy_refers_to_follows_its_spec(case: Case) -> None:
    """After a change of the backends, the old Service no longer wakes the policy and the new one does."""
    case.policy(service="new-v1")
    case.woken()

    case.world.services.put(case.raw("llm-v1", spec={"ports": [{"port": 80}]}))
    assert set() == case.woken()
    case.world.services.put(case.raw("new-v1", spec={"ports": [{"port": 80}]}))
    assert {"models/llm"} == case.woken()


def test_observation(case: Case) -> None:
    """An observation holds what the policy refers to and its own children, and nothing of others."""
    case.world.services.put(case.raw("llm-v1", spec={"ports": [{"port": 80}]}))
    case.world.services.put(case.raw("other-v1", spec={"ports": [{"port": 81}]}))
    case.world.workloads[WorkloadKind.DEPLOYMENT].put(case.raw("llm-v1", spec={"replicas": 2}))
    case.child("llm-gateway")
    case.child("dying", deletionTimestamp="2026-01-01T00:00:00Z")
    case.child("others", policy="other")
    case.world.set_presence(ChildKind.VIRTUAL_SERVICE, Presence.SYNCED)
    case.world.set_presence(ChildKind.SCALED_OBJECT, Presence.ABSENT)

    seen = case.observe()

    assert {"llm-v1": ServiceState((ServicePort(80),))} == seen.services
    assert {"llm-v1": EndpointsState(0, 1000.0)} == seen.endpoints
    assert {WorkloadRef(WorkloadKind.DEPLOYMENT, "llm-v1"): WorkloadState(2, 0)} == seen.workloads
    assert [ChildRef(ChildKind.VIRTUAL_SERVICE, "llm-gateway")] == list(seen.children)
    assert "uid-llm" == next(iter(seen.children.values())).owner
    assert frozenset({ChildKind.VIRTUAL_SERVICE}) == seen.installed


def test_a_rejected_policy_sees_its_children_only(case: Case) -> None:
    """A policy that makes no sense refers to nothing, but still has its children."""
    case.child("llm-gateway")
    case.policy(backends=[])

    assert isinstance(case.world.index.resolved(LLM), Rejection)
    seen = case.observe()
    assert ({}, 1) == (seen.services, len(seen.children))


def test_namespaces_are_watched_while_they_hold_a_policy(case: Case) -> None:
    """The first policy of a namespace starts its watches, the last one ends them."""
    assert [("models", True)] == case.namespaces
    for name in ("llm", "other"):
        case.world.policies.remove(case.raw(name))

    assert [("models", True), ("models", False)] == case.namespaces


def test_nothing_is_decided_on_half_a_world(case: Case) -> None:
    """A namespace is complete once policies, its referents and the presence of every kind are known."""
    world = case.world
    steps: tuple[Callable[[], None], ...] = (
        world.policies_are_synced,
        lambda: world.namespace_is_synced("models"),
        *(
            partial(world.set_presence, kind, Presence.ABSENT)
            for kind in ChildKind
            if kind is not ChildKind.ENVOY_FILTER
        ),
    )
    for step in steps:
        assert not world.complete("models")
        step()

    assert world.complete("models")
    assert not world.complete("elsewhere")
    world.namespace_is_left("models")
    assert not world.complete("models")


def test_every_policy_looks_again_when_a_kind_comes_or_goes(case: Case) -> None:
    """An installed or removed kind wakes everybody; hearing the same again wakes nobody."""
    case.world.set_presence(ChildKind.SCALED_OBJECT, Presence.ABSENT)
    assert {"models/llm", "models/other"} == case.woken()
    case.world.set_presence(ChildKind.SCALED_OBJECT, Presence.ABSENT)
    assert set() == case.woken()
    case.world.set_presence(ChildKind.SCALED_OBJECT, Presence.SYNCED)
    assert {"models/llm", "models/other"} == case.woken()


def test_a_policy_on_its_way_out_is_as_good_as_gone(case: Case) -> None:
    """A policy with a deletion timestamp is not worked on."""
    assert case.world.policy(LLM) is not None
    case.world.policies.put(case.raw("llm", spec={}, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}))

    assert case.world.policy(LLM) is None
    assert case.world.policy(PolicyKey("models", "never-was")) is None


def test_a_policy_s_own_change_may_cure_it_and_noise_may_not(case: Case) -> None:
    """A new generation is tried at once; what changes around a policy, and its annotations, wait for the backoff."""
    case.world.services.put(case.raw("llm-v1", spec={"ports": [{"port": 80}]}))
    case.policy(connectionPool={"maxOpen": 5})
    case.child("llm-gateway")
    assert [] == case.renewed

    case.policy(generation=2)

    assert ["models/llm"] == case.renewed


@pytest.mark.parametrize(
    "becomes_ours", [pytest.param(False, id="gone"), pytest.param(True, id="handed over to the policy")]
)
def test_an_object_in_the_way_that_makes_way(case: Case, becomes_ours: bool) -> None:
    """The policy that could not write because of it is woken, and tries at once; changes of it are no news."""
    store = case.world.children[ChildKind.VIRTUAL_SERVICE]
    theirs = case.raw("llm-gateway", spec={"hosts": ["z.example.com"]})
    store.put(theirs)
    case.world.is_in_the_way(LLM, ChildRef(ChildKind.VIRTUAL_SERVICE, "llm-gateway"))
    store.put(case.raw("llm-gateway", spec={"hosts": ["y.example.com"]}))
    assert ([], set()) == (case.renewed, case.woken())

    if becomes_ours:
        case.child("llm-gateway")
    else:
        store.remove(theirs)

    assert (["models/llm"], {"models/llm"}) == (case.renewed, case.woken())


def test_the_number_of_proxies_concerns_who_has_limits() -> None:
    """It is in every observation, and a change of it wakes the policies alone whose limits add up over the proxies."""
    case = Case(Administrator("istio-system/ai-gateway", gateway_service="edge/gateway"))
    case.policy(rateLimits=[{"name": "all", "requests": 20}])
    case.policy("other", hosts=["b.example.com"])
    case.policy("rejected", backends=[], rateLimits=[{"name": "all", "requests": 20}])
    case.woken()
    proxies = case.world.gateway_proxies
    assert case.observe().gateway_proxies is None

    proxies.replace([case.raw("a", "edge", endpoints=[{"addresses": ["10.0.0.1"]}])], 50, proxies.mark())

    assert {"models/llm"} == case.woken()
    assert 1 == case.observe().gateway_proxies
    proxies.put(case.raw("a", "edge", endpoints=[{"addresses": ["10.0.0.2"]}], metadata={"resourceVersion": "60"}))
    assert set() == case.woken()
