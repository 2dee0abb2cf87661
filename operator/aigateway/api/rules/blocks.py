"""Rules on what the resilience blocks of a spec owe each other, and what they need beside them."""

from __future__ import annotations

from collections.abc import Iterator

from aigateway.api.model import cel_literal
from aigateway.api.resolved import DEFAULT_ATTEMPTS, ENVOY_BACKOFF
from aigateway.api.rules.rule import Rule, repeated, unless
from aigateway.api.types import DURATION, parse_duration
from aigateway.api.v1alpha1.policy import PolicySpec
from aigateway.api.v1alpha1.resilience import Retries

_DURATION = cel_literal(DURATION)
_ATTEMPTS = f"(has(self.retries) && has(self.retries.attempts) ? self.retries.attempts : {DEFAULT_ATTEMPTS})"
_INITIAL = f"(has(self.retries) && has(self.retries.backoff) ? self.retries.backoff.initial : '{ENVOY_BACKOFF}ms')"


def _milliseconds(cel: str) -> str:
    return f"duration({cel}).getMilliseconds()"


def _tries_once_with_try_timeout(spec: PolicySpec) -> bool:
    return bool(spec.timeouts and spec.timeouts.per_try and spec.retries and spec.retries.attempts == 0)


def _leaves_time(spec: PolicySpec) -> bool:
    """Whether every attempt can take its whole bound, with the first wait before each retry."""
    timeouts, retries = spec.timeouts, spec.retries or Retries()
    if timeouts is None or timeouts.request is None or timeouts.per_try is None:
        return True
    if parse_duration(timeouts.per_try) > parse_duration(timeouts.request):
        return True  # that has a rule of its own
    wait = parse_duration(retries.backoff.initial) if retries.backoff else ENVOY_BACKOFF
    needed = parse_duration(timeouts.per_try) * (retries.attempts + 1) + wait * retries.attempts
    return needed <= parse_duration(timeouts.request)


def _hedges_without_bound(spec: PolicySpec) -> bool:
    hedged = spec.retries is not None and spec.retries.hedge_on_per_try_timeout
    return hedged and (spec.timeouts is None or spec.timeouts.per_try is None)


def _fails_over_blindly(spec: PolicySpec) -> bool:
    balancing = spec.load_balancing
    return balancing is not None and balancing.locality_failover is not None and spec.circuit_breaker is None


def _needs_hosts(spec: PolicySpec) -> Iterator[str]:
    """Yield what only gateways do and is asked for where there are no hosts."""
    if spec.hosts:
        return
    yield from ["rateLimits"] if spec.rate_limits else []
    yield from ["errorFormat"] if spec.error_format else []
    yield from ["accessLog"] if spec.access_log else []
    yield from ["timeouts.deadlineHeader"] if spec.timeouts and spec.timeouts.deadline_header else []


def _same_key(spec: PolicySpec) -> Iterator[str]:
    keys = [(limit.key_header or "").lower() for limit in spec.rate_limits or ()]
    return (f"rateLimits[{index}].keyHeader" for index in repeated(keys))


_KEY = "(has({0}.keyHeader) ? {0}.keyHeader.lowerAscii() : '')"

BETWEEN_BLOCKS: tuple[Rule[PolicySpec], ...] = (
    Rule(
        "!has(self.timeouts) || !has(self.timeouts.perTry) || !has(self.retries) || !has(self.retries.attempts) || "
        "self.retries.attempts > 0",
        "spec.timeouts.perTry has no effect with spec.retries.attempts 0: "
        "set timeouts.request instead, or raise attempts",
        unless(lambda spec: not _tries_once_with_try_timeout(spec), "timeouts.perTry"),
        "timeouts",
    ),
    Rule(
        # What is no duration, or out of order, has its own error.
        "!has(self.timeouts) || !has(self.timeouts.perTry) || !has(self.timeouts.request) || "
        f"!self.timeouts.perTry.matches({_DURATION}) || !self.timeouts.request.matches({_DURATION}) || "
        f"!{_INITIAL}.matches({_DURATION}) || duration(self.timeouts.perTry) > duration(self.timeouts.request) || "
        f"{_milliseconds('self.timeouts.perTry')} * ({_ATTEMPTS} + 1) + {_milliseconds(_INITIAL)} * {_ATTEMPTS} <= "
        f"{_milliseconds('self.timeouts.request')}",
        "spec.timeouts.request leaves no time for every attempt: it must be at least (attempts + 1) x perTry + "
        f"attempts x backoff.initial (attempts: {DEFAULT_ATTEMPTS} unless set, initial: {ENVOY_BACKOFF}ms unless set); "
        "raise request, or lower perTry or attempts",
        unless(_leaves_time, "timeouts.request"),
        "timeouts",
    ),
    Rule(
        "!has(self.retries) || !has(self.retries.hedgeOnPerTryTimeout) || !self.retries.hedgeOnPerTryTimeout || "
        "(has(self.timeouts) && has(self.timeouts.perTry))",
        "spec.retries.hedgeOnPerTryTimeout needs spec.timeouts.perTry, after which the next attempt starts: "
        "set perTry, or remove it",
        unless(lambda spec: not _hedges_without_bound(spec), "retries.hedgeOnPerTryTimeout"),
        "retries",
    ),
    Rule(
        "!has(self.loadBalancing) || !has(self.loadBalancing.localityFailover) || has(self.circuitBreaker)",
        "spec.loadBalancing.localityFailover needs spec.circuitBreaker, by which lost replicas are found: "
        "set circuitBreaker (an empty block has defaults), or remove localityFailover",
        unless(lambda spec: not _fails_over_blindly(spec), "loadBalancing.localityFailover"),
        "loadBalancing",
    ),
    Rule(
        "has(self.hosts) || (!has(self.rateLimits) && !has(self.errorFormat) && !has(self.accessLog) && "
        "(!has(self.timeouts) || !has(self.timeouts.deadlineHeader)))",
        "rateLimits, errorFormat, accessLog and timeouts.deadlineHeader are done by gateways: set spec.hosts, "
        "or remove them",
        _needs_hosts,
    ),
    Rule(
        "!has(self.rateLimits) || !has(self.pathPrefix) || self.pathPrefix == '/'",
        "spec.rateLimits needs spec.pathPrefix /, since Envoy keeps one bucket for a whole host: remove one of the two",
        unless(lambda spec: spec.rate_limits is None or spec.path_prefix == "/", "rateLimits"),
        "rateLimits",
    ),
    Rule(
        "!has(self.rateLimits) || self.rateLimits.all(r, self.rateLimits.exists_one(x, "
        f"{_KEY.format('x')} == {_KEY.format('r')}))",
        "rateLimits must have one entry at most for each keyHeader, and one without: remove the others",
        _same_key,
        "rateLimits",
    ),
)
