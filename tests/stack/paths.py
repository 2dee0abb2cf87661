"""Where the stack keeps what it builds and what it runs.

Everything lies under one cache folder of the user, so that a checkout can be deleted without losing an hour of builds.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tests.stack.binaries import TOOLS, ToolModule


def cache_root() -> Path:
    """Return the folder for binaries, Go caches and run state: ``AIGATEWAY_STACK_HOME`` or the user's cache folder."""
    explicit = os.environ.get("AIGATEWAY_STACK_HOME")
    if explicit:
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aigateway" / "stack"


def module_folder(module: ToolModule) -> Path:
    """Return the folder of a module's binaries and assets; its name changes with anything that changes the build."""
    digest = hashlib.sha256()
    for part in ("go.mod", "go.sum"):
        digest.update((TOOLS / module.name / part).read_bytes())
    digest.update(repr(module).encode())
    return cache_root() / "bin" / f"{module.name}-{digest.hexdigest()[:12]}"
