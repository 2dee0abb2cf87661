"""``aigateway lint`` on files: what it says, where, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from aigateway.cli.lint import lint

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "manifests" / "examples").glob("*/policy.yaml"))

GOOD = """\
apiVersion: aigateway.dev/v1alpha1
kind: AIGatewayPolicy
metadata:
  name: chat
  namespace: models
spec:
  hosts: [ai.example.com]
  backends:
  - name: v1
    service: {name: chat-v1}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of the test's own, so that messages name files without it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder: Path, *texts: str, args: tuple[str, ...] = ()) -> Result:
    """Check each text as a file, the first as a.yaml."""
    names = [f"{chr(ord('a') + number)}.yaml" for number in range(len(texts))]
    for name, text in zip(names, texts, strict=True):
        (folder / name).write_text(text)
    return CliRunner().invoke(lint, ["-f", *names, *args])


def test_a_good_file_has_no_problem(folder: Path) -> None:
    """Nothing wrong: nothing on stdout, exit code 0."""
    result = run(folder, GOOD)

    assert (0, "", "1 policy, no problem\n") == (result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize("path", [pytest.param(path, id=path.parent.name) for path in EXAMPLES])
def test_an_example_has_no_problem(path: Path) -> None:
    """What we show as an example passes our own linter."""
    assert 0 == CliRunner().invoke(lint, ["-f", str(path)]).exit_code


NAMESAKE = GOOD.replace("ai.example.com", "other.example.com")
NEIGHBOUR = GOOD.replace("name: chat\n", "name: other\n")
SAME_GATEWAY = GOOD.replace("spec:", "spec:\n  gateways: [istio-system/ai]")


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        pytest.param(
            [GOOD.replace("hosts", "hostz")],
            ["a.yaml:7: models/chat: spec.hostz: unknown field, did you mean hosts?"],
            id="unknown-field",
        ),
        pytest.param(
            [GOOD.replace("    service: {name: chat-v1}\n", "")],
            ["a.yaml:9: models/chat: spec.backends[0].service: is required"],
            id="missing-field-at-its-parent",
        ),
        pytest.param(
            [GOOD + "  retries: {attempts: 11}\n  timeouts: {request: soon}\n"],
            [
                "a.yaml:11: models/chat: spec.retries.attempts: must be at most 10, not 11",
                "a.yaml:12: models/chat: spec.timeouts.request: must be a duration",
            ],
            id="every-problem",
        ),
        pytest.param(
            [GOOD + "---\n" + GOOD.replace("spec:", "spec:\n  service: 3")],
            [
                "a.yaml:15: models/chat: metadata.name: a.yaml:1 has a policy of the same name",
                "a.yaml:18: models/chat: spec.service: must be an object, not 3",
            ],
            id="second-document",
        ),
        pytest.param(
            [GOOD, NAMESAKE],
            ["b.yaml:4: models/chat: metadata.name: a.yaml:1 has a policy of the same name"],
            id="same-name",
        ),
        pytest.param(
            [GOOD, NEIGHBOUR],
            [
                "b.yaml:6: models/other: spec: host ai.example.com on gateway (the operator's)/(default) is claimed by",
            ],
            id="same-host-on-the-default-gateway",
        ),
        pytest.param([SAME_GATEWAY, NEIGHBOUR], [], id="same-host-on-another-gateway"),
        pytest.param(
            [GOOD + "  pathPrefix: /a\n", NEIGHBOUR + "  pathPrefix: /b\n"], [], id="same-host-on-other-paths"
        ),
        pytest.param(
            [GOOD + "  hosts: [b.example.com]\n"],
            ["a.yaml:11: models/chat: the field hosts is there twice and only the last one counts: remove one"],
            id="repeated-key",
        ),
        pytest.param([GOOD, "a: ]"], ["b.yaml:1: not YAML: "], id="not-yaml"),
        pytest.param(
            ["kind: AIGatewayPolicy\nmetadata: [x]\n"],
            ["a.yaml:1: default/: apiVersion: is required"],
            id="hardly-a-policy",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(folder: Path, texts: list[str], said: list[str]) -> None:
    """Every mistake is a line of stdout: where it is, what is wrong, what to do; and the exit code is 1."""
    result = run(folder, *texts)
    lines = result.stdout.splitlines()

    assert bool(said) == result.exit_code
    assert [] == [
        (begin, line) for begin, line in zip(said, lines[: len(said)], strict=True) if not line.startswith(begin)
    ]


def test_the_default_gateway_counts_where_it_is_given(folder: Path) -> None:
    """With the operator's default gateway named, a policy without gateways collides with one that names it."""
    result = run(folder, SAME_GATEWAY, NEIGHBOUR, args=("--default-gateway", "istio-system/ai"))

    assert 1 == result.exit_code
    assert "host ai.example.com on gateway istio-system/ai is claimed by models/chat" in result.stdout


@pytest.mark.parametrize(("output", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_findings_as_data(folder: Path, output: str, load: object) -> None:
    """Scripts get every part of a finding by its name."""
    result = run(folder, GOOD.replace("hosts", "hostz"), args=("-o", output))

    assert callable(load)
    assert 1 == result.exit_code
    assert {
        "policies": 1,
        "findings": [
            {
                "file": "a.yaml",
                "line": 7,
                "policy": "models/chat",
                "field": "spec.hostz",
                "reason": "Invalid",
                "message": "unknown field, did you mean hosts?",
            }
        ],
    } == load(result.stdout)


def test_files_without_a_policy_are_a_mistake_of_the_caller(folder: Path) -> None:
    """A check that checked nothing does not pass."""
    result = run(folder, "kind: ConfigMap")

    assert 1 == result.exit_code
    assert "no AIGatewayPolicy (aigateway.dev/v1alpha1) in a.yaml" in result.stderr
