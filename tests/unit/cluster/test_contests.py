"""Who is in whose way, as the world keeps it."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway.api.problems import Problem, Rejection
from aigateway.api.reasons import INVALID
from aigateway.api.resolved import PolicyKey, ResolvedPolicy
from aigateway.cluster.contests import Contests
from aigateway.cluster.store import Entry
from aigateway.core.observation import Contest, Json
from tests.resolved import policy

OLD, YOUNG = PolicyKey("models", "old"), PolicyKey("shop", "young")
WHAT = "host ai.example.com on gateway istio-system/ai-gateway"
REJECTED = Rejection(INVALID, (Problem("spec", "bad"),))


class Case:
    """Contests with two policies of one host; ``served`` is what routes in the cluster are for."""

    def __init__(self) -> None:
        self.woken: set[PolicyKey] = set()
        self.served: set[tuple[PolicyKey, str]] = set()
        self.contests = Contests("cluster.local", self.woken.add, lambda key, claim: (key, str(claim)) in self.served)

    def policy(self, key: PolicyKey, day: int, found: ResolvedPolicy | Rejection | None, **status: Any) -> None:
        """Take over a policy as it is now, or that it is gone."""
        body = {"metadata": {"creationTimestamp": f"2026-01-{day:02d}T00:00:00Z"}, "status": status}
        self.woken.clear()
        self.contests.policy_changed(key, Entry(key.namespace, key.name, "u", 1, body), found)

    def virtual_service(self, day: int | None) -> None:
        """Take over somebody's VirtualService of the same host, or that it is gone."""
        metadata = {"namespace": "ops", "name": "legacy", "creationTimestamp": f"2026-01-{day or 1:02d}T00:00:00Z"}
        spec = {"hosts": ["ai.example.com"], "gateways": ["istio-system/ai-gateway"], "http": [{}]}
        body: dict[str, Any] = {"metadata": metadata, "spec": spec}
        entry: Entry[Json] = Entry("ops", "legacy", "u", 1, body)
        self.woken.clear()
        self.contests.virtual_service_changed(entry, entry if day else None)


@pytest.fixture
def case() -> Case:
    """Give two policies, the younger one in the older one's way."""
    case = Case()
    case.policy(OLD, 1, policy(key=OLD))
    case.policy(YOUNG, 2, policy(key=YOUNG))
    return case


def test_younger_policy_is_told(case: Case) -> None:
    """The younger policy looks again and learns what is held by whom, and whether that is served yet."""
    assert {YOUNG} == case.woken
    assert case.contests.contest(OLD) is None
    assert Contest(WHAT, "AIGatewayPolicy models/old", settled=False) == case.contests.contest(YOUNG)

    case.served = {(OLD, "host other.example.com on gateway istio-system/ai-gateway")}
    assert Contest(WHAT, "AIGatewayPolicy models/old", settled=False) == case.contests.contest(YOUNG)

    case.served.add((OLD, WHAT))
    case.woken.clear()
    case.contests.routes_changed(OLD)

    assert {YOUNG} == case.woken
    assert Contest(WHAT, "AIGatewayPolicy models/old", settled=True) == case.contests.contest(YOUNG)


def test_younger_policy_takes_over(case: Case) -> None:
    """When the older policy goes, the younger one looks again and nothing is in its way."""
    case.policy(OLD, 1, None)

    assert {YOUNG} == case.woken
    assert case.contests.contest(YOUNG) is None


@pytest.mark.parametrize("restarted", [False, True], ids=["known-before", "after-a-restart"])
def test_invalid_change_gives_nothing_up(case: Case, restarted: bool) -> None:
    """While the newest generation is invalid, the policy holds what its last valid one has in effect."""
    if restarted:
        case = Case()
        case.policy(YOUNG, 2, policy(key=YOUNG))
    in_effect = {"hosts": ["ai.example.com"], "gateways": ["istio-system/ai-gateway"], "pathPrefix": "/"}

    case.policy(OLD, 1, REJECTED, effective=in_effect)

    assert Contest(WHAT, "AIGatewayPolicy models/old", settled=False) == case.contests.contest(YOUNG)


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        pytest.param(1, Contest(WHAT, "VirtualService ops/legacy", settled=True), id="older-than-the-policy"),
        pytest.param(9, None, id="younger-than-the-policy"),
        pytest.param(5, None, id="of-the-same-second"),
        pytest.param(None, None, id="gone"),
    ],
)
def test_virtual_service_of_somebody_else(day: int | None, expected: Contest | None) -> None:
    """An older VirtualService of the host stands, and a younger one takes nothing from a policy."""
    case = Case()
    case.policy(OLD, 5, policy(key=OLD))

    case.virtual_service(day)

    assert expected == case.contests.contest(OLD)
    assert ({OLD} if expected else set()) == case.woken


def test_suspended_policy_claims_only_what_it_serves(case: Case) -> None:
    """What a suspended policy would serve if it were not, it takes from nobody."""
    case.policy(OLD, 1, None)
    in_effect = {"hosts": ["other.example.com"], "gateways": ["istio-system/ai-gateway"], "pathPrefix": "/"}

    case.policy(OLD, 1, policy(key=OLD, suspend=True), effective=in_effect)

    assert case.contests.contest(YOUNG) is None


def test_loser_that_becomes_invalid_stands_in_nobody_s_way(case: Case) -> None:
    """A policy that had nothing in effect when it became invalid does not hold what the next one could serve."""
    third = PolicyKey("third", "youngest")
    case.policy(third, 3, policy(key=third))
    case.policy(YOUNG, 2, REJECTED)

    case.policy(OLD, 1, None)

    assert case.contests.contest(third) is None
