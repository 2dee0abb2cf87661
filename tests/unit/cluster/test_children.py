"""Children by policy, wherever they are, and the gateway filters that EnvoyFilters build on; in the world, too."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway.api.administrator import Administrator
from aigateway.api.resolved import PolicyKey
from aigateway.cluster import parse
from aigateway.cluster.children import ChildIndex, GatewayFilters
from aigateway.cluster.store import Entry, Store
from aigateway.cluster.world import Presence
from aigateway.core.gateway.gateway_filter import gateway_filter
from aigateway.core.observation import ChildKind, ChildRef, Feature, Json
from tests.unit.cluster.test_world import LLM, Case

EDGE = Administrator(default_gateway="istio-system/ai-gateway", envoy_filter_namespaces=("edge",))
REF = ChildRef(ChildKind.ENVOY_FILTER, "models.llm", "edge")


def entry(name: str, namespace: str, **labels: str) -> Entry[Json]:
    """Return an object with labels, their names without the domain."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": {f"aigateway.dev/{key.replace('_', '-')}": value for key, value in labels.items()},
    }
    return Entry(namespace, name, "u", 1, {"metadata": metadata})


def test_objects_are_found_by_the_policy_that_they_name() -> None:
    """One in another namespace too; what names no policy is nobody's."""
    index = ChildIndex()
    away = entry("models.llm", "edge", policy="llm", policy_namespace="models")
    for new in (away, entry("llm-mesh", "models", policy="llm"), entry("theirs", "models")):
        index.changed(ChildKind.ENVOY_FILTER, None, new)

    assert {REF, ChildRef(ChildKind.ENVOY_FILTER, "llm-mesh")} == index.refs(LLM)
    assert [LLM] == index.elsewhere()

    index.changed(ChildKind.ENVOY_FILTER, away, None)
    assert {ChildRef(ChildKind.ENVOY_FILTER, "llm-mesh")} == index.refs(LLM)
    assert [] == index.elsewhere()


def test_an_object_that_changes_hands_is_found_by_its_new_policy() -> None:
    """Nothing of it stays behind where labels are edited."""
    index = ChildIndex()
    old = entry("models.llm", "edge", policy="llm", policy_namespace="models")
    new = entry("models.llm", "edge", policy="llm", policy_namespace="others")
    index.changed(ChildKind.ENVOY_FILTER, None, old)
    index.changed(ChildKind.ENVOY_FILTER, old, new)

    assert frozenset() == index.refs(LLM)
    assert {REF} == index.refs(PolicyKey("others", "llm"))


def stored(namespace: str, **metadata: Any) -> Json:
    """Return the gateway filter as the API server has it."""
    body = gateway_filter(namespace)
    return {**body, "metadata": body["metadata"] | {"uid": "u", "resourceVersion": "1"} | metadata}


@pytest.mark.parametrize(
    ("objects", "missing"),
    [
        pytest.param([], ["edge", "istio-system"], id="none"),
        pytest.param([stored("edge")], ["istio-system"], id="one"),
        pytest.param([stored("edge"), stored("istio-system")], [], id="all"),
        pytest.param([stored("edge"), stored("istio-system", annotations={})], ["istio-system"], id="another-version"),
        pytest.param([stored("edge"), stored("istio-system", name="copy")], ["istio-system"], id="another-name"),
    ],
)
def test_what_is_lacking(objects: list[Json], missing: list[str]) -> None:
    """Each allowed namespace needs the gateway filter of this version."""
    store: Store[Json] = Store(parse.envoy_filter, lambda *_: None)
    filters = GatewayFilters(store, ("edge", "istio-system"))
    for raw in objects:
        store.put(raw)

    assert missing == filters.missing()
    assert (frozenset({Feature.GATEWAY_FILTER}) if missing else frozenset()) == filters.lacking()


def test_nothing_is_lacking_where_nothing_is_allowed() -> None:
    """Without leave nobody misses a gateway filter."""
    assert frozenset() == GatewayFilters(Store(parse.envoy_filter, lambda *_: None), ()).lacking()


@pytest.fixture
def edge() -> Case:
    """Return a world with one policy where EnvoyFilters are allowed, nobody woken yet."""
    made = Case(EDGE)
    made.policy()
    made.world.policies_are_synced()
    made.woken()
    return made


def test_a_child_in_another_namespace_is_its_policys(edge: Case) -> None:
    """It is observed as one, its changes wake the policy, and its loss does."""
    raw = edge.away()

    ref = ChildRef(ChildKind.ENVOY_FILTER, "models.llm", "edge")
    assert {ref: "uid-llm"} == {ref: child.owner for ref, child in edge.observe().children.items()}
    assert {"models/llm"} == edge.woken()
    assert [] == edge.orphans()

    edge.world.children[ChildKind.ENVOY_FILTER].remove(raw)
    assert {"models/llm"} == edge.woken()
    assert {} == edge.observe().children


def test_what_a_policy_leaves_in_another_namespace_is_seen(edge: Case) -> None:
    """Its deletion wakes its key, under which what is left is found."""
    edge.away()
    edge.woken()

    edge.world.policies.remove(edge.raw("llm"))

    assert {"models/llm"} == edge.woken()
    assert ["EnvoyFilter edge/models.llm"] == edge.orphans()


def test_what_is_left_of_a_policy_that_went_meanwhile_is_seen_once_policies_are_known() -> None:
    """After a start, whichever of the two lists comes first; before, nobody can know that the policy is gone."""
    filters_first, policies_first = Case(EDGE), Case(EDGE)
    filters_first.away()
    assert (set(), []) == (filters_first.woken(), filters_first.orphans())
    filters_first.world.policies_are_synced()

    policies_first.world.policies_are_synced()
    policies_first.away()

    for case in (filters_first, policies_first):
        assert ({"models/llm"}, ["EnvoyFilter edge/models.llm"]) == (case.woken(), case.orphans())
    policies_first.world.wake_all()
    assert {"models/llm"} == policies_first.woken(), "whoever takes the lead looks too"


def test_a_policy_of_the_same_name_is_not_the_same_policy(edge: Case) -> None:
    """What the earlier one has left is none of its children."""
    edge.away(owner="uid-of-an-earlier-one")

    assert ["EnvoyFilter edge/models.llm"] == edge.orphans()


def test_a_policy_on_its_way_out_has_left_nothing_yet(edge: Case) -> None:
    """While a finalizer holds it, its routes are there, and what belongs to them stays."""
    edge.away()
    edge.world.policies.put(edge.raw("llm", spec={}, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}))

    assert [] == edge.orphans()


def test_policies_of_namespaces_that_are_not_looked_at_are_somebody_elses() -> None:
    """Two operators may share a namespace of gateways, each with its own namespaces of policies."""
    case = Case(EDGE, watched=("models",))
    case.world.policies_are_synced()
    case.away(namespace="theirs")
    case.away(namespace="models")

    assert {"models/llm"} == case.woken()
    assert [] == case.orphans(PolicyKey("theirs", "llm"))
    assert ["EnvoyFilter edge/models.llm"] == case.orphans()


def test_every_policy_looks_again_when_the_gateway_filter_comes_or_goes(edge: Case) -> None:
    """While it is not there, or too old, that is observed; a newer one offers what an older did."""
    store = edge.world.children[ChildKind.ENVOY_FILTER]
    body = gateway_filter("edge")
    assert {Feature.GATEWAY_FILTER} == edge.observe().lacking
    assert ["edge"] == edge.world.without_gateway_filter()

    def filter_(**changes: Any) -> dict[str, Any]:
        return edge.raw(body["metadata"]["name"], "edge", metadata=body["metadata"] | changes, spec=edge.version)

    there = filter_()
    store.put(there)
    assert (frozenset(), {"models/llm"}) == (edge.observe().lacking, edge.woken())
    store.put(filter_(annotations={"aigateway.dev/gateway-filter-contract": "99"}))
    assert frozenset() == edge.observe().lacking
    edge.woken()
    store.put(filter_(annotations={"aigateway.dev/gateway-filter-contract": "0"}))
    assert (frozenset({Feature.GATEWAY_FILTER}), {"models/llm"}) == (edge.observe().lacking, edge.woken())
    store.remove(filter_())
    assert {"models/llm"} == edge.woken()


def test_envoy_filters_that_are_not_allowed_are_not_waited_for() -> None:
    """The kind counts as absent, and nothing as lacking that nobody asked for."""
    case = Case()
    case.policy()
    assert Presence.ABSENT is case.world.presence[ChildKind.ENVOY_FILTER]
    assert frozenset() == case.observe().lacking


def test_an_object_in_the_way_in_another_namespace(edge: Case) -> None:
    """The policy tries again at once when it is gone."""
    raw = edge.away(policy="unknown")
    edge.world.is_in_the_way(LLM, ChildRef(ChildKind.ENVOY_FILTER, "models.unknown", "edge"))
    edge.renewed.clear()

    edge.world.children[ChildKind.ENVOY_FILTER].remove(raw)

    assert ["models/llm"] == edge.renewed
