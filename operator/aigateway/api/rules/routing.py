"""Rules on routes and what they match."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aigateway.api.model import Model
from aigateway.api.rules.rule import Rule, repeated, unless
from aigateway.api.v1alpha1.routing import HeaderMatch, RouteMatch


def _repeated_headers(match: RouteMatch) -> Iterator[str]:
    return (f"headers[{i}].name" for i in repeated([header.name.lower() for header in match.headers or ()]))


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
}
