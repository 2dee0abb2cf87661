"""Defaults are filled in, overrides applied, and what cannot be in effect is rejected with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from aigateway.api import reasons
from aigateway.api.administrator import Administrator
from aigateway.api.problems import MOST_PROBLEMS, Problem, Rejection
from aigateway.api.resolve import load, parse
from aigateway.api.resolved import (
    Autoscaling,
    CPURule,
    HeaderMatch,
    LatencyRule,
    Match,
    MeshService,
    PolicyKey,
    QueueLengthRule,
    RequestRateRule,
    ResolvedPolicy,
    Retries,
    RetryCondition,
    Route,
    ScaleUp,
    Timeouts,
    WorkloadKind,
    WorkloadRef,
)
from tests.policies import GONE, Raw, change, valid

ADMINISTRATOR = Administrator(default_gateway="istio-system/default")
EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "manifests" / "examples").glob("*/policy.yaml"))
SAFE = (RetryCondition.CONNECT_FAILURE, RetryCondition.REFUSED_STREAM, RetryCondition.RESET_BEFORE_REQUEST)
READS = ("GET", "HEAD", "OPTIONS")


def _resolved(raw: Raw, administrator: Administrator = ADMINISTRATOR) -> ResolvedPolicy:
    loaded = load(raw, administrator)
    assert isinstance(loaded, ResolvedPolicy), loaded
    return loaded


def _minimal() -> Raw:
    return {
        "apiVersion": "aigateway.dev/v1alpha1",
        "kind": "AIGatewayPolicy",
        "metadata": {"name": "chat"},
        "spec": {"hosts": ["ai.example.com"], "backends": [{"name": "v1", "service": {"name": "chat-v1"}}]},
    }


@pytest.mark.parametrize("path", [pytest.param(path, id=path.parent.name) for path in EXAMPLES])
def test_an_example_resolves(path: Path) -> None:
    """Every example is a valid policy, and its weights are whole."""
    policy = _resolved(yaml.safe_load(path.read_text()))

    assert 100 == sum(backend.weight for backend in policy.backends)


def test_there_are_examples() -> None:
    """The examples are where the other tests look for them."""
    assert "01-minimal" in {path.parent.name for path in EXAMPLES}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("key", PolicyKey("default", "chat"), id="a file without a namespace means default"),
        pytest.param("uid", "", id="a file has no uid"),
        pytest.param("generation", 0, id="a file has no generation"),
        pytest.param("suspend", False, id="not suspended"),
        pytest.param("path_prefix", "/", id="every path"),
        pytest.param("gateways", ("istio-system/default",), id="the administrator's gateway"),
        pytest.param("service", None, id="no in-mesh name"),
        pytest.param("routes", (), id="no routes"),
        pytest.param("timeouts", Timeouts(None, None), id="no timeout, which would cut streams"),
        pytest.param("retries", Retries(2, SAFE, (), READS), id="two retries of what was not processed"),
        pytest.param("connection_pool", None, id="Envoy's own limits"),
    ],
)
def test_a_default_of_the_policy(field: str, value: object) -> None:
    """What the smallest policy leaves out has the documented default."""
    assert value == getattr(_resolved(_minimal()), field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("weight", 100, id="a lone backend gets everything"),
        pytest.param("port", None, id="the Service's only port"),
        pytest.param("workload", WorkloadRef(WorkloadKind.DEPLOYMENT, "chat-v1"), id="the Deployment named like it"),
        pytest.param("autoscaling", None, id="no scaling"),
    ],
)
def test_a_default_of_a_backend(field: str, value: object) -> None:
    """What a backend leaves out has the documented default."""
    assert value == getattr(_resolved(_minimal()).backends[0], field)


def test_everything_that_is_written_is_kept() -> None:
    """Each field of a full policy arrives, in milliseconds and plain values."""
    meta = {"metadata.uid": "u", "metadata.generation": 3, "metadata.creationTimestamp": "2026-11-23T19:00:00Z"}
    policy = _resolved(change(valid(), meta))

    assert ("u", 3, "2026-11-23T19:00:00Z") == (policy.uid, policy.generation, policy.created)
    assert (("ai-gateway.example.com",), "/v1", ("istio-system/ai-gateway",)) == (
        policy.hosts,
        policy.path_prefix,
        policy.gateways,
    )
    header = HeaderMatch("x-model-version", "v2", None)
    assert (
        Route("pin-v2", (Match((header,), "POST", None),), "v2"),
        Route("models", (Match((), None, "/v1/models"),), None),
    ) == policy.routes


def test_an_override_changes_only_what_it_names() -> None:
    """A backend's own autoscaling takes the place of the common one, field by field."""
    first, second = _resolved(valid()).backends

    rules = (RequestRateRule(50), LatencyRule(95, 200), QueueLengthRule(1000), CPURule(70))
    common = Autoscaling(1, 20, rules, ScaleUp(2, 60_000), 600_000)
    assert common == first.autoscaling
    assert Autoscaling(2, 20, rules, ScaleUp(2, 60_000), 600_000) == second.autoscaling
    assert WorkloadRef(WorkloadKind.STATEFUL_SET, "chat-two") == second.workload


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        pytest.param({"maxReplicas": 9}, Autoscaling(1, 9, (CPURule(1),), None, 600_000), id="only the upper bound"),
        pytest.param(
            {"rules": [{"type": "QueueLength", "queueLength": {"total": 5}}]},
            Autoscaling(1, 4, (QueueLengthRule(5),), None, 600_000),
            id="rules replace rules",
        ),
        pytest.param(
            {"scaleUp": {"maxAddReplicas": 3, "period": "2m"}},
            Autoscaling(1, 4, (CPURule(1),), ScaleUp(3, 120_000), 600_000),
            id="a limit of its own",
        ),
        pytest.param(
            {"scaleDown": {"stabilization": "0s"}},
            Autoscaling(1, 4, (CPURule(1),), None, 0),
            id="no stabilization is a choice, not an absence",
        ),
        pytest.param(
            {"scaleDown": {}}, Autoscaling(1, 4, (CPURule(1),), None, 600_000), id="an empty block says nothing"
        ),
    ],
)
def test_an_override_of_one_field(own: Raw, expected: Autoscaling) -> None:
    """Each field that a backend sets replaces the common one; the rest comes from there or from the defaults."""
    raw = _minimal()
    raw["spec"]["autoscaling"] = {"maxReplicas": 4, "rules": [{"type": "CPU", "cpu": {"utilizationPercent": 1}}]}
    raw["spec"]["backends"][0]["autoscaling"] = own

    assert expected == _resolved(raw).backends[0].autoscaling


def test_header_names_have_no_case() -> None:
    """Proxies compare lower-case names, so that is what is resolved."""
    raw = change(valid(), {"spec.routes[0].matches[0].headers[0].name": "X-Model-Version"})

    assert "x-model-version" == _resolved(raw).routes[0].matches[0].headers[0].name


def test_hosts_need_a_gateway() -> None:
    """Hosts without any gateway are rejected with the reason that names the administrator's part."""
    loaded = load(change(valid(), {"spec.gateways": GONE}), Administrator())

    assert isinstance(loaded, Rejection)
    assert reasons.NO_GATEWAY == loaded.reason
    assert ["spec.gateways"] == [problem.field for problem in loaded.problems]


def test_a_mesh_policy_needs_no_gateway() -> None:
    """The default gateway is for hosts: traffic in the mesh has none."""
    raw = change(_minimal(), {"spec.hosts": GONE, "spec.service": {"name": "chat", "port": 80}})
    policy = _resolved(raw)

    assert ((), MeshService("chat", 80)) == (policy.gateways, policy.service)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"metadata.creationTimestamp": None}, id="as kubectl writes a file"),
        pytest.param({"spec.autoscaling.scaleUp": None, "spec.suspend": None}, id="empty members in YAML"),
        pytest.param({"spec.backends[0].weight": 80, "spec.backends[0].autoscaling": None}, id="inside a list"),
        pytest.param({"status": {"weights": "v1=100"}}, id="the status is the operator's"),
        pytest.param({"metadata.labels": {"a": "b"}, "metadata.managedFields": []}, id="metadata of others"),
    ],
)
def test_what_says_nothing_is_ignored(changes: Raw) -> None:
    """Null members are left out, as the API server does; status and other metadata are not the user's words."""
    assert isinstance(load(change(valid(), changes), ADMINISTRATOR), ResolvedPolicy)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param(
            {"kind": "Policy"}, Problem("kind", "must be 'AIGatewayPolicy', not \"Policy\""), id="another kind"
        ),
        pytest.param(
            {"apiVersion": "v1"}, Problem("apiVersion", "must be 'aigateway.dev/v1alpha1', not \"v1\""), id="version"
        ),
        pytest.param({"metadata.name": GONE}, Problem("metadata.name", "is required"), id="no name"),
        pytest.param({"metadata": "chat"}, Problem("metadata", 'must be an object, not "chat"'), id="no metadata"),
        pytest.param({"spce": {}}, Problem("spce", "unknown field, did you mean spec?"), id="misspelt at the top"),
    ],
)
def test_an_object_that_is_no_policy(changes: Raw, problem: Problem) -> None:
    """Files are checked from the top, which the API server does by itself."""
    parsed = parse(change(valid(), changes))

    assert isinstance(parsed, Rejection)
    assert (reasons.INVALID, (problem,)) == (parsed.reason, parsed.problems)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"spec": None}, id="null"),
        pytest.param([], id="a list"),
        pytest.param({1: 2}, id="a number as a key"),
        pytest.param({"spec": {"backends": [[[]]]}}, id="lists all the way"),
    ],
)
def test_rubbish_is_rejected(raw: Any) -> None:
    """Whatever YAML can hold gives problems, never an exception."""
    assert isinstance(parse(raw), Rejection)


def test_a_megabyte_of_mistakes_stays_readable() -> None:
    """The number and size of problems are bounded, so that they fit into a status."""
    route = {"name": "r" * 1000, "x" * 1000: 1}
    parsed = parse(change(valid(), {"spec.routes": [route] * 500}))

    assert isinstance(parsed, Rejection)
    assert MOST_PROBLEMS == len(parsed.problems)
    assert 4096 > len(str(parsed))
