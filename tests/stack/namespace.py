"""A network namespace without a way out, in which a whole command runs.

The command line enters it before it starts pytest, the demo or a shell, so that nothing in there can reach the
machine's network and every stack has all ports to itself.  The namespace goes with its last process.  Root or not
makes no difference: an unprivileged user gets the same through a user namespace.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NoReturn

from tests.stack.addresses import HOST, POD_CIDR, SERVICE_CIDR

MARKER = "AIGATEWAY_STACK_NAMESPACE"
"""Set to 1 in the environment of everything that runs inside."""


def is_inside() -> bool:
    """Return whether this process runs in a namespace that :func:`enter` made."""
    return os.environ.get(MARKER) == "1"


def enter(command: list[str]) -> NoReturn:
    """Replace this process by ``command`` inside a fresh namespace; its exit status is the command's."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    inside = [sys.executable, "-m", "tests.stack", "inside", "--", *command]
    os.execvp("unshare", ["unshare", *user, "--net", *inside])  # noqa: S606 (no shell; util-linux from PATH)


def become(command: list[str]) -> NoReturn:
    """Give this fresh namespace its addresses, then replace this process by ``command``."""
    configure()
    os.environ[MARKER] = "1"
    os.execvp(command[0], command)  # noqa: S606 (no shell is wanted: the command is the user's own)


def join(pid: int, command: list[str]) -> NoReturn:
    """Replace this process by ``command`` inside the namespace that the process ``pid`` lives in."""
    user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
    os.environ[MARKER] = "1"
    os.execvp("nsenter", ["nsenter", "--target", str(pid), *user, "--net", *command])  # noqa: S606


def configure() -> None:
    """Bring up loopback, the stack's own address, and every pod and Service address as a local one."""
    lines = [
        "link set lo up",
        f"address add {HOST}/24 dev lo",
        f"route add local {SERVICE_CIDR} dev lo",
        f"route add local {POD_CIDR} dev lo",
    ]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
