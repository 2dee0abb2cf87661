"""Who holds what when several policies claim it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway.api.resolved import ConnectionPool, PolicyKey
from aigateway.core.claims import Age, Claim, Claims, Holder, Rival, claims_of, holder_of
from tests.resolved import autoscaling, backend, in_mesh, policy

HOST = "host ai.example.com on gateway istio-system/ai-gateway"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param(Claim("a"), Claim("a"), True, id="the-same"),
        pytest.param(Claim("a"), Claim("b"), False, id="other-subject"),
        pytest.param(Claim("a"), Claim("a", "/v1"), True, id="the-whole-and-a-part"),
        pytest.param(Claim("a", "/v1"), Claim("a", "/v2"), False, id="side-by-side"),
        pytest.param(Claim("a", "/v1"), Claim("a", "/v1/chat"), True, id="nested"),
        pytest.param(Claim("a", "/v1"), Claim("a", "/v10"), False, id="alike-but-not-a-segment"),
    ],
)
def test_overlap(one: Claim, other: Claim, expected: bool) -> None:
    """Two claims overlap where one request could be meant by both, whoever asks first."""
    assert (expected, expected) == (one.overlaps(other), other.overlaps(one))


def test_claims_of_a_policy() -> None:
    """A policy claims its hosts on its gateways, its in-mesh name, and what it configures of Services and workloads."""
    of = policy(
        service=in_mesh(),
        backends=(backend("v1", 80, autoscaling=autoscaling()), backend("v2", 20)),
        connection_pool=ConnectionPool(1, None, None, None),
    )

    assert {
        HOST,
        "in-mesh Service models/chat",
        "connections to Service models/model-v1",
        "connections to Service models/model-v2",
        "replicas of Deployment models/model-v1",
    } == {claim.subject for claim in claims_of(of)}
    assert {"/chat"} == {claim.path for claim in claims_of(dataclasses.replace(policy(), path_prefix="/chat"))}


def key(name: str) -> Holder:
    """Return a policy of one namespace as a holder."""
    return holder_of(PolicyKey("models", name))


def age(when: int) -> Age:
    """Return an age; smaller is older."""
    return Age(f"2026-01-01T00:00:{when:02d}Z", "u")


def test_older_policy_holds_and_the_younger_takes_over() -> None:
    """The loser is told of its rival, and that it may go on when the rival leaves."""
    claims = Claims()
    claims.change(key("old"), age(1), frozenset({Claim(HOST)}))

    assert frozenset({key("young")}) == claims.change(key("young"), age(2), frozenset({Claim(HOST)}))
    assert Rival(key("old"), Claim(HOST)) == claims.rival(key("young"))
    assert claims.rival(key("old")) is None

    assert frozenset({key("young")}) == claims.change(key("old"), None, frozenset())
    assert claims.rival(key("young")) is None


def test_loser_stands_in_nobody_s_way() -> None:
    """A policy that holds nothing does not keep a third one from what only it wanted too."""
    claims = Claims()
    claims.change(key("first"), age(1), frozenset({Claim("a")}))
    claims.change(key("second"), age(2), frozenset({Claim("a"), Claim("b")}))
    claims.change(key("third"), age(3), frozenset({Claim("b")}))

    assert claims.rival(key("third")) is None

    changed = claims.change(key("first"), None, frozenset())

    assert frozenset({key("second"), key("third")}) == changed
    assert Rival(key("second"), Claim("b")) == claims.rival(key("third"))


def test_older_policy_that_starts_to_claim_takes_over() -> None:
    """An older policy wins also when its claim is newer."""
    claims = Claims()
    claims.change(key("old"), age(1), frozenset())
    claims.change(key("young"), age(2), frozenset({Claim(HOST)}))

    assert frozenset({key("young")}) == claims.change(key("old"), age(1), frozenset({Claim(HOST)}))


CLAIMS = st.frozensets(
    st.builds(Claim, st.sampled_from("abc"), st.sampled_from(("/", "/x", "/x/y", "/z"))), min_size=1, max_size=3
)
CHANGES = st.lists(st.tuples(st.integers(0, 5), st.none() | CLAIMS), max_size=20)


def winners_from_scratch(wanted: Mapping[int, frozenset[Claim]]) -> set[int]:
    """Return who holds, by going from the oldest to the youngest once."""
    holding: set[int] = set()
    for who in sorted(wanted):
        free = all(not a.overlaps(b) for other in holding for a in wanted[who] for b in wanted[other])
        holding |= {who} if free else set()
    return holding


@given(CHANGES)
def test_every_order_of_changes_ends_at_the_same_holders(changes: list[tuple[int, frozenset[Claim] | None]]) -> None:
    """Who holds depends on ages and claims alone, not on how it came about, and nobody's change goes untold."""
    claims, wanted = Claims(), dict[int, frozenset[Claim]]()
    told: dict[int, Rival | None] = {}
    for who, what in changes:
        if what is None:
            wanted.pop(who, None)
            told.pop(who, None)
        else:
            wanted[who] = what
        changed = claims.change(key(str(who)), None if what is None else age(who), what or frozenset())
        told |= {int(k.name): claims.rival(k) for k in changed}

        assert winners_from_scratch(wanted) == {w for w in wanted if claims.rival(key(str(w))) is None}
        assert {w: claims.rival(key(str(w))) for w in wanted} == {w: told.get(w) for w in wanted}
