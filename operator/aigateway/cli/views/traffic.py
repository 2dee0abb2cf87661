"""Which requests a policy takes, where it sends them, and what bounds and repeats them: a resolved policy in words.

Part of :mod:`aigateway.cli.views.explain`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aigateway.api.resolved import Match, ResolvedPolicy
from aigateway.core.resilience import describe_resilience


@dataclass(frozen=True, slots=True)
class Entrance:
    """A name that requests come in by, and through what: a gateway or the mesh."""

    host: str
    via: str


@dataclass(frozen=True, slots=True)
class RouteView:
    """One route, in the order in which they are tried: any of ``matches`` sends the request there (none: the rest)."""

    name: str
    matches: tuple[str, ...]
    to: str


@dataclass(frozen=True, slots=True)
class Setting:
    """One bound or rule in effect, defaults filled in."""

    name: str
    value: str


def entrances(policy: ResolvedPolicy) -> Iterator[Entrance]:
    """Yield every name of the policy."""
    for host in policy.hosts:
        path = "" if policy.path_prefix == "/" else policy.path_prefix
        for gateway in policy.gateways:
            yield Entrance(host + path, f"gateway {gateway}")
    if policy.service is not None:
        port = f":{policy.service.port}" if policy.service.port else ""
        yield Entrance(f"{policy.service.name}{port}", "mesh")


def routes(policy: ResolvedPolicy, weights: str) -> Iterator[RouteView]:
    """Yield the routes; the last is the split with its weights."""
    split = f"split {weights}" if weights else "split"
    for route in policy.routes:
        yield RouteView(route.name, tuple(map(_match, route.matches)), route.backend or split)
    yield RouteView("", (), split)


def _match(match: Match) -> str:
    parts = [match.method] if match.method else []
    parts += [f"{match.path_prefix}"] if match.path_prefix else []
    for header in match.headers:
        parts.append(f"{header.name}: {header.exact if header.exact is not None else f'{header.prefix}*'}")
    return " ".join(parts)


def settings(policy: ResolvedPolicy) -> Iterator[Setting]:
    """Yield timeouts, retries and limits, in the words of the status."""
    retries = policy.retries.attempts
    yield Setting("retries", f"{retries} after the first try" if retries else "none")
    told: dict[str, Any] = {"requestTimeout": "none", "perTryTimeout": "none"} | describe_resilience(policy, None)
    for name, value in told.items():
        for line in [value] if isinstance(value, str) else value:
            yield Setting(_words(name), line)


def _words(name: str) -> str:
    """Return the name of a status field as people read it."""
    return re.sub("(?<=[a-z])([A-Z])", lambda found: f" {found[0].lower()}", name)
