"""Which requests a policy takes, where it sends them, and what bounds and repeats them: a resolved policy in words.

Part of :mod:`aigateway.cli.views.explain`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aigateway.api.resolved import PROVABLY_NOT_PROCESSED, ConnectionPool, Match, ResolvedPolicy, Retries
from aigateway.api.types import format_duration
from aigateway.core.render.virtual_service import retry_on


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
    """Yield timeouts, retries and limits."""
    timeouts = policy.timeouts
    yield Setting("request timeout", _duration(timeouts.request, "none"))
    yield Setting(
        "timeout per try", _duration(timeouts.per_try, "none") + (" to the first byte" if timeouts.per_try else "")
    )
    yield from _retries(policy.retries)
    yield from _pool(policy.connection_pool)


def _duration(milliseconds: int | None, absent: str) -> str:
    return absent if milliseconds is None else format_duration(milliseconds)


def _retries(retries: Retries) -> Iterator[Setting]:
    if retries.attempts == 0:
        yield Setting("retries", "none")
        return
    yield Setting("retries", f"{retries.attempts} after the first try")
    methods = ", ".join(retries.idempotent_methods)
    safe = [condition for condition in retries.conditions if condition in PROVABLY_NOT_PROCESSED]
    yield Setting(f"  on ({methods})", retry_on(retries.conditions, retries.status_codes))
    yield Setting("  on (other methods)", retry_on(safe, ()) or "nothing: a backend may have begun to process it")


def _pool(pool: ConnectionPool | None) -> Iterator[Setting]:
    if pool is None:
        return
    limits = {
        "connections": pool.max_open and str(pool.max_open),
        "waiting requests": pool.max_pending and str(pool.max_pending),
        "lifetime of a connection": pool.max_lifetime and format_duration(pool.max_lifetime),
        "time to connect": pool.connect_timeout and format_duration(pool.connect_timeout),
    }
    for name, value in limits.items():
        if value:
            yield Setting(f"{name}, per proxy", value)
