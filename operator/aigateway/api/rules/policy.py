"""Rules on the policy as a whole: what the parts of its spec owe each other, and its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from aigateway.api.model import Model
from aigateway.api.resolved import WorkloadKind
from aigateway.api.rules.blocks import BETWEEN_BLOCKS
from aigateway.api.rules.rule import Rule, repeated, unless
from aigateway.api.v1alpha1.policy import AIGatewayPolicy, Backend, PolicySpec

_NAME = "^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$"


def _within(path: str, prefix: str) -> bool:
    return prefix in ("/", path) or path.startswith(f"{prefix}/")


def _covered_hosts(spec: PolicySpec) -> Iterator[str]:
    suffixes = [host[1:] for host in spec.hosts or () if host.startswith("*.")]
    for index, host in enumerate(spec.hosts or ()):
        if any(host.endswith(suffix) and host != f"*{suffix}" for suffix in suffixes):
            yield f"hosts[{index}]"


def _weights_missing(spec: PolicySpec) -> Iterator[str]:
    if len(spec.backends) > 1:
        yield from (f"backends[{i}].weight" for i, backend in enumerate(spec.backends) if backend.weight is None)


def _weights_sum(spec: PolicySpec) -> bool:
    weights = [backend.weight for backend in spec.backends if backend.weight is not None]
    return len(weights) < len(spec.backends) or sum(weights) == 100  # noqa: PLR2004 - weights are percent


def _shared_services(spec: PolicySpec) -> Iterator[str]:
    return (f"backends[{i}].service.name" for i in repeated([backend.service.name for backend in spec.backends]))


def _workload(backend: Backend) -> tuple[WorkloadKind, str]:
    reference = backend.scale_target_ref
    return (reference.kind, reference.name) if reference else (WorkloadKind.DEPLOYMENT, backend.service.name)


def _shared_workloads(spec: PolicySpec) -> Iterator[str]:
    return (f"backends[{i}].scaleTargetRef" for i in repeated([_workload(backend) for backend in spec.backends]))


def _split_behind_itself(spec: PolicySpec) -> Iterator[str]:
    name = spec.service.name if spec.service else None
    return (f"backends[{i}].service.name" for i, b in enumerate(spec.backends) if b.service.name == name)


def _unknown_backends(spec: PolicySpec) -> Iterator[str]:
    known = {backend.name for backend in spec.backends}
    return (
        f"routes[{i}].backend" for i, r in enumerate(spec.routes) if r.backend is not None and r.backend not in known
    )


def _paths_outside(spec: PolicySpec) -> Iterator[str]:
    for i, route in enumerate(spec.routes):
        for j, match in enumerate(route.matches):
            if match.path_prefix is not None and not _within(match.path_prefix, spec.path_prefix):
                yield f"routes[{i}].matches[{j}].pathPrefix"


def _repeated_routes(spec: PolicySpec) -> Iterator[str]:
    return (f"routes[{i}].name" for i in repeated([route.name for route in spec.routes]))


def _incomplete_scaling(spec: PolicySpec) -> Iterator[str]:
    if spec.autoscaling is None:
        for index, backend in enumerate(spec.backends):
            own = backend.autoscaling
            if own and (own.max_replicas is None or own.rules is None):
                yield f"backends[{index}].autoscaling"


def _crossed_bounds(spec: PolicySpec) -> Iterator[str]:
    common = spec.autoscaling
    for index, backend in enumerate(spec.backends if common else ()):
        own = backend.autoscaling
        if common and own and not (own.min_replicas and own.max_replicas):  # both: the block's own rule compares them
            low = own.min_replicas or common.min_replicas or 1
            if low > (own.max_replicas or common.max_replicas):
                yield f"backends[{index}].autoscaling"


_TARGET = (
    "(has({0}.scaleTargetRef) ? {0}.scaleTargetRef.kind + '/' + {0}.scaleTargetRef.name "
    ": 'Deployment/' + {0}.service.name)"
)
_LOW = (
    "(has(b.autoscaling.minReplicas) ? b.autoscaling.minReplicas : "
    "has(self.autoscaling.minReplicas) ? self.autoscaling.minReplicas : 1)"
)
_HIGH = "(has(b.autoscaling.maxReplicas) ? b.autoscaling.maxReplicas : self.autoscaling.maxReplicas)"

_SPEC: tuple[Rule[PolicySpec], ...] = (
    Rule(
        "has(self.hosts) || has(self.service)",
        "spec.hosts or spec.service is required: set hosts for traffic through a gateway, service for the mesh's own",
        unless(lambda spec: bool(spec.hosts or spec.service)),
    ),
    Rule(
        "!has(self.hosts) || self.hosts.all(h, !h.startsWith('*.') || "
        "self.hosts.all(x, x == h || !x.endsWith(h.substring(1))))",
        "spec.hosts must not list a host that a wildcard in the list covers: remove one of the two",
        _covered_hosts,
        "hosts",
    ),
    Rule(
        "!has(self.gateways) || has(self.hosts)",
        "spec.gateways needs spec.hosts: set hosts, or remove gateways where only spec.service is meant",
        unless(lambda spec: not spec.gateways or bool(spec.hosts), "gateways"),
        "gateways",
    ),
    Rule(
        "!has(self.service) || !has(self.pathPrefix) || self.pathPrefix == '/'",
        "spec.pathPrefix cannot be combined with spec.service, whose traffic is split whole: remove one, "
        "or use two policies",
        unless(lambda spec: spec.service is None or spec.path_prefix == "/", "pathPrefix"),
        "pathPrefix",
    ),
    Rule(
        "size(self.backends) == 1 || self.backends.all(b, has(b.weight))",
        "each of several backends needs a weight; set weight on each so that they sum to 100",
        _weights_missing,
        "backends",
    ),
    Rule(
        "!self.backends.all(b, has(b.weight)) || self.backends.map(b, b.weight).sum() == 100",
        "weights must sum to 100; correct them (a lone backend needs no weight)",
        unless(_weights_sum, "backends"),
        "backends",
    ),
    Rule(
        "self.backends.all(b, self.backends.exists_one(x, x.service.name == b.service.name))",
        "each backend needs a Service of its own; give each version of the model its own Service",
        _shared_services,
        "backends",
    ),
    Rule(
        f"self.backends.all(b, self.backends.exists_one(x, {_TARGET.format('x')} == {_TARGET.format('b')}))",
        "each backend needs a workload of its own; correct scaleTargetRef (default: the Deployment named like "
        "the Service)",
        _shared_workloads,
        "backends",
    ),
    Rule(
        "!has(self.service) || self.backends.all(b, b.service.name != self.service.name)",
        "spec.service cannot be the Service of a backend, which would be split behind itself; "
        "use another Service for the in-mesh name",
        _split_behind_itself,
        "backends",
    ),
    Rule(
        "!has(self.routes) || self.routes.all(r, !has(r.backend) || self.backends.exists(b, b.name == r.backend))",
        "backend must be the name of one of spec.backends; correct it, or leave it out for the weighted split",
        _unknown_backends,
        "routes",
    ),
    Rule(
        "!has(self.routes) || self.routes.all(r, self.routes.exists_one(x, x.name == r.name))",
        "each route needs a name of its own; rename one",
        _repeated_routes,
        "routes",
    ),
    Rule(
        "!has(self.routes) || !has(self.pathPrefix) || self.pathPrefix == '/' || self.routes.all(r, r.matches.all(m, "
        "!has(m.pathPrefix) || m.pathPrefix == self.pathPrefix || m.pathPrefix.startsWith(self.pathPrefix + '/')))",
        "the pathPrefix of a match must lie within spec.pathPrefix, which it extends; write the whole path",
        _paths_outside,
        "routes",
    ),
    Rule(
        "has(self.autoscaling) || self.backends.all(b, !has(b.autoscaling) || "
        "(has(b.autoscaling.maxReplicas) && has(b.autoscaling.rules)))",
        "without spec.autoscaling a backend's autoscaling needs maxReplicas and rules; set both",
        _incomplete_scaling,
        "backends",
    ),
    Rule(
        f"!has(self.autoscaling) || self.backends.all(b, !has(b.autoscaling) || "
        "(has(b.autoscaling.minReplicas) && has(b.autoscaling.maxReplicas)) || "
        f"{_LOW} <= {_HIGH})",
        "with spec.autoscaling applied, a backend's minReplicas is above its maxReplicas; change one of them",
        _crossed_bounds,
        "backends",
    ),
)

_POLICY: tuple[Rule[AIGatewayPolicy], ...] = (
    Rule(
        f"self.metadata.name.matches('{_NAME}')",
        "metadata.name must be at most 40 lower-case letters, digits and hyphens, since generated objects are named "
        "after it: choose a shorter or simpler name",
        unless(lambda policy: bool(re.fullmatch(_NAME, policy.metadata.name)), "metadata.name"),
    ),
)

POLICY: Mapping[type[Model], tuple[Rule[Any], ...]] = {PolicySpec: (*_SPEC, *BETWEEN_BLOCKS), AIGatewayPolicy: _POLICY}
