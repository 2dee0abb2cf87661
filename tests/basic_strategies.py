"""Hypothesis strategies of the API's plain values: labels, durations, header names.

:mod:`tests.strategies` and :mod:`tests.resilience_strategies` build policies of them.
"""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@cache
def labels(longest: int) -> st.SearchStrategy[str]:
    """Return DNS labels of at most ``longest`` characters."""
    return st.one_of(
        st.sampled_from(("v1", "v2", "0", "a--b", "x" * longest)),
        st.from_regex("[a-z0-9]([-a-z0-9]{0,12}[a-z0-9])?", fullmatch=True),
    )


@cache
def durations(low: int = 1, high: int = 86_400_000) -> st.SearchStrategy[str]:
    """Return durations from ``low`` to ``high`` milliseconds, in several spellings."""
    exact = st.integers(low, high)
    return st.one_of(
        st.sampled_from((low, high)).map(lambda count: f"{count // 1000}s" if count % 1000 == 0 else f"{count}ms"),
        exact.map(lambda count: f"{count // 1000}s{count % 1000}ms" if count // 1000 < 100_000 else "24h"),
        exact.filter(lambda count: count < 100_000).map(lambda count: f"{count}ms"),
        st.sampled_from(("10s", "1m30s", "60s", "5m", "1s1s")),
    )


@cache
def whole_seconds(low: int, high: int) -> st.SearchStrategy[str]:
    """Return durations from ``low`` to ``high`` seconds, without milliseconds."""
    return st.one_of(
        st.sampled_from((low, high)).map(lambda count: f"{count}s"),
        st.integers(low, high).map(lambda count: f"{count // 60}m{count % 60}s"),
    )


@cache
def header_names() -> st.SearchStrategy[str]:
    """Return HTTP header names that may be matched on."""
    token = st.from_regex("x-[-A-Za-z0-9!#$%&'*+.^_`|~]{1,16}", fullmatch=True)
    return st.one_of(st.sampled_from(("x-model-version", "X-Tenant", "h" * 64)), token)
