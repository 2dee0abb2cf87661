"""``aigateway render`` on files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from aigateway.cli.render import render

POLICY: dict[str, Any] = {
    "apiVersion": "aigateway.dev/v1alpha1",
    "kind": "AIGatewayPolicy",
    "metadata": {"name": "chat", "namespace": "models"},
    "spec": {"hosts": ["ai.example.com"], "backends": [{"name": "v1", "service": {"name": "chat-v1"}}]},
}


def run(*documents: Any, args: tuple[str, ...] = ()) -> Result:
    """Render documents from standard input."""
    return CliRunner().invoke(render, ["-f", "-", *args], input=yaml.safe_dump_all(documents))


def test_prints_objects_as_yaml() -> None:
    """The text is what could be applied."""
    result = run(POLICY)

    assert 0 == result.exit_code
    assert [("VirtualService", "chat-gateway", "models")] == [
        (body["kind"], body["metadata"]["name"], body["metadata"]["namespace"])
        for body in yaml.safe_load_all(result.stdout)
    ]


def test_prints_a_list_as_json() -> None:
    """JSON is one List, for jq and kubectl."""
    assert ["VirtualService"] == [body["kind"] for body in json.loads(run(POLICY, args=("-o", "json")).stdout)["items"]]


def test_same_file_same_text() -> None:
    """A review compares two renderings, so nothing in them is random."""
    assert run(POLICY).stdout == run(POLICY).stdout


def test_policies_in_a_list_and_beside_other_kinds_are_found() -> None:
    """Files from kubectl get or kustomize work as they are."""
    other = {**POLICY, "metadata": {"name": "other"}}
    result = run({"kind": "ConfigMap"}, None, {"kind": "List", "items": [POLICY, other]}, args=("-n", "team"))

    assert {("chat-gateway", "models"), ("other-gateway", "team")} == {
        (body["metadata"]["name"], body["metadata"]["namespace"]) for body in yaml.safe_load_all(result.stdout)
    }


def test_invalid_policy_is_named_and_the_others_are_printed() -> None:
    """One bad policy spoils the exit code, not the output of the others."""
    bad = {**POLICY, "metadata": {"name": "bad"}, "spec": {**POLICY["spec"], "hostz": []}}
    result = run(bad, POLICY)

    assert 1 == result.exit_code
    assert "default/bad: spec.hostz: unknown field, did you mean hosts?" in result.stderr
    assert "chat-gateway" in result.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("kind: ConfigMap", "no AIGatewayPolicy (aigateway.dev/v1alpha1) in", id="no-policy"),
        pytest.param("a: [", "is not YAML", id="not-yaml"),
    ],
)
def test_useless_file_is_an_error(text: str, said: str, tmp_path: Path) -> None:
    """A file without a policy is a mistake of the caller, told in a sentence."""
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    result = CliRunner().invoke(render, ["-f", str(file)])

    assert 1 == result.exit_code
    assert said in result.stderr


def test_envoy_filters_are_printed_where_they_are_allowed() -> None:
    """By default none are; with the operator's own flag, those for each namespace of gateways."""
    spec = {**POLICY["spec"], "timeouts": {"idle": "1m"}}
    asking = {**POLICY, "spec": spec}

    def places(*args: str) -> list[str]:
        bodies = yaml.safe_load_all(run(asking, args=args).stdout)
        return [body["metadata"]["namespace"] for body in bodies if body["kind"] == "EnvoyFilter"]

    assert [] == places()
    assert ["istio-system", "edge"] == places("--allow-envoy-filter", "istio-system", "--allow-envoy-filter", "edge")
