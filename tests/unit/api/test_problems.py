"""A mistake is told by its place in the YAML and in words that say what to do; a huge one stays readable."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from aigateway.api import reasons
from aigateway.api.model import Model
from aigateway.api.problems import Problem, Rejection, from_pydantic, join
from aigateway.api.v1alpha1 import PolicySpec
from tests.policies import Raw, change, valid


def _problems(model: type[Model], raw: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(raw)
    return [str(problem) for problem in from_pydantic(model, caught.value.errors())]


def _spec(changes: Raw) -> Raw:
    spec: Raw = change(valid(), {f"spec.{path}": value for path, value in changes.items()})["spec"]
    return spec


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"backend": []}, "backend: unknown field, did you mean backends?", id="misspelt on top"),
        pytest.param(
            {"backends[1].wieght": 1},
            "backends[1].wieght: unknown field, did you mean weight?",
            id="misspelt in a list",
        ),
        pytest.param(
            {"backends[1].autoscaling.minreplicas": 1},
            "backends[1].autoscaling.minreplicas: unknown field, did you mean minReplicas?",
            id="misspelt in an override",
        ),
        pytest.param({"canary": True}, "canary: unknown field", id="nothing like it"),
        pytest.param({"x" * 99: 1}, f"{'x' * 64}…: unknown field", id="a long name is cut"),
        pytest.param(
            {"suspend": "x" * 99}, f'suspend: must be true or false, not "{"x" * 63}…', id="a long value is cut"
        ),
        pytest.param(
            {"suspend": {"a": 1}}, "suspend: must be true or false, not an object", id="an object is named so"
        ),
        pytest.param({"suspend": []}, "suspend: must be true or false, not a list", id="a list is named so"),
        pytest.param({"suspend": "{ge}"}, 'suspend: must be true or false, not "{ge}"', id="braces are only a value"),
    ],
)
def test_a_problem_names_place_and_remedy(changes: Raw, problem: str) -> None:
    """The path is the one in the YAML; unknown fields come with the field that was probably meant."""
    found = _problems(PolicySpec, _spec(changes))

    assert [problem] == found


def test_an_error_without_words_of_ours_keeps_pydantics() -> None:
    """A kind of error that nobody wrote a sentence for is still told."""
    assert ["[1]: Keys should be strings"] == _problems(PolicySpec, {**valid()["spec"], 1: 2})


def test_a_list_that_is_too_long_is_told_first() -> None:
    """Whoever wrote too many wants to know that before the details of each."""
    found = _problems(PolicySpec, _spec({"suspend": 1, "gateways": [f"a/g{i}" for i in range(5)]}))

    assert ["gateways: must have at most 4 items, not 5", "suspend: must be true or false, not 1"] == found


def test_a_list_of_wrong_items_is_not_called_empty() -> None:
    """Only the items are wrong; the list has some."""
    found = _problems(PolicySpec, _spec({"gateways": [1]}))

    assert ["gateways[0]: must be a string, not 1"] == found


def test_a_rejection_reads_as_one_line() -> None:
    """Conditions and the command line show every problem with its place."""
    rejection = Rejection(reasons.INVALID, (Problem("spec.hosts", "is wrong"), Problem("", "so is the whole")))

    assert "spec.hosts: is wrong; so is the whole" == str(rejection)


@pytest.mark.parametrize(
    ("path", "step", "joined"),
    [
        pytest.param("", "spec", "spec", id="the first step"),
        pytest.param("spec", "hosts", "spec.hosts", id="a member"),
        pytest.param("spec.hosts", 1, "spec.hosts[1]", id="an item"),
        pytest.param("spec", "backends[1].weight", "spec.backends[1].weight", id="several steps"),
    ],
)
def test_paths_are_written_as_kubernetes_does(path: str, step: str | int, joined: str) -> None:
    """Members after a dot, items in brackets."""
    assert joined == join(path, step)
