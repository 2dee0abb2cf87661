"""One look at a cluster: what is read, what may be missing, and how proposed policies stand in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aigateway.api.administrator import Administrator
from aigateway.api.resolved import PolicyKey
from aigateway.cluster.client import ApiError
from aigateway.cluster.resources import CHILDREN, DEFINITIONS, ENDPOINT_SLICES, POLICIES, SERVICES, WORKLOADS
from aigateway.cluster.snapshot import NEW_UID, Snapshot, as_applied, take
from aigateway.core.observation import ChildKind, ChildRef, EndpointsState, Feature, Observation
from tests.objects import CREATED, UID, endpoints, policy, service, stored, virtual_service, workload
from tests.unit.cluster.apiserver import FakeApiserver, refusal, running

ADMINISTRATOR = Administrator()
KEY = PolicyKey("models", "chat")
RESOURCES = {item.kind: item for item in (POLICIES, SERVICES, ENDPOINT_SLICES, *WORKLOADS.values(), *CHILDREN.values())}
FORBIDDEN = "GET /apis/aigateway.dev/v1alpha1/aigatewaypolicies"


def look(
    folder: Path,
    *objects: dict[str, Any],
    prepare: Callable[[FakeApiserver], object] = lambda _: None,
    **arguments: Any,
) -> tuple[Snapshot, FakeApiserver]:
    """Look at a server that holds objects, and Istio and KEDA; ``prepare`` may change it before."""

    async def main() -> tuple[Snapshot, FakeApiserver]:
        async with running(folder) as (fake, client):
            fake.served |= {resource.plural for resource in CHILDREN.values()}
            for raw in objects:
                metadata = raw["metadata"]
                fake.put(RESOURCES[raw["kind"]], metadata["name"], metadata["namespace"], **raw)
            prepare(fake)
            chosen: dict[str, Any] = {"administrator": ADMINISTRATOR, "namespaces": ["models"]} | arguments
            snapshot = await take(client, **chosen)
            for name in ("chat-v1", "chat-v2"):
                await snapshot.child("models", ChildRef(ChildKind.SCALED_OBJECT, name))
            return snapshot, fake

    return asyncio.run(main())


def test_reads_all_that_decisions_look_at(tmp_path: Path) -> None:
    """Services, endpoints, workloads, children and the status are what the operator would see."""
    raw = stored(policy(), {"weights": "v1=80,v2=20"})
    child = virtual_service("chat-gateway")
    child["metadata"]["labels"] = {"aigateway.dev/policy": "chat"}
    child["metadata"]["ownerReferences"] = [{"kind": "AIGatewayPolicy", "uid": UID, "controller": True}]

    snapshot, _ = look(tmp_path, raw, service("chat-v1"), endpoints("chat-v1", 2), workload("chat-v1"), child)

    seen = observation(snapshot)
    assert {"chat-v1"} == set(seen.services)
    assert EndpointsState(2, since=0) == seen.endpoints["chat-v1"]
    assert [2] == [state.ready for state in seen.workloads.values()]
    assert [UID] == [state.owner for state in seen.children.values()]
    assert frozenset(ChildKind) - {ChildKind.ENVOY_FILTER} == seen.installed
    assert "v1=80,v2=20" == seen.status["weights"]
    assert [] == snapshot.unseen


def test_only_reads(tmp_path: Path) -> None:
    """A look changes nothing, and reads beyond the policies' namespaces only what may be in their way."""
    _, fake = look(tmp_path, stored(policy()))

    assert {"GET"} == {method for method, _ in fake.requests}
    anywhere = {resource.path() for resource in RESOURCES.values()} & {path for _, path in fake.requests}
    in_the_way = (POLICIES, CHILDREN[ChildKind.VIRTUAL_SERVICE], CHILDREN[ChildKind.DESTINATION_RULE])
    assert {resource.path() for resource in in_the_way} == anywhere


def test_kinds_that_are_not_installed(tmp_path: Path) -> None:
    """Where a kind is not served, it counts as not installed."""
    snapshot, _ = look(tmp_path, stored(policy()), prepare=lambda fake: fake.served.remove("scaledobjects"))

    missing = {ChildKind.SCALED_OBJECT, ChildKind.ENVOY_FILTER}
    assert set(ChildKind) - missing == observation(snapshot).installed


def test_what_may_not_be_listed_everywhere_is_listed_here(tmp_path: Path) -> None:
    """Whoever sees one namespace gets an answer, with a note on what is not known."""
    refused = (FORBIDDEN, refusal(403, "Forbidden"))

    snapshot, _ = look(tmp_path, stored(policy()), prepare=lambda fake: fake.faults.append(refused))

    assert {KEY} == set(snapshot.stored)
    assert ["aigatewaypolicies.aigateway.dev of other namespaces may not be listed"] == [
        text.partition(";")[0] for text in snapshot.unseen
    ]


def definition(**fallback: Any) -> dict[str, Any]:
    """Return the definition of ScaledObject whose fallback has these fields."""
    spec = {"properties": {"fallback": {"properties": fallback}}}
    schema = {"openAPIV3Schema": {"properties": {"spec": spec}}}
    return {"spec": {"versions": [{"name": "v1alpha1", "schema": schema}]}}


@pytest.mark.parametrize(
    ("fallback", "lacks"),
    [
        pytest.param({"behavior": {}}, frozenset(), id="new"),
        pytest.param({"replicas": {}}, {Feature.FALLBACK_BEHAVIOR}, id="old"),
    ],
)
def test_what_the_installed_version_lacks(tmp_path: Path, fallback: dict[str, Any], lacks: set[Feature]) -> None:
    """Decisions know what the cluster's KEDA cannot do, as in the operator."""
    body = definition(**fallback)

    snapshot, _ = look(
        tmp_path, stored(policy()), prepare=lambda fake: fake.put(DEFINITIONS, "scaledobjects.keda.sh", "", **body)
    )

    assert lacks == observation(snapshot).lacking


def test_a_definition_that_may_not_be_read(tmp_path: Path) -> None:
    """It is taken to be up to date, and that is said."""
    refused = (f"GET {DEFINITIONS.path(None, 'scaledobjects.keda.sh')}", refusal(403, "Forbidden"))

    snapshot, _ = look(tmp_path, stored(policy()), prepare=lambda fake: fake.faults.append(refused))

    assert frozenset() == observation(snapshot).lacking
    assert ["the definition of scaledobjects.keda.sh may not be read; it is taken to be up to date"] == snapshot.unseen


def test_a_failing_server_is_no_empty_world(tmp_path: Path) -> None:
    """What cannot be read is an error, not an absence."""
    failed = (FORBIDDEN, refusal(500, "InternalError"))

    with pytest.raises(ApiError):
        look(tmp_path, prepare=lambda fake: fake.faults.append(failed))


def test_an_object_that_no_list_held_is_read(tmp_path: Path) -> None:
    """A ScaledObject without our label is looked for under its name."""
    _, fake = look(tmp_path)

    assert 1 == fake.count(f"GET {CHILDREN[ChildKind.SCALED_OBJECT].path('models', 'chat-v1')}")


def test_a_proposed_policy_takes_the_place_of_the_stored_one(tmp_path: Path) -> None:
    """The world has the file's spec with the stored identity and status; what is stored is still known."""
    proposed = [policy(hosts=["new.example.com"])]

    snapshot, _ = look(tmp_path, stored(policy(), {"weights": "x"}), namespaces=(), proposed=proposed)

    entry = snapshot.world.policy(KEY)
    assert entry is not None
    metadata, spec = entry.value["metadata"], entry.value["spec"]
    assert (["new.example.com"], 4, "x") == (spec["hosts"], metadata["generation"], entry.value["status"]["weights"])
    assert snapshot.stored[KEY]["metadata"]["uid"] == entry.uid
    assert ["ai.example.com"] == snapshot.stored[KEY]["spec"]["hosts"]


def test_a_policy_that_is_new() -> None:
    """It gets an identity that nothing can have, the youngest age, and no status."""
    metadata = as_applied(policy(), None, now=0.0)["metadata"]

    assert (NEW_UID, 1, "1970-01-01T00:00:00Z") == (
        metadata["uid"],
        metadata["generation"],
        metadata["creationTimestamp"],
    )


def test_a_policy_that_is_the_same() -> None:
    """Applying the same spec again makes no new generation."""
    metadata = as_applied(policy(), stored(policy()), now=0.0)["metadata"]

    assert (3, CREATED) == (metadata["generation"], metadata["creationTimestamp"])


def observation(snapshot: Snapshot) -> Observation:
    """Return what a decision about the policy may look at."""
    entry = snapshot.world.policy(KEY)
    assert entry is not None
    return snapshot.world.observe(KEY, snapshot.world.index.resolved(KEY), entry.value.get("status") or {})


EDGE = Administrator(envoy_filter_namespaces=("edge",))
ENVOY_FILTERS = CHILDREN[ChildKind.ENVOY_FILTER]


def away() -> dict[str, Any]:
    """Return the policy's EnvoyFilter in the gateways' namespace."""
    said = {"policy": "chat", "policy-namespace": "models", "policy-uid": UID}
    metadata = {
        "name": "models.chat",
        "namespace": "edge",
        "labels": {f"aigateway.dev/{key}": value for key, value in said.items()},
    }
    return {"kind": "EnvoyFilter", "metadata": metadata, "spec": {}}


def test_envoy_filters_are_looked_at_where_they_are_allowed(tmp_path: Path) -> None:
    """The policy's own in the gateways' namespace is seen, and the gateway filter that is not there is missed."""
    snapshot, _ = look(tmp_path, stored(policy()), away(), administrator=EDGE)

    ref = ChildRef(ChildKind.ENVOY_FILTER, "models.chat", "edge")
    assert {ref: UID} == {ref: child.owner for ref, child in observation(snapshot).children.items()}
    assert {Feature.GATEWAY_FILTER} == observation(snapshot).lacking
    assert away()["spec"] == (asyncio.run(snapshot.child("models", ref)) or {}).get("spec")


def test_envoy_filters_that_are_not_allowed_are_not_asked_about(tmp_path: Path) -> None:
    """Whoever looks may have no right to them."""
    _, fake = look(tmp_path, stored(policy()), away())

    assert [] == [path for _, path in fake.requests if "v1alpha3" in path or "envoyfilters" in path]


def test_gateways_that_may_not_be_looked_at(tmp_path: Path) -> None:
    """Who has no business in the gateways' namespace gets an answer, with a note."""
    refused = (f"GET {ENVOY_FILTERS.path('edge')}", refusal(403, "Forbidden"))

    snapshot, _ = look(tmp_path, stored(policy()), administrator=EDGE, prepare=lambda fake: fake.faults.append(refused))

    assert ["envoyfilters.networking.istio.io of namespace edge may not be listed"] == [
        text.partition(";")[0] for text in snapshot.unseen
    ]


def test_gateways_of_which_nothing_is_heard(tmp_path: Path) -> None:
    """Any other refusal ends the look: what must be known is not."""
    refused = (f"GET {ENVOY_FILTERS.path('edge')}", refusal(500, "Broken"))

    with pytest.raises(ApiError):
        look(tmp_path, stored(policy()), administrator=EDGE, prepare=lambda fake: fake.faults.append(refused))


GATEWAY = Administrator(gateway_service="models/gateway")
SLICES = f"GET {ENDPOINT_SLICES.path('edge')}"


@pytest.mark.parametrize(
    ("administrator", "expected"),
    [pytest.param(GATEWAY, 3, id="named"), pytest.param(ADMINISTRATOR, None, id="not-named")],
)
def test_proxies_are_counted_where_their_service_is_named(
    tmp_path: Path, administrator: Administrator, expected: int | None
) -> None:
    """The status foreseen tells the totals that the operator would tell."""
    snapshot, _ = look(tmp_path, stored(policy()), endpoints("gateway", 3), administrator=administrator)

    assert expected == observation(snapshot).gateway_proxies


def test_proxies_that_may_not_be_counted(tmp_path: Path) -> None:
    """Who has no business with the gateways gets an answer without totals, with a note."""
    refused = (SLICES, refusal(403, "Forbidden"))
    administrator = Administrator(gateway_service="edge/gateway")

    snapshot, _ = look(
        tmp_path, stored(policy()), administrator=administrator, prepare=lambda fake: fake.faults.append(refused)
    )

    assert observation(snapshot).gateway_proxies is None
    [unseen] = snapshot.unseen
    assert "endpointslices.discovery.k8s.io of namespace edge may not be listed; no total of rate limits" in unseen
