"""The real operator as a process of its own, started by a test against the stack and stopped by its id.

It acts as its own ServiceAccount, with exactly the rights that ``manifests/install`` (made from the chart) gives it, so
that the apiserver's audit log tells its requests from everybody else's.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.stack.cluster import Cluster, Manifest, load_all
from tests.stack.waiting import eventually

NAMESPACE = "aigateway-system"
ACCOUNT = "aigateway-operator"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests" / "install"
ENVOY_FILTER_MANIFESTS = ROOT / "manifests" / "envoy-filter"
LEASE = "aigateway-operator"
_ACCOUNT_KINDS = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


def install(cluster: Cluster) -> Path:
    """Install the policies' definition and the operator's account; return a kubeconfig that acts as it."""
    cluster.apply_file(MANIFESTS / "crd.yaml")
    cluster.apply_file(MANIFESTS / "namespace.yaml")
    cluster.apply(*account())
    eventually(lambda: cluster.find("ServiceAccount", ACCOUNT, NAMESPACE), "the operator's account exists")
    return cluster.service_account_kubeconfig(NAMESPACE, ACCOUNT)


def allow_envoy_filters(cluster: Cluster) -> None:
    """Install the gateway filter for the stack's gateway, and let the operator's account write EnvoyFilters.

    The operator has to be told as well: ``{"allow-envoy-filter": "istio-system"}``.
    """
    for name in ("rights.yaml", "gateway-filter.yaml"):
        cluster.apply_file(ENVOY_FILTER_MANIFESTS / name)


def account() -> list[Manifest]:
    """Return the operator's account with its roles, as the chart has them."""
    return [item for item in load_all((MANIFESTS / "operator.yaml").read_text()) if item["kind"] in _ACCOUNT_KINDS]


def free_port() -> int:
    """Return a port on the loopback address that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class OperatorProcess:
    """``with OperatorProcess(kubeconfig, log) as operator``: running and ready inside the block.

    ``settings`` are flags without dashes, as ``{"default-gateway": "istio-system/ai-gateway"}``; the log file is kept.
    Without ``leader-election`` among them it leads alone.  ``host`` is the host name that it believes to be on.
    """

    kubeconfig: Path
    log: Path
    settings: dict[str, str] = field(default_factory=dict)
    module: str = "aigateway"
    host: str = "operator"
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the operator and wait until it is ready."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the operator."""
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        if self._process is None:
            raise AssertionError("the operator was not started")
        return self._process.pid

    def start(self) -> None:
        """Start the operator and wait until it is ready."""
        address = f"127.0.0.1:{self.port}"
        flags = {
            "kubeconfig": str(self.kubeconfig),
            "probes-address": address,
            "metrics-address": address,
            "leader-election": "false",
        }
        words = [f"--{name}={value}" for name, value in (flags | self.settings).items()]
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, "run", *words],
                env={name: value for name, value in os.environ.items() if not name.startswith("AIGATEWAY_")}
                | {"HOSTNAME": self.host},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=ROOT,
                start_new_session=True,
            )
        eventually(self.ready, "the operator is ready", within=60)

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def stop(self, number: int = signal.SIGTERM) -> int | None:
        """End the operator with a signal and return its exit code (None: it was not running)."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(number)
        try:
            return process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(timeout=5)

    def exit_code(self, within: float) -> int:
        """Wait until the operator has ended by itself; return its exit code."""
        if self._process is None:
            raise AssertionError("the operator was not started")
        code = self._process.wait(timeout=within)
        self._process = None
        return code

    def leads(self) -> bool:
        """Return whether this replica says that it leads."""
        return self.metric("aigateway_leader") == 1

    def restart(self) -> None:
        """Stop and start again."""
        self.stop()
        self.start()

    def ready(self) -> bool:
        """Return whether the readiness probe passes; fail at once where the process has died."""
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"the operator ended with {self._process.returncode}:\n{self.tail()}")
        return self.probe("readyz")[0] == 200

    def probe(self, path: str) -> tuple[int, str]:
        """Return status and text of one of the operator's endpoints; status 0 where nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that carry these labels."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        lines = self.probe("metrics")[1].splitlines()
        mine = (line for line in lines if line.startswith((f"{name}{{", f"{name} ")))
        return sum(float(line.rpartition(" ")[2]) for line in mine if all(label in line for label in wanted))

    def tail(self, lines: int = 30) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@dataclass(frozen=True)
class Request:
    """One finished request of the audit log."""

    verb: str
    resource: str
    name: str
    code: int
    namespace: str = ""
    agent: str = ""


@dataclass(frozen=True)
class Audit:
    """The operator's requests in the apiserver's audit log, from the moment this was made."""

    log: Path
    offset: int

    @classmethod
    def begin(cls, log: Path) -> Audit:
        """Begin to count now."""
        return cls(log, log.stat().st_size)

    def requests(self) -> list[Request]:
        """Return the operator's requests since, watches left out."""
        return [request for request in self.finished() if request.verb != "watch"]

    def writes(self) -> list[Request]:
        """Return the requests that change something."""
        return [request for request in self.requests() if request.verb not in ("get", "list")]

    def finished(self) -> Iterator[Request]:
        """Yield all requests since; a watch is logged when it ends."""
        with self.log.open("rb") as handle:
            handle.seek(self.offset)
            for line in handle:
                if line.endswith(b"\n"):
                    entry = json.loads(line)
                    if entry["user"]["username"] == USER:
                        yield _request(entry)


def _request(entry: dict[str, Any]) -> Request:
    target = entry.get("objectRef") or {}
    resource = "/".join(part for part in (target.get("resource", ""), target.get("subresource", "")) if part)
    return Request(
        entry["verb"],
        resource,
        target.get("name", ""),
        entry["responseStatus"]["code"],
        target.get("namespace", ""),
        entry.get("userAgent", ""),
    )


def traceback_in(log: Path) -> str:
    """Return the first traceback of a log and what follows, cut; empty where there is none."""
    _, found, rest = log.read_text(errors="replace").partition("Traceback")
    return (found + rest)[:3000]


def quiet(audit: Audit, seconds: float = 1.5, within: float = 30) -> None:
    """Wait until the operator has made no request for a while: it has come to rest."""
    deadline = time.monotonic() + within
    before, since = -1, time.monotonic()
    while time.monotonic() - since < seconds:
        count = len(audit.requests())
        if count != before:
            before, since = count, time.monotonic()
        if time.monotonic() > deadline:
            raise AssertionError(f"the operator came not to rest; last requests: {audit.requests()[-10:]}")
        time.sleep(0.1)
