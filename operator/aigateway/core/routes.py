"""A policy's routes in Envoy: which there are, what they are called, and which requests are retried on what.

A VirtualService writes the routes, an EnvoyFilter finds them by name, the status tells of them: all ask here, so that
none of them knows the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from aigateway.api.resolved import PROVABLY_NOT_PROCESSED, PolicyKey, ResolvedPolicy, Retries, RetryCondition

IDEMPOTENT = "#idempotent"
"""What the name of a route ends with that takes only the idempotent requests of another."""


_RETRY_ON: Mapping[RetryCondition, str] = {
    RetryCondition.CONNECT_FAILURE: "connect-failure",
    RetryCondition.REFUSED_STREAM: "refused-stream",
    RetryCondition.RESET_BEFORE_REQUEST: "reset-before-request",
    RetryCondition.RESET: "reset",
    RetryCondition.GATEWAY_ERROR: "gateway-error",
}


def retry_on(conditions: Sequence[RetryCondition], codes: Sequence[int]) -> str:
    """Return Istio's ``retryOn``; without spaces, which its webhook refuses."""
    return ",".join([*(_RETRY_ON[condition] for condition in conditions), *map(str, codes)])


def safe_conditions(retries: Retries) -> list[RetryCondition]:
    """Return the conditions under which any request may be retried."""
    return [condition for condition in retries.conditions if condition in PROVABLY_NOT_PROCESSED]


def is_split(retries: Retries) -> bool:
    """Return whether idempotent requests are retried on more, or otherwise, than the others."""
    more = len(safe_conditions(retries)) < len(retries.conditions) or bool(retries.status_codes) or retries.hedge
    return retries.attempts > 0 and more and not retries.treat_as_idempotent


def retries_at_all(retries: Retries, *, idempotent: bool) -> bool:
    """Return whether a route of idempotent requests, or of others, retries anything."""
    return retries.attempts > 0 and bool(idempotent or safe_conditions(retries))


def route_names(policy: ResolvedPolicy) -> Iterator[tuple[str, bool]]:
    """Yield each route's name and whether its requests are idempotent, in no order that means anything.

    A name may be that of no route: where a named route takes one method only, one of its two halves is not written.
    """
    for base in (base_name(policy.key), *(f"{base_name(policy.key)}/{route.name}" for route in policy.routes)):
        if is_split(policy.retries):
            yield f"{base}{IDEMPOTENT}", True
            yield base, False
        else:
            yield base, policy.retries.treat_as_idempotent


def base_name(key: PolicyKey) -> str:
    """Return the name of the route of the weighted split: ``models/chat``."""
    return f"{key.namespace}/{key.name}"


def stat_prefix(name: str) -> str:
    """Return the stable name of a route in Envoy's statistics, the same for both halves of a split route.

    Names of Kubernetes hold no underscore, so no two routes get the same.
    """
    return name.removesuffix(IDEMPOTENT).replace("/", "_")
