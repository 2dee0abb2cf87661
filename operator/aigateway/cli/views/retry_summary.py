"""How often requests were tried again, and whether that helped: counts of each policy's routes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aigateway.cli.views.retries import Logged, RequestView


@dataclass(frozen=True, slots=True)
class RouteSummary:
    """The requests of one route, counted where there is a line of the request; ``unfinished`` are those without.

    ``attempts`` is how many requests had so many; one that the gateway refused by itself counts as one attempt.
    Waits are in milliseconds, by nearest rank, None where there is none; errors are counted by their types.
    """

    policy: str
    route: str
    requests: int
    retried: int
    succeeded_after_retry: int
    attempts: Mapping[int, int]
    attempts_per_request: float | None
    error_types: Mapping[str, int]
    attempt_error_types: Mapping[str, int]
    backoff_delay_median: int | None
    backoff_delay_p95: int | None
    unfinished: int


@dataclass(frozen=True, slots=True)
class SummaryView:
    """Routes by policy and name."""

    routes: tuple[RouteSummary, ...]


@dataclass(slots=True)
class _Counts:
    retried: int = 0
    succeeded: int = 0
    unfinished: int = 0
    attempts: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    attempt_errors: Counter[str] = field(default_factory=Counter)
    waits: Counter[int] = field(default_factory=Counter)

    def add(self, view: RequestView) -> None:
        self.attempt_errors.update(attempt.error_type for attempt in view.attempts if attempt.error_type)
        self.waits.update(a.backoff_delay for a in view.attempts if a.backoff_delay is not None)
        if view.logged is Logged.ATTEMPTS:
            self.unfinished += 1
            return
        self.attempts[1 + (view.retry_count or 0)] += 1
        self.retried += view.retried
        self.succeeded += view.retried and not view.failed
        if view.error_type:
            self.errors[view.error_type] += 1


def summary_view(views: Iterable[RequestView]) -> SummaryView:
    """Return the counts; requests come one by one and none is kept."""
    counts: dict[tuple[str, str], _Counts] = {}
    for view in views:
        counts.setdefault((view.policy, view.route or ""), _Counts()).add(view)
    return SummaryView(tuple(_route(policy, route, counts[policy, route]) for policy, route in sorted(counts)))


def _route(policy: str, route: str, counts: _Counts) -> RouteSummary:
    requests = counts.attempts.total()
    attempts = sum(number * times for number, times in counts.attempts.items())
    return RouteSummary(
        policy=policy,
        route=route,
        requests=requests,
        retried=counts.retried,
        succeeded_after_retry=counts.succeeded,
        attempts=dict(sorted(counts.attempts.items())),
        attempts_per_request=round(attempts / requests, 2) if requests else None,
        error_types=_most_first(counts.errors),
        attempt_error_types=_most_first(counts.attempt_errors),
        backoff_delay_median=_percentile(counts.waits, 50),
        backoff_delay_p95=_percentile(counts.waits, 95),
        unfinished=counts.unfinished,
    )


def _most_first(errors: Counter[str]) -> dict[str, int]:
    return dict(sorted(errors.items(), key=lambda item: (-item[1], item[0])))


def _percentile(values: Counter[int], percent: int) -> int | None:
    """Return the least value that so many percent of all do not exceed."""
    left = values.total() * percent / 100
    for value in sorted(values):
        left -= values[value]
        if left <= 0:
            return value
    return None
