"""Rules on how backends scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aigateway.api.model import Model
from aigateway.api.rules.rule import Rule, unless
from aigateway.api.v1alpha1.scaling import Autoscaling, BackendAutoscaling, ScalingRule

_MEMBER_OF_TYPE = {"RequestRate": "requestRate", "Latency": "latency", "QueueLength": "queueLength", "CPU": "cpu"}


def _has_its_member(rule: ScalingRule) -> bool:
    present = {
        "RequestRate": rule.request_rate,
        "Latency": rule.latency,
        "QueueLength": rule.queue_length,
        "CPU": rule.cpu,
    }
    return all((kind == rule.type) == (member is not None) for kind, member in present.items())


def _ordered_bounds(scaling: Autoscaling | BackendAutoscaling) -> bool:
    low, high = scaling.min_replicas, scaling.max_replicas
    return low is None or high is None or low <= high


def _latency_has_partner(scaling: Autoscaling | BackendAutoscaling) -> bool:
    types = {rule.type for rule in scaling.rules or ()}
    return "Latency" not in types or bool(types & {"RequestRate", "QueueLength"})


_BOUNDS: Rule[Any] = Rule(
    "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
    "minReplicas must not be above maxReplicas: lower minReplicas or raise maxReplicas",
    unless(_ordered_bounds, "minReplicas"),
    "minReplicas",
)
_PARTNER: Rule[Any] = Rule(
    "!has(self.rules) || !self.rules.exists(r, r.type == 'Latency') || "
    "self.rules.exists(r, r.type == 'RequestRate' || r.type == 'QueueLength')",
    "a Latency rule needs a RequestRate or QueueLength rule beside it, since latency alone cannot tell how many "
    "replicas are needed: add one",
    unless(_latency_has_partner, "rules"),
    "rules",
)

SCALING: Mapping[type[Model], tuple[Rule[Any], ...]] = {
    ScalingRule: (
        Rule[ScalingRule](
            " && ".join(f"(self.type == '{kind}') == has(self.{member})" for kind, member in _MEMBER_OF_TYPE.items()),
            "set the member that type names and no other: requestRate for type RequestRate, latency for Latency, "
            "queueLength for QueueLength, cpu for CPU",
            unless(_has_its_member),
        ),
    ),
    Autoscaling: (_BOUNDS, _PARTNER),
    BackendAutoscaling: (
        Rule[BackendAutoscaling](
            "has(self.minReplicas) || has(self.maxReplicas) || has(self.rules) || "
            "has(self.scaleUp) || has(self.scaleDown)",
            "a backend's autoscaling must set what differs from spec.autoscaling: set a field or remove it",
            unless(lambda scaling: scaling != BackendAutoscaling()),
        ),
        _BOUNDS,
        _PARTNER,
    ),
}
