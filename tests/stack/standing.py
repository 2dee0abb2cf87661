"""A stack that stays: ``up`` keeps one in the foreground, ``shell`` looks into it, ``down`` stops it.

Called by the command line only.  At most one such stack per user: its owner's process id and kubeconfig are in a state
file in the cache folder.  Test runs and the demo have stacks of their own and never touch it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.stack import namespace
from tests.stack.build import say_plainly
from tests.stack.errors import StackError
from tests.stack.paths import cache_root
from tests.stack.stack import Stack

_STOP_SECONDS = 60


@dataclass(frozen=True)
class Standing:
    """Who owns the standing stack, and how to reach its apiserver from inside its namespace."""

    pid: int
    kubeconfig: str
    kubectl_folder: str

    def is_alive(self) -> bool:
        """Return whether the owner still runs (and is not another process that was given its id)."""
        try:
            return b"tests.stack" in Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return False

    def environment(self) -> dict[str, str]:
        """Return what a shell needs to find kubectl and the apiserver."""
        return {"KUBECONFIG": self.kubeconfig, "PATH": f"{self.kubectl_folder}{os.pathsep}{os.environ.get('PATH', '')}"}


def found() -> Standing | None:
    """Return the standing stack, if there is one."""
    try:
        standing = Standing(**json.loads(_state_file().read_text()))
    except FileNotFoundError:
        return None
    return standing if standing.is_alive() else None


def serve(parts: Iterable[str]) -> None:
    """Inside the namespace: keep a stack up until Ctrl-C, SIGTERM or the death of one of its programs."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Stack(parts) as stack:
            _announce(stack)
            while True:
                time.sleep(1)
                stack.processes.require_alive()
    except KeyboardInterrupt:
        say_plainly("stack: stopped")
    finally:
        _state_file().unlink(missing_ok=True)


def open_shell(parts: Iterable[str]) -> int:
    """Inside the namespace: start a stack for one shell only; return the shell's exit status."""
    with Stack(parts) as stack:
        say_plainly(_HINT)
        return subprocess.run([_shell()], env=stack.cluster.environment(), check=False).returncode


def join_shell(standing: Standing) -> None:
    """Replace this process by a shell inside the standing stack's namespace."""
    say_plainly(_HINT)
    os.environ.update(standing.environment())
    namespace.join(standing.pid, [_shell()])


def stop(standing: Standing) -> None:
    """Stop the standing stack and wait until its owner is gone."""
    os.kill(standing.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while standing.is_alive():
        if time.monotonic() > deadline:
            msg = f"process {standing.pid} still runs {_STOP_SECONDS} s after SIGTERM"
            raise StackError(msg)
        time.sleep(0.1)


def _announce(stack: Stack) -> None:
    kubectl = stack.cluster.environment()["PATH"].split(os.pathsep)[0]
    state = Standing(os.getpid(), str(stack.cluster.kubeconfig), kubectl)
    _state_file().write_text(json.dumps(asdict(state)))
    say_plainly(f"stack: logs are in {stack.processes.logs}")
    say_plainly(
        "stack: it stays up until Ctrl-C; `make shell` in another terminal opens a shell with kubectl inside it"
    )


def _state_file() -> Path:
    return cache_root() / "standing.json"


def _shell() -> str:
    return os.environ.get("SHELL", "/bin/sh")


_HINT = "stack: this shell is inside the stack's network namespace; try: kubectl get pods -A. Leave it with exit."
