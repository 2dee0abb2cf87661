"""The rules of the repository itself: size budgets, layout, what no committed file may hold, and how it is packaged.

The rows are files, so a failure names the file to change. Style, types and layers are checked by the tools of
`make lint`; here is what they cannot say.
"""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import aigateway

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "operator" / "aigateway"
UNIT = ROOT / "tests" / "unit"

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
MIN_DOCSTRING_LENGTH = 20

# Put together from pieces, so that this file does not hold what it looks for.
_REGISTRIES = ("pypi" + ".org", "python" + "hosted.org", "proxy." + "golang.org", "npm" + "js.org", "crates" + ".io")
FORBIDDEN = {
    "registry": "|".join(map(re.escape, _REGISTRIES)),
    "home-folder": rf"(?<![\w.])/(?:{'ho' + 'me'}|{'Us' + 'ers'})/\w|(?<![\w.])/{'ro' + 'ot'}/",
    "machine-folder": rf"/{'wo' + 'rk'}/",
}
NEWS_FILE = re.compile(r"[a-z0-9-]+\.(added|changed|fixed|removed|security)\.md")


def _python_files() -> list[Path]:
    return sorted(path for top in ("operator", "tests", "tools") for path in (ROOT / top).rglob("*.py"))


def _committed_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def _files(paths: Iterable[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths])


def _function_lengths(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield node.name, node.end_lineno - node.lineno + 1


@_files(_python_files())
def test_a_file_fits_its_budget(path: Path) -> None:
    """A file that outgrows 400 lines does more than one thing, and is to be split."""
    lines = path.read_text().count("\n")

    assert lines <= MAX_FILE_LINES


@_files(_python_files())
def test_a_function_fits_its_budget(path: Path) -> None:
    """No function outgrows 50 lines, its docstring included."""
    assert [] == [(name, lines) for name, lines in _function_lengths(path) if lines > MAX_FUNCTION_LINES]


@_files(_python_files())
def test_a_module_says_what_it_is_for(path: Path) -> None:
    """Every module opens with a docstring of more than a word or two."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""

    assert len(docstring) >= MIN_DOCSTRING_LENGTH


@_files(path for path in sorted(UNIT.rglob("test_*.py")) if path != Path(__file__))
def test_a_unit_test_mirrors_a_module(path: Path) -> None:
    """A unit test stands where its module stands: core/test_plan.py tests operator/aigateway/core/plan.py."""
    module = PACKAGE / path.relative_to(UNIT).parent / path.stem.removeprefix("test_")

    assert module.with_suffix(".py").is_file() or (module / "__init__.py").is_file()


@_files(_committed_files())
@pytest.mark.parametrize("pattern", [pytest.param(text, id=name) for name, text in FORBIDDEN.items()])
def test_a_committed_file_names_no_foreign_place(path: Path, pattern: str) -> None:
    """No committed text names a package registry or a folder that only its author's machine has."""
    content = path.read_bytes()
    if b"\0" in content:
        pytest.skip("binary")

    assert [] == re.findall(pattern, content.decode())


@_files(sorted(ROOT.glob("requirements*.lock")))
def test_a_lock_file_holds_versions_and_hashes_alone(path: Path) -> None:
    """A lock names no address, so the same file installs from any mirror; everything in it is pinned."""
    lines = [
        line.strip() for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    pin = re.compile(r"[a-z0-9-]+==[^ :/]+( ; [^/:]+)? \\|--hash=sha256:[0-9a-f]{64}( \\)?")

    assert [] == [line for line in lines if not pin.fullmatch(line)]
    assert "://" not in path.read_text()


def test_news_fragments_are_named_by_their_kind() -> None:
    """A fragment's name says what kind of change it tells, so that a release can sort them."""
    names = {path.name for path in (ROOT / "changelog.d").iterdir()} - {"README.md"}

    assert [] == [name for name in sorted(names) if not NEWS_FILE.fullmatch(name)]


def test_operator_is_a_folder_and_never_a_package() -> None:
    """From the repository's root, `import operator` is the standard library: the folder must not shadow it."""
    where = "import operator, os; print(os.path.dirname(operator.__file__))"
    # -S: site would import the module before the root is looked at.
    found = subprocess.run([sys.executable, "-S", "-c", where], cwd=ROOT, check=True, capture_output=True, text=True)

    assert sysconfig.get_path("stdlib") == found.stdout.strip()
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_the_wheel_holds_the_package(tmp_path: Path) -> None:
    """The wheel installs `aigateway`, typed, and nothing beside it."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert {"aigateway"} == {name.split("/")[0] for name in names}
    assert {"aigateway/__init__.py", "aigateway/py.typed"} <= names


def test_the_version_stands_in_one_place() -> None:
    """The installed distribution has the version that the package states."""
    assert aigateway.__version__ == importlib.metadata.version("aigateway-operator")


def test_every_make_target_is_explained() -> None:
    """`make` lists each target that a person may call, with what it is for."""
    targets = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout

    assert [] == [target for target in targets if not re.search(rf"^  {target} +\w", shown, flags=re.MULTILINE)]


def test_continuous_integration_runs_the_documented_command() -> None:
    """CI calls what the README tells a person to call, so that both see the same failures."""
    script = ROOT / ".ci" / "run"

    assert "exec make test" == script.read_text().splitlines()[-1]
    assert os.access(script, os.X_OK)
    assert re.search(r"^make test\b", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
