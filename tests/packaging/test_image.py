"""The Dockerfile by rule: pinned, without root, without a shell in between, and of one mind with the chart."""

from __future__ import annotations

import json
import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

import aigateway

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "aigateway-operator"


def instructions() -> list[tuple[str, str]]:
    """Return each instruction's keyword and the rest of it, continuation lines joined."""
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    pairs = (line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#"))
    return [(keyword, " ".join(rest.split())) for keyword, rest in pairs]


def every(keyword: str) -> list[str]:
    """Return the rest of every instruction with this keyword."""
    return [rest for name, rest in instructions() if name == keyword]


def final_stage() -> list[tuple[str, str]]:
    """Return the instructions after the last FROM."""
    found = instructions()
    last = max(number for number, (keyword, _) in enumerate(found) if keyword == "FROM")
    return found[last + 1 :]


def test_only_known_instructions_are_used() -> None:
    """What adds from elsewhere (ADD), or changes the shell, is not needed and not there."""
    assert set() == {name for name, _ in instructions()} - {
        "ARG", "FROM", "WORKDIR", "RUN", "COPY", "ENV", "USER", "EXPOSE", "ENTRYPOINT", "CMD",
    }  # fmt: skip


def test_every_stage_stands_on_the_one_pinned_base() -> None:
    """The base has a version, can be pinned by digest from outside, and is the Python that the lock was made for."""
    [base] = every("ARG")
    name, _, image = base.partition("=")
    version = re.search(r"with Python (\d+\.\d+)", (ROOT / "requirements.lock").read_text())

    assert version is not None
    assert f"python:{version[1]}-slim" == image
    assert {f"${{{name}}}"} == {line.split()[0] for line in every("FROM")}


def test_packages_come_by_hash_or_from_the_build() -> None:
    """No package is installed that a lock file does not name with its hash, and no cache is left in the image."""
    installs = [part.strip() for run in every("RUN") for part in run.split("&&") if "pip install" in part]

    assert installs
    for command in installs:
        assert "--require-hashes" in command or {"--no-deps", "--no-index"} <= set(command.split())
        assert "--no-cache-dir" in command


def test_nothing_is_fetched_by_other_means() -> None:
    """What is in the image comes from this repository, the base and the lock files."""
    assert [] == [run for run in every("RUN") if re.search(r"curl|wget|git |apt|sudo|https?:", run)]


def test_it_runs_without_root_as_the_chart_says() -> None:
    """The user is a number, so that a cluster can tell it is not root, and the same as in the chart."""
    [user] = [rest for name, rest in final_stage() if name == "USER"]
    helpers = (CHART / "templates" / "_helpers.tpl").read_text()
    uid, gid = re.findall(r"runAs(?:User|Group): (\d+)", helpers)

    assert f"{uid}:{gid}" == user
    assert int(uid) > 0


def test_it_starts_without_a_shell_and_runs_the_operator() -> None:
    """The program is process 1 and gets the signals; the chart's arguments replace CMD."""
    found = dict(final_stage())

    assert ["aigateway"] == json.loads(found["ENTRYPOINT"])
    assert ["run"] == json.loads(found["CMD"])


def test_it_exposes_the_charts_ports() -> None:
    """Image and chart name the same ports."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    assert [f"{values['probes']['port']} {values['metrics']['port']}"] == every("EXPOSE")


def allowed(path: str) -> bool:
    """Return whether .dockerignore lets a path of the repository through."""
    through = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").removeprefix("**/")
            if fnmatchcase(path, pattern):
                through = line.startswith("!")
    return through


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(source, id=source)
        for rest in every("COPY")
        if "--from=" not in rest
        for source in rest.split()[:-1]
    ],
)
def test_what_is_copied_exists_and_reaches_the_builder(source: str) -> None:
    """Each file that the Dockerfile copies is there, and .dockerignore lets it through."""
    assert (ROOT / source).exists()
    assert allowed(source)


@pytest.mark.parametrize("path", [".git", ".venv", "tests", "requirements-dev.lock"])
def test_nothing_else_reaches_the_builder(path: str) -> None:
    """History, environments and tests stay out of the build."""
    assert not allowed(path)


def test_make_tags_the_image_as_the_chart_expects() -> None:
    """`make image` gives the tag that the chart asks for when nobody sets one."""
    command = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "image"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout

    assert f"--tag aigateway-operator:{aigateway.__version__} " in command
