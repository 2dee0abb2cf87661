"""Every cross-field rule finds its mistake, at its place, in its words, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from aigateway.api.problems import Problem, Rejection
from aigateway.api.resolve import parse
from aigateway.api.rules import RULES, Rule, broken
from aigateway.api.v1alpha1 import AIGatewayPolicy
from tests.mistakes import MISTAKES, RELATIONS, Mistake
from tests.policies import GONE, change, largest, valid

EVERY_RULE = [(model, rule) for model, rules in RULES.items() for rule in rules]


@pytest.mark.parametrize("mistake", [pytest.param(mistake, id=name) for name, mistake in MISTAKES.items()])
def test_a_mistake_is_the_only_problem(mistake: Mistake) -> None:
    """One mistake gives one problem, with the path and the message that the table gives."""
    parsed = parse(mistake.raw())

    assert isinstance(parsed, Rejection)
    assert (Problem(mistake.at, mistake.message),) == parsed.problems


@pytest.mark.parametrize(
    "raw", [pytest.param(valid(), id="every part of the API"), pytest.param(largest(), id="every bound at once")]
)
def test_a_valid_policy_breaks_no_rule(raw: dict[str, Any]) -> None:
    """A policy without mistakes is a model, and no rule complains."""
    parsed = parse(raw)

    assert isinstance(parsed, AIGatewayPolicy)
    assert [] == list(broken(parsed))


@pytest.mark.parametrize(
    "rule", [pytest.param(rule, id=f"{model.__name__}: {rule.message[:60]}") for model, rule in EVERY_RULE]
)
def test_every_rule_has_a_mistake_that_breaks_it(rule: Rule[Any]) -> None:
    """A rule that no row of the table breaks would be one that nobody has seen at work."""
    assert rule.message in {mistake.message for mistake in RELATIONS.values()}


@pytest.mark.parametrize(
    ("model", "rule"),
    [pytest.param(model, rule, id=f"{model.__name__}: {rule.message[:60]}") for model, rule in EVERY_RULE],
)
def test_a_rule_names_a_field_of_its_model(model: type[Any], rule: Rule[Any]) -> None:
    """The place that the API server's error names exists, and the CEL starts from the object itself."""
    assert rule.field in {"", *(info.alias for info in model.model_fields.values())}
    assert re.search(r"\bself\b", rule.cel)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"spec.hosts": ["*.example.com", "example.com"]}, id="a wildcard does not cover its own domain"),
        pytest.param({"spec.hosts": ["*.a.example", "b.a.example.com"]}, id="a wildcard covers whole endings only"),
        pytest.param({"spec.routes[1].matches[0].pathPrefix": "/v1"}, id="a match may be the policy's own path"),
        pytest.param({"spec.pathPrefix": "/"}, id="every path lies within the root"),
        pytest.param({"spec.timeouts.request": "40600ms"}, id="just time for every try and the first waits"),
        pytest.param(
            {"spec.retries": GONE, "spec.timeouts": {"request": "3050ms", "perTry": "1s"}}, id="and by default"
        ),
        pytest.param(
            {"spec.pathPrefix": "/", "spec.rateLimits": [{"name": "all", "requests": 9, "burst": 9}]},
            id="a burst of one interval",
        ),
        pytest.param({"spec.circuitBreaker": {}}, id="a breaker with its defaults"),
        pytest.param({"spec.retries.idempotency": {}}, id="hedging of idempotent methods"),
        pytest.param({"spec.loadBalancing": {"consistentHash": {"header": "x-session"}}}, id="a hash"),
        pytest.param(
            {"spec.backends[1]": GONE, "spec.routes[0]": GONE, "spec.backends[0].weight": GONE}, id="one backend"
        ),
        pytest.param({"spec.backends[0].weight": 100, "spec.backends[1].weight": 0}, id="a backend without traffic"),
        pytest.param({"spec.routes": []}, id="no routes"),
        pytest.param({"spec.routes[0].backend": GONE}, id="a route to the split"),
        pytest.param({"spec.retries.attempts": GONE}, id="the default attempts"),
        pytest.param({"spec.autoscaling.minReplicas": 20}, id="a fixed number of replicas"),
        pytest.param({"spec.backends[1].scaleTargetRef.name": "chat-v1"}, id="a StatefulSet named like a Deployment"),
        pytest.param(
            {"spec.service": {"name": "chat"}, "spec.pathPrefix": "/"}, id="gateway and mesh, the root path written out"
        ),
        pytest.param(
            {
                "spec.autoscaling": GONE,
                "spec.backends[1].autoscaling": {
                    "maxReplicas": 2,
                    "rules": [{"type": "CPU", "cpu": {"utilizationPercent": 70}}],
                },
            },
            id="a complete override alone",
        ),
    ],
)
def test_the_edge_of_a_rule_is_allowed(changes: dict[str, Any]) -> None:
    """What is only just allowed is not refused."""
    assert isinstance(parse(change(valid(), changes)), AIGatewayPolicy)


def test_several_mistakes_are_told_together() -> None:
    """Whoever corrects a policy sees everything that is wrong with how its fields fit, in one go."""
    parsed = parse(change(valid(), {"spec.backends[0].weight": 1, "spec.routes[0].backend": "v3"}))

    assert isinstance(parsed, Rejection)
    assert ["spec.backends", "spec.routes[0].backend"] == [problem.field for problem in parsed.problems]
