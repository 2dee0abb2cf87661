"""The real API server and the models give the same verdict on every policy, in the same words.

Objects are sent by dry run, one after the other over one connection: validation is the whole of it, nothing is stored.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kubernetes import config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError

from aigateway.api.problems import Rejection
from aigateway.api.resolve import parse
from tests.mistakes import MATCH, MISTAKES, RELATIONS, Mistake
from tests.policies import Raw, change, largest, valid
from tests.stack.cluster import Cluster
from tests.stack.stack import Stack
from tests.statuses import FULL
from tests.strategies import policies

ROOT = Path(__file__).resolve().parents[2]
CRD = ROOT / "crds" / "aigateway.dev_aigatewaypolicies.yaml"
EXAMPLES = sorted((ROOT / "manifests" / "examples").glob("*/policy.yaml"))
KIND = "AIGatewayPolicy"

# Function-scoped fixtures are shared by all examples here, which is what is wanted: one connection for all of them.
SEARCH = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

UNFINISHED = (
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)


@dataclass(frozen=True)
class Cause:
    """One reason that the API server gives for a refusal."""

    field: str
    message: str

    def says(self, message: str) -> bool:
        """Return whether this is ``message``, after the value that the API server puts in front."""
        return self.message == message or self.message.endswith(f": {message}")


class Admission:
    """Asks the API server whether it would take an object."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        """Ask in ``namespace``, which exists."""
        client = DynamicClient(config.new_client_from_config(str(cluster.kubeconfig)))  # type: ignore[no-untyped-call]
        self._policies: Any = client.resources.get(api_version="aigateway.dev/v1alpha1", kind=KIND)
        self._namespace = namespace

    def refusal(self, raw: Raw) -> list[Cause]:
        """Return why ``raw`` is refused; empty where it would be taken."""
        body = copy.deepcopy(raw)
        body["metadata"]["namespace"] = self._namespace
        try:
            self._policies.create(body=body, namespace=self._namespace, dry_run="All")
        except DynamicApiError as error:
            answer = json.loads(error.body or "")
            causes = [Cause(cause["field"], cause["message"]) for cause in answer["details"]["causes"]]
            return [cause for cause in causes if cause.message != UNFINISHED]
        return []


@pytest.fixture(scope="module")
def definition(stack: Stack) -> str:
    """Have the committed CRD in the cluster and give its name."""
    stack.cluster.apply_file(CRD)
    return "aigatewaypolicies.aigateway.dev"


@pytest.fixture
def admission(definition: str, cluster: Cluster, namespace: str) -> Admission:
    """Give the way to ask the API server, once it serves the definition."""
    cluster.wait_served(definition)
    return Admission(cluster, namespace)


def test_the_valid_policy_is_admitted(admission: Admission) -> None:
    """The policy that all mistakes start from is taken as it is."""
    assert [] == admission.refusal(valid())


def test_the_largest_policy_is_admitted(admission: Admission) -> None:
    """A policy at every bound at once stays below what the API server spends on rules for one object."""
    assert [] == admission.refusal(largest())


def test_a_megabyte_is_refused_clearly(admission: Admission) -> None:
    """A policy of 1 MiB is refused for the value that is too long, by name."""
    raw = change(valid(), {f"{MATCH}.headers[0].exact": "v" * 2**20})

    assert [Cause(f"{MATCH}.headers[0].exact", "Too long: may not be more than 256 bytes")] == admission.refusal(raw)


def test_kubectl_names_an_unknown_field(definition: str, cluster: Cluster, namespace: str) -> None:
    """The API server would prune a misspelt field without a word; kubectl asks it to be strict and says which it is."""
    cluster.wait_served(definition)
    raw = change(valid(), {"metadata.namespace": namespace, "spec.backends[1].wieght": 20})

    said = cluster.kubectl("apply", "-f", "-", stdin=json.dumps(raw), check=False)

    assert 'unknown field "spec.backends[1].wieght"' in said.stderr
    assert 1 == said.returncode


def test_a_whole_status_is_kept(definition: str, cluster: Cluster, namespace: str) -> None:
    """Every field that the operator may write into status is declared, so nothing of it is pruned."""
    cluster.wait_served(definition)
    cluster.apply(change(valid(), {"metadata.namespace": namespace}))

    stored = cluster.patch(KIND, "chat", namespace, {"status": FULL}, status=True)

    assert stored["status"] == FULL


def test_columns_show_the_state(definition: str, cluster: Cluster, namespace: str) -> None:
    """`kubectl get` shows readiness, reason, weights and replicas, also by the short name and the category."""
    cluster.wait_served(definition)
    cluster.apply(change(valid(), {"metadata.namespace": namespace}))
    cluster.patch(KIND, "chat", namespace, {"status": FULL}, status=True)

    heads, row = cluster.kubectl("get", "aigp", "-n", namespace).stdout.splitlines()

    assert ["NAME", "READY", "REASON", "WEIGHTS", "REPLICAS", "AGE"] == heads.split()
    assert ["chat", "True", "Ready", "v1=80,v2=20", "v1=4/4,v2=1/2"] == row.split()[:-1]
    assert "chat" in cluster.kubectl("get", "ai-gateway", "-n", namespace).stdout


@pytest.mark.parametrize("mistake", [pytest.param(mistake, id=name) for name, mistake in MISTAKES.items()])
def test_a_mistake_is_refused_in_the_words_of_the_model(admission: Admission, mistake: Mistake) -> None:
    """The API server refuses each mistake at the named field, with the message that the table gives."""
    causes = admission.refusal(mistake.raw())

    where, message = mistake.server_at or mistake.at, mistake.server_message or mistake.message
    assert any(cause.field == where and cause.says(message) for cause in causes), causes


@pytest.mark.parametrize("mistake", [pytest.param(mistake, id=name) for name, mistake in RELATIONS.items()])
def test_a_broken_rule_is_the_only_complaint(admission: Admission, mistake: Mistake) -> None:
    """One mistake gives one error, so that nobody has to find the true one among others."""
    assert 1 == len(admission.refusal(mistake.raw()))


@pytest.mark.parametrize("path", [pytest.param(path, id=path.parent.name) for path in EXAMPLES])
def test_an_example_is_admitted(admission: Admission, path: Path) -> None:
    """Every example in the repository is a policy that the API server takes."""
    assert [] == admission.refusal(yaml.safe_load(path.read_text()))


@SEARCH
@given(raw=policies())
def test_every_valid_policy_is_admitted(admission: Admission, raw: Raw) -> None:
    """What the models take, the API server takes: no bound, format or cost limit is tighter there."""
    assert [] == admission.refusal(raw)


@SEARCH
@given(raw=policies(), data=st.data())
def test_both_sides_give_the_same_verdict_on_a_damaged_policy(
    admission: Admission, raw: Raw, data: st.DataObject
) -> None:
    """A policy with one value replaced or removed is taken by both sides or refused by both."""
    damaged = data.draw(damage(raw))

    assert isinstance(parse(damaged), Rejection) == bool(admission.refusal(damaged))


VALUES: tuple[object, ...] = (
    None,
    True,
    0,
    1,
    -1,
    100,
    101,
    2**31,
    0.5,
    "",
    "v1",
    "x" * 300,
    "10s",
    "0s",
    "/v1",
    "*",
    "a.example",
    [],
    {},
    [None],
)


def damage(raw: Raw) -> st.SearchStrategy[Raw]:
    """Return copies of ``raw`` in which one value below the spec was replaced or removed."""
    places = st.sampled_from(list(_places(raw["spec"], "spec")))
    replaced = st.tuples(places, st.sampled_from(VALUES))
    return replaced.map(lambda drawn: change(copy.deepcopy(raw), {drawn[0]: drawn[1]}))


def _places(value: Any, path: str) -> Iterator[str]:
    """Yield the path of every value in and below ``value``."""
    yield path
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _places(member, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _places(item, f"{path}[{index}]")
