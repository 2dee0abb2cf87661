"""Rules on routes, timeouts, retries and connection pools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aigateway.api.model import Model, cel_literal
from aigateway.api.rules.rule import Rule, repeated, unless
from aigateway.api.types import DURATION, parse_duration
from aigateway.api.v1alpha1.routing import ConnectionPool, HeaderMatch, Retries, RouteMatch, Timeouts

_DURATION = cel_literal(DURATION)


def _repeated_headers(match: RouteMatch) -> Iterator[str]:
    return (f"headers[{i}].name" for i in repeated([header.name.lower() for header in match.headers or ()]))


def _keeps_order(timeouts: Timeouts) -> bool:
    if timeouts.request is None or timeouts.per_try is None:
        return True
    return parse_duration(timeouts.per_try) <= parse_duration(timeouts.request)


ROUTING: Mapping[type[Model], tuple[Rule[Any], ...]] = {
    HeaderMatch: (
        Rule[HeaderMatch](
            "has(self.exact) != has(self.prefix)",
            "exact or prefix is required, and not both: set one of the two",
            unless(lambda header: (header.exact is None) != (header.prefix is None)),
        ),
    ),
    RouteMatch: (
        Rule[RouteMatch](
            "has(self.headers) || has(self.method) || has(self.pathPrefix)",
            "a match needs headers, method or pathPrefix; to send every request to a backend, give it weight 100",
            unless(lambda match: bool(match.headers or match.method or match.path_prefix)),
        ),
        Rule[RouteMatch](
            "!has(self.headers) || "
            "self.headers.all(h, self.headers.exists_one(x, x.name.lowerAscii() == h.name.lowerAscii()))",
            "headers must name each header once (case does not count); put alternatives into a match of their own",
            _repeated_headers,
            "headers",
        ),
    ),
    Timeouts: (
        Rule[Timeouts](
            # What is no duration has its own error; comparing it would only add one that nobody can read.
            f"!has(self.request) || !has(self.perTry) || !self.request.matches({_DURATION}) || "
            f"!self.perTry.matches({_DURATION}) || duration(self.perTry) <= duration(self.request)",
            "perTry must not be longer than request: lower perTry or raise request",
            unless(_keeps_order, "perTry"),
            "perTry",
        ),
    ),
    Retries: (
        Rule[Retries](
            "!has(self.attempts) || self.attempts > 0 || (!has(self.conditions) && !has(self.statusCodes))",
            "conditions and statusCodes have no effect with attempts 0: remove them or raise attempts",
            unless(
                lambda retries: retries.attempts > 0 or not (retries.conditions or retries.status_codes), "attempts"
            ),
            "attempts",
        ),
    ),
    ConnectionPool: (
        Rule[ConnectionPool](
            "has(self.maxOpen) || has(self.maxPending) || has(self.maxLifetime) || has(self.connectTimeout)",
            "connectionPool needs maxOpen, maxPending, maxLifetime or connectTimeout: set one or remove connectionPool",
            unless(lambda pool: pool != ConnectionPool()),
        ),
    ),
}
