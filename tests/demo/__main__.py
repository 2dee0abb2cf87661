"""Outside the namespace: show the policy, build what is missing, then run the show inside.

Routing needs only the first programs; the rest is built while the show is already running.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.syntax import Syntax

from tests.stack import external, preflight
from tests.stack.binaries import PARTS
from tests.stack.build import missing

ROOT = Path(__file__).resolve().parents[2]
POLICY = Path("manifests/examples/07-demo/policy.yaml")
"""Seen from :data:`ROOT`, where the demo runs."""

FIRST = ("cluster", "routing")
STACK = [sys.executable, "-m", "tests.stack"]


def main() -> int:
    """Return the exit code of the show."""
    console = Console(highlight=False)
    if external.is_chosen():
        _introduce(console)
        return subprocess.call([sys.executable, "-m", "tests.demo.show"], cwd=ROOT)
    needed = missing([module for part in PARTS for module in PARTS[part]])
    problems = preflight.problems(building=bool(needed))
    for problem in problems:
        console.print(f"stack: {problem}", markup=False)
    if problems:
        return 1
    build = subprocess.Popen([*STACK, "build", "--parts", ",".join(FIRST)], cwd=ROOT)
    _introduce(console)
    if build.wait():
        return build.returncode
    return _show()


def _introduce(console: Console) -> None:
    """Show the policy and what it will become; that needs no cluster, so it is there while programs are built."""
    console.rule("The policy")
    console.print(Syntax((ROOT / POLICY).read_text(), "yaml", background_color="default"))
    console.rule("What it will become: aigateway render -f policy.yaml (its VirtualService)")
    rendered = subprocess.run(
        [sys.executable, "-m", "aigateway", "render", "-f", str(ROOT / POLICY)],
        capture_output=True,
        text=True,
        check=True,
    )
    virtual_service = next(text for text in rendered.stdout.split("---\n") if "kind: VirtualService" in text)
    console.print(Syntax(virtual_service[virtual_service.index("spec:") :], "yaml", background_color="default"))


def _show() -> int:
    """Run the show in the namespace while the programs for scaling are built out here."""
    scaling = subprocess.Popen([*STACK, "build", "--parts", "scaling"], cwd=ROOT)
    try:
        return subprocess.call([*STACK, "run", "--", sys.executable, "-m", "tests.demo.show"], cwd=ROOT)
    except KeyboardInterrupt:
        return 130
    finally:
        scaling.terminate()
        scaling.wait()


if __name__ == "__main__":
    sys.exit(main())
