"""Weights of the split: named situations, and what holds for every one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway.api.reasons import (
    ALL_UNAVAILABLE,
    AS_SPECIFIED,
    NOT_READY,
    SHARE_OF_UNAVAILABLE,
    UNRESOLVED,
    Reason,
)
from aigateway.core.decide.split import TOTAL, Candidate, Share, decide_split, normalise


def candidate(name: str, base: int, *, resolved: bool = True, available: bool = True) -> Candidate:
    """Return a healthy candidate unless told otherwise."""
    return Candidate(name, base, resolved, available)


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        pytest.param(
            [candidate("v1", 80), candidate("v2", 20)],
            {"v1": (80, AS_SPECIFIED), "v2": (20, AS_SPECIFIED)},
            id="all-well",
        ),
        pytest.param(
            [candidate("v1", 80), candidate("v2", 20, available=False)],
            {"v1": (100, SHARE_OF_UNAVAILABLE), "v2": (0, NOT_READY)},
            id="one-not-ready",
        ),
        pytest.param(
            [candidate("v1", 80, available=False), candidate("v2", 20, available=False)],
            {"v1": (80, ALL_UNAVAILABLE), "v2": (20, ALL_UNAVAILABLE)},
            id="none-ready-keeps-the-base",
        ),
        pytest.param(
            [candidate("v1", 80, resolved=False), candidate("v2", 20)],
            {"v1": (0, UNRESOLVED), "v2": (100, SHARE_OF_UNAVAILABLE)},
            id="one-without-a-service",
        ),
        pytest.param(
            [candidate("v1", 100, available=False), candidate("v2", 0)],
            {"v1": (100, ALL_UNAVAILABLE), "v2": (0, AS_SPECIFIED)},
            id="zero-weight-never-steps-in",
        ),
        pytest.param(
            [candidate("v1", 100, resolved=False), candidate("v2", 0)],
            {"v1": (0, UNRESOLVED), "v2": (0, AS_SPECIFIED)},
            id="zero-weight-never-steps-in-for-a-missing-service",
        ),
        pytest.param(
            [candidate("a", 34), candidate("b", 33), candidate("c", 33, available=False)],
            {"a": (51, SHARE_OF_UNAVAILABLE), "b": (49, SHARE_OF_UNAVAILABLE), "c": (0, NOT_READY)},
            id="shares-are-rounded-to-a-hundred",
        ),
        pytest.param(
            [candidate("v1", 80, resolved=False), candidate("v2", 20, resolved=False)],
            {"v1": (0, UNRESOLVED), "v2": (0, UNRESOLVED)},
            id="nothing-resolves",
        ),
    ],
)
def test_situations(candidates: list[Candidate], expected: dict[str, tuple[int, Reason]]) -> None:
    """Each situation has its weights and its reasons."""
    assert {name: Share(*share) for name, share in expected.items()} == decide_split(candidates)


def test_normalise_gives_the_rest_to_the_largest_remainders() -> None:
    """Three equal shares make 34, 33, 33: the first of equals gets what is left over."""
    assert {"a": 34, "b": 33, "c": 33} == normalise({"a": 1, "b": 1, "c": 1})


CANDIDATES = st.lists(
    st.builds(candidate, st.just(""), st.integers(0, 100), resolved=st.booleans(), available=st.booleans()),
    min_size=1,
    max_size=8,
).map(lambda found: [Candidate(f"b{i}", c.base, c.resolved, c.available) for i, c in enumerate(found)])


@given(CANDIDATES)
def test_weights_sum_to_a_hundred_or_nothing_can_be_routed(candidates: list[Candidate]) -> None:
    """What is written sums to 100; the only other sum is 0, where no backend with a weight resolves."""
    weights = [share.weight for share in decide_split(candidates).values()]
    routable = any(c.resolved and c.base for c in candidates)

    assert (TOTAL if routable else 0) == sum(weights)
    assert all(weight >= 0 for weight in weights)


@given(CANDIDATES)
def test_the_unavailable_get_nothing_while_another_can_serve(candidates: list[Candidate]) -> None:
    """A backend without ready endpoints has weight 0 as long as one with a share is ready."""
    able = [c for c in candidates if c.resolved and c.available and c.base]
    shares = decide_split(candidates)

    if able:
        assert all(shares[c.name].weight == 0 for c in candidates if not (c.resolved and c.available))


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 10_000), max_size=8))
def test_normalising_twice_changes_nothing(shares: dict[str, int]) -> None:
    """Normalised shares are already normal, and keep the order of who has more."""
    once = normalise(shares)

    assert once == normalise(once)
    assert all(once[a] >= once[b] for a in shares for b in shares if shares[a] > shares[b])
