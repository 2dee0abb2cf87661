"""From an object as a user wrote it to the policy that the core decides on, or to what is wrong with it.

The engine calls :func:`load` for what the API server has, the command line for files.  This is the only place that
knows the defaults; nothing here looks at the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from aigateway.api import reasons
from aigateway.api.administrator import Administrator
from aigateway.api.problems import MOST_PROBLEMS, Problem, Rejection, from_pydantic
from aigateway.api.resolve_resilience import (
    circuit_breaker,
    connection_pool,
    load_balancing,
    rate_limit,
    retries,
    timeouts,
)
from aigateway.api.resolved import (
    AccessLog,
    Autoscaling,
    Backend,
    CPURule,
    HeaderMatch,
    LatencyRule,
    Match,
    MeshService,
    Milliseconds,
    PolicyKey,
    QueueLengthRule,
    RequestRateRule,
    ResolvedPolicy,
    Route,
    Rule,
    ScaleUp,
    WorkloadKind,
    WorkloadRef,
)
from aigateway.api.rules import broken
from aigateway.api.types import parse_duration
from aigateway.api.v1alpha1 import AIGatewayPolicy, PolicySpec, policy, routing, scaling

DEFAULT_MIN_REPLICAS = 1
DEFAULT_STABILIZATION: Milliseconds = parse_duration("10m")


def load(raw: Mapping[str, Any], administrator: Administrator) -> ResolvedPolicy | Rejection:
    """Return the resolved policy, or why it cannot be in effect."""
    parsed = parse(raw)
    return resolve(parsed, administrator) if isinstance(parsed, AIGatewayPolicy) else parsed


def parse(raw: Mapping[str, Any]) -> AIGatewayPolicy | Rejection:
    """Return the model of ``raw``, or everything that is wrong with its shape, or else with its rules."""
    try:
        parsed = AIGatewayPolicy.model_validate(_without_nulls(raw))
    except ValidationError as error:
        return _invalid(from_pydantic(AIGatewayPolicy, error.errors(include_url=False)))
    problems = tuple(broken(parsed))
    return _invalid(problems) if problems else parsed


def resolve(parsed: AIGatewayPolicy, administrator: Administrator) -> ResolvedPolicy | Rejection:
    """Return the policy with every default filled in; it is refused where hosts have no gateway at all."""
    spec = parsed.spec
    gateways = _gateways(spec, administrator)
    if spec.hosts and not gateways:
        return Rejection(reasons.NO_GATEWAY, (Problem("spec.gateways", _NO_GATEWAY),))
    ungranted = tuple(_ungranted(parsed, gateways, administrator))
    if ungranted:
        return Rejection(reasons.NOT_GRANTED, ungranted[:MOST_PROBLEMS])
    return ResolvedPolicy(
        key=PolicyKey(parsed.metadata.namespace, parsed.metadata.name),
        uid=parsed.metadata.uid,
        generation=parsed.metadata.generation,
        created=parsed.metadata.creation_timestamp,
        suspend=spec.suspend,
        hosts=spec.hosts or (),
        path_prefix=spec.path_prefix,
        gateways=gateways,
        service=MeshService(spec.service.name, spec.service.port) if spec.service else None,
        backends=tuple(_backend(backend, spec) for backend in spec.backends),
        routes=tuple(_route(route) for route in spec.routes),
        timeouts=timeouts(spec.timeouts),
        retries=retries(spec.retries),
        connection_pool=connection_pool(spec.connection_pool),
        circuit_breaker=circuit_breaker(spec.circuit_breaker),
        load_balancing=load_balancing(spec.load_balancing),
        rate_limits=tuple(rate_limit(limit) for limit in spec.rate_limits or ()),
        error_format=spec.error_format,
        access_log=spec.access_log or AccessLog.NONE,
    )


_NO_GATEWAY = (
    "is required with hosts, since the operator has no default gateway: "
    "set it, or ask the administrator to set a default gateway"
)


def _ungranted(parsed: AIGatewayPolicy, gateways: tuple[str, ...], administrator: Administrator) -> Iterator[Problem]:
    """Yield every host that the administrator does not let this namespace serve on one of its gateways."""
    namespace = parsed.metadata.namespace
    for index, host in enumerate(parsed.spec.hosts or ()):
        for gateway in gateways:
            if not administrator.may_use(namespace, gateway, host):
                message = (
                    f"namespace {namespace} may not serve {host} on gateway {gateway}: "
                    "use a host and gateway that are granted to it, or ask the administrator for a grant"
                )
                yield Problem(f"spec.hosts[{index}]", message)
        if parsed.spec.rate_limits and not administrator.may_limit(namespace, host):
            message = (
                f"namespace {namespace} has no grant for {host}, which rate limits need on gateways of its own, too: "
                "remove spec.rateLimits, or ask the administrator for a grant"
            )
            yield Problem("spec.rateLimits", message)


def _invalid(problems: tuple[Problem, ...]) -> Rejection:
    return Rejection(reasons.INVALID, problems[:MOST_PROBLEMS])


def _without_nulls(value: object) -> Any:  # noqa: ANN401 - JSON in, JSON out
    """Return JSON with every null member left out, as the API server does before it validates."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _gateways(spec: PolicySpec, administrator: Administrator) -> tuple[str, ...]:
    default = (administrator.default_gateway,) if spec.hosts and administrator.default_gateway else ()
    return spec.gateways or default


def _backend(backend: policy.Backend, spec: PolicySpec) -> Backend:
    reference = backend.scale_target_ref
    return Backend(
        name=backend.name,
        service=backend.service.name,
        port=backend.service.port,
        workload=WorkloadRef(reference.kind, reference.name)
        if reference
        else WorkloadRef(WorkloadKind.DEPLOYMENT, backend.service.name),
        # Only a lone backend may leave its weight out.
        weight=100 if backend.weight is None else backend.weight,
        autoscaling=_autoscaling(spec.autoscaling, backend.autoscaling),
    )


def _autoscaling(common: scaling.Autoscaling | None, own: scaling.BackendAutoscaling | None) -> Autoscaling | None:
    """Return how one backend scales: each field from its own block, else from the common one, else the default."""

    def first(field: str) -> Any:  # noqa: ANN401 - the two models declare the same types for the same field
        return next((value for block in (own, common) if (value := getattr(block, field, None)) is not None), None)

    if common is None and own is None:
        return None
    scale_up, scale_down = first("scale_up"), first("scale_down") or scaling.ScaleDown()
    return Autoscaling(
        min_replicas=first("min_replicas") or DEFAULT_MIN_REPLICAS,
        max_replicas=first("max_replicas"),
        rules=tuple(_rule(rule) for rule in first("rules")),
        scale_up=ScaleUp(scale_up.max_add_replicas, parse_duration(scale_up.period)) if scale_up else None,
        scale_down_stabilization=_stabilization(scale_down),
    )


def _stabilization(scale_down: scaling.ScaleDown) -> Milliseconds:
    return DEFAULT_STABILIZATION if scale_down.stabilization is None else parse_duration(scale_down.stabilization)


def _rule(rule: scaling.ScalingRule) -> Rule:
    if rule.request_rate:
        return RequestRateRule(rule.request_rate.target_per_replica)
    if rule.latency:
        return LatencyRule(rule.latency.percentile, parse_duration(rule.latency.threshold))
    if rule.queue_length:
        return QueueLengthRule(rule.queue_length.total)
    if rule.cpu:
        return CPURule(rule.cpu.utilization_percent)
    message = f"a scaling rule without a member passed the rules: {rule!r}"
    raise AssertionError(message)


def _route(route: routing.Route) -> Route:
    return Route(route.name, tuple(_match(match) for match in route.matches), route.backend)


def _match(match: routing.RouteMatch) -> Match:
    headers = (HeaderMatch(header.name.lower(), header.exact, header.prefix) for header in match.headers or ())
    return Match(tuple(headers), match.method, match.path_prefix)
