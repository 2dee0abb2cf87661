"""Say within a second what this machine lacks for the stack, and the remedy, before any build starts.

Called before every build and start.  It must not build or start anything itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.stack.golang import BuildError, find_go
from tests.stack.paths import cache_root

_BUILD_GIGABYTES = 20
_RUN_GIGABYTES = 2


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
    absent = [tool for tool in ("ip", "unshare", "nsenter", "setpriv") if shutil.which(tool) is None]
    return [f"missing: {', '.join(absent)}. Remedy: install the packages iproute2 and util-linux"] if absent else []


def _disk_problems(*, building: bool) -> list[str]:
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free // 2**30
    need = _BUILD_GIGABYTES if building else _RUN_GIGABYTES
    if free >= need:
        return []
    return [
        (
            f"{root} has {free} GiB free, {need} GiB are needed{' while building' if building else ''}. "
            "Remedy: free space, or set AIGATEWAY_STACK_HOME to a folder on a larger disk"
        )
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
        return [
            "this root may not create a network namespace. Remedy: run outside the container, or grant CAP_SYS_ADMIN"
        ]
    return [
        (
            "unprivileged user namespaces are switched off. Remedy: run as root, or "
            "sysctl kernel.unprivileged_userns_clone=1 (and kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu)"
        )
    ]
