"""Wheel and sdist: built, installed into an environment of their own, and used there as a user would."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import aigateway

ROOT = Path(__file__).resolve().parents[2]
MINIMAL = ROOT / "manifests" / "examples" / "01-minimal" / "policy.yaml"


def build(target: str, source: Path, into: Path) -> Path:
    """Build ``wheel`` or ``sdist`` of a source tree and return the file."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(into)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    [built] = into.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the wheel of this checkout."""
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the programs' folder of an environment with the wheel alone; it borrows the locked packages from this one.

    This checkout's own package is not borrowed: it is here by a .pth file, and those hold in their own folder only.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [str(python), "-m", "pip", "install", "--no-index", "--no-deps", "--quiet", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return python.parent


def used(environment: Path, *words: str) -> str:
    """Return what a program of the environment prints, run from a folder that is none of the checkout's."""
    said = subprocess.run(
        [str(environment / words[0]), *words[1:]], cwd=environment, capture_output=True, text=True, check=True
    )
    return said.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(["aigateway", "--version"], aigateway.__version__, id="version"),
        pytest.param(["aigateway", "crd"], "kind: CustomResourceDefinition", id="crd"),
        pytest.param(
            ["aigateway", "render", "-f", str(MINIMAL), "--default-gateway", "istio-system/a"],
            "kind: VirtualService",
            id="render",
        ),
        pytest.param(["kubectl-aigateway", "--version"], aigateway.__version__, id="plugin"),
        pytest.param(["python", "-m", "aigateway", "--version"], aigateway.__version__, id="module"),
    ],
)
def test_the_installed_wheel_works(environment: Path, words: list[str], told: str) -> None:
    """What the wheel installs runs without the checkout."""
    assert told in used(environment, *words)


def test_the_installed_package_is_the_wheels_own(environment: Path, wheel: Path) -> None:
    """The environment really runs what was installed into it."""
    where = used(environment, "python", "-c", "import aigateway; print(aigateway.__file__)")

    assert str(environment.parent) in where
    assert aigateway.__version__ in wheel.name


def test_the_sdist_gives_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """Whoever builds from the sdist gets the same files."""
    sdist = build("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    [source] = (tmp_path / "source").iterdir()

    rebuilt = build("wheel", source, tmp_path / "wheel")

    assert set(contents(wheel)) == set(contents(rebuilt))


def contents(wheel: Path) -> dict[str, bytes]:
    """Return every file of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_lock_holds_all_that_the_wheel_requires(wheel: Path) -> None:
    """`pip install --require-hashes -r requirements.lock` followed by the wheel alone is a whole installation."""
    metadata = next(data for name, data in contents(wheel).items() if name.endswith("/METADATA"))
    required = [Requirement(text) for text in message_from_bytes(metadata).get_all("Requires-Dist") or ()]
    always = [one for one in required if one.marker is None or one.marker.evaluate({"extra": ""})]
    locked = dict(
        line.split(" ")[0].split("==") for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line
    )

    assert always
    assert [] == [str(one) for one in always if not one.specifier.contains(locked.get(canonicalize_name(one.name), ""))]
