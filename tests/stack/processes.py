"""Start, watch and end the stack's programs, by process id only.

The stack's parts use it.  Every program writes to a log of its own in the run folder and dies with this process,
however that ends: the kernel is told to kill it when its parent goes.  That promise is tied to the *thread* that starts
a program (as is the one that Envoy makes by itself), hence the one starter thread that lives as long as the stack.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.stack.errors import StackError

_TERM_SECONDS = 5
_LOG_LINES = 15
_LINE_LENGTH = 300


class Processes:
    """The programs of one run: ``start("etcd", "/path/etcd", "--flag")``, ``stop("etcd")``."""

    def __init__(self, logs: Path) -> None:
        """Keep the logs in ``logs``, which is created."""
        logs.mkdir(parents=True, exist_ok=True)
        self.logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._starts: dict[str, Callable[[], subprocess.Popen[bytes]]] = {}
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="stack-starter")

    def start(
        self, name: str, *command: str | Path, environment: dict[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        """Start a program under ``name``; its output goes to ``<name>.log``."""
        words = [str(part) for part in command]
        self._starts[name] = functools.partial(self._spawn, name, words, environment, cwd or self.logs)
        self.start_again(name)

    def start_again(self, name: str) -> None:
        """Start a program that was killed or stopped as it was started before."""
        self._running[name] = self._starter.submit(self._starts[name]).result()

    def _spawn(
        self, name: str, command: list[str], environment: dict[str, str] | None, cwd: Path
    ) -> subprocess.Popen[bytes]:
        with self.log(name).open("ab") as out:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                env=os.environ | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=cwd,
                # A session of its own: Ctrl-C in the terminal reaches the stack's owner, who stops the rest in order.
                start_new_session=True,
            )

    def log(self, name: str) -> Path:
        """Return the log file of a program."""
        return self.logs / f"{name}.log"

    def names(self) -> list[str]:
        """Return the programs that were started and not stopped, oldest first."""
        return list(self._running)

    def pid(self, name: str) -> int:
        """Return the process id of a running program."""
        return self._running[name].pid

    def require_alive(self) -> None:
        """Raise :class:`StackError` with the end of its log for the first program that has died."""
        for name, process in self._running.items():
            if process.poll() is not None:
                msg = f"{name} ended with status {process.returncode}; {self.log(name)} ends:\n{self.tail(name)}"
                raise StackError(msg)

    def wait_until(self, what: str, ready: Callable[[], bool], seconds: float = 90) -> None:
        """Wait for ``ready``; raise :class:`StackError` at the deadline or as soon as any program has died."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.require_alive()
            if time.monotonic() > deadline:
                msg = f"{what}: not after {seconds:.0f} s; logs: {self.logs}"
                raise StackError(msg)
            time.sleep(0.05)

    def tail(self, name: str, lines: int = _LOG_LINES) -> str:
        """Return the last lines of a program's log, long ones cut."""
        with contextlib.suppress(FileNotFoundError):
            last = self.log(name).read_text(errors="replace").splitlines()[-lines:]
            return "\n".join(line[:_LINE_LENGTH] for line in last)
        return ""

    def kill(self, name: str) -> None:
        """End a program at once, as a crash would."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def stop(self, *names: str) -> None:
        """End these programs together, those that ran; one that does not go within seconds is killed."""
        ending = [self._running.pop(name) for name in names if name in self._running]
        for process in ending:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _TERM_SECONDS
        for process in ending:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        """Release the starter thread; call it when nothing runs any more."""
        self._starter.shutdown()
