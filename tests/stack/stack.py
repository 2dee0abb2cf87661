"""The whole stack as one object: what tests, the demo and ``make stack`` hold in their hands.

``with Stack({"routing"}) as stack: …`` starts the parts named; ``stack.start("scaling")`` adds one later.  It must run
inside the namespace that :mod:`tests.stack.namespace` makes.  It composes the parts and knows no program's flags.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.stack import envoy, metrics_api
from tests.stack.addresses import BACKEND, BACKEND_CONTROL, GATEWAY, GATEWAY_ADMIN, SIDECARS
from tests.stack.backend import Backend
from tests.stack.binaries import PARTS
from tests.stack.build import Say, Tools, ensure, say_plainly
from tests.stack.cluster import Cluster
from tests.stack.control_plane import ControlPlane
from tests.stack.envoy import Envoy, Workload
from tests.stack.errors import StackError
from tests.stack.istio import GATEWAY_LABELS, NAMESPACE, Istio
from tests.stack.keda import Keda
from tests.stack.metrics_api import MetricsApi
from tests.stack.namespace import is_inside
from tests.stack.paths import cache_root
from tests.stack.pki import Pki
from tests.stack.processes import Processes
from tests.stack.prometheus import Prometheus
from tests.stack.services import is_available

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: what ``python -m tests.…`` has to be started in."""
_KEPT_RUNS = 5


class Stack:
    """A running stack; attributes of a part that was not started raise :class:`StackError`."""

    cluster: Cluster
    """The administrator's access to the apiserver."""
    audit_log: Path
    """The apiserver's audit log, one JSON object per finished request."""
    gateway: Envoy
    """The ingress gateway's proxy (part ``routing``)."""
    backend: Backend
    """What answers at every pod's address (part ``routing``)."""
    prometheus: Prometheus
    """It scrapes the proxies (part ``scaling``)."""
    cpu: MetricsApi
    """How much CPU pods use, as tests say (part ``scaling``)."""
    helm: Path
    """The program that installs charts (part ``install``)."""

    def __init__(self, parts: Iterable[str] = tuple(PARTS), say: Say = say_plainly) -> None:
        """Remember the parts to start; nothing runs before :meth:`__enter__`."""
        self._wanted = list(parts)
        self._say = say
        self.started: set[str] = set()
        self.folder = new_run_folder()
        self.processes = Processes(self.folder / "logs")
        self.pki = Pki(self.folder / "pki")

    def __enter__(self) -> Self:
        """Start the parts; on any error stop what runs already."""
        try:
            self.start(*self._wanted)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        self.stop()

    def __getattr__(self, name: str) -> object:
        """Say which part is missing instead of which attribute."""
        msg = f"stack.{name}: not there, running parts are {', '.join(sorted(self.started)) or 'none'}"
        raise StackError(msg)

    def start(self, *parts: str) -> None:
        """Start parts that do not run yet (building their programs where missing), what they stand on first."""
        if not is_inside():
            msg = "the stack runs only in its own network namespace: python -m tests.stack run -- COMMAND"
            raise StackError(msg)
        for part in ["cluster", *(name for name in PARTS if name in parts)]:
            if part not in self.started:
                began = time.monotonic()
                self._start(part)
                self.started.add(part)
                self._say(f"stack: {part} is up after {time.monotonic() - began:.1f} s")

    def _start(self, part: str) -> None:
        starts: dict[str, Callable[[Tools], None]] = {
            "cluster": self._start_cluster,
            "routing": self._start_routing,
            "scaling": self._start_scaling,
            "install": self._find_helm,
        }
        tools = ensure(PARTS[part], self._say)
        if part in starts:  # a part of files alone starts nothing
            starts[part](tools)

    def _start_cluster(self, tools: Tools) -> None:
        self._plane = ControlPlane(tools, self.processes, self.pki, self.folder)
        self.audit_log = self._plane.audit_log
        self.cluster = self._plane.start()

    def _find_helm(self, tools: Tools) -> None:
        self.helm = tools.path("helm")

    def _start_routing(self, tools: Tools) -> None:
        istio = Istio(tools, self.processes, self.pki, self.cluster, self.folder)
        istio.start()
        self.processes.start("backend", sys.executable, "-m", "tests.stack.backend", cwd=ROOT)
        self.gateway = Envoy("gateway", GATEWAY_ADMIN, GATEWAY)
        istio.wait()
        envoy.start(
            self.processes, self.folder, Workload("router", "gateway-0", NAMESPACE, GATEWAY_LABELS), self.gateway
        )
        for port in (GATEWAY, BACKEND, BACKEND_CONTROL):
            self.processes.wait_until(f"port {port}", functools.partial(accepts, port))
        self.backend = Backend()

    def _start_scaling(self, tools: Tools) -> None:
        self.prometheus = Prometheus(tools, self.processes, self.folder)
        self.prometheus.start()
        keda = Keda(tools, self.processes, self.pki, self.cluster, self.folder)
        keda.start()
        name = f"{metrics_api.SERVICE}.{metrics_api.NAMESPACE}.svc"
        self.cpu = MetricsApi(self.cluster, self.pki.issue(metrics_api.SERVICE, name))
        self.cpu.start(self.pki.ca_bundle)
        self.prometheus.wait()
        keda.wait()
        self.processes.wait_until(metrics_api.SERVICE, lambda: is_available(self.cluster, metrics_api.API))

    @contextlib.contextmanager
    def sidecar(self, namespace: str, region: str = "") -> Iterator[Envoy]:
        """Run the sidecar of a client pod in ``namespace``: a forward proxy for requests to in-mesh hosts."""
        port = next(port for port in SIDECARS if f"sidecar-{port}" not in self.processes.names())
        proxy = Envoy(f"sidecar-{port}", SIDECARS[port], port)
        client = Workload("sidecar", f"client-{port}", namespace, {"app": "client"}, port, region)
        envoy.start(self.processes, self.folder, client, proxy)
        try:
            self.processes.wait_until(proxy.name, lambda: accepts(port))
            yield proxy
        finally:
            self.processes.stop(proxy.name)

    def stop(self) -> None:
        """Stop every program, clients first; safe to call twice."""
        if "cpu" in vars(self):
            self.cpu.stop()
        if "_plane" in vars(self):
            self._plane.stop()
        self.processes.close()
        self.started.clear()


def accepts(port: int) -> bool:
    """Return whether something listens at a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def new_run_folder() -> Path:
    """Make the folder of one run, ``runs/<time>-<pid>`` in the cache, and drop all but the newest few."""
    runs = cache_root() / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    for old in sorted(runs.iterdir())[: -_KEPT_RUNS + 1]:
        if not _is_in_use(old):
            shutil.rmtree(old, ignore_errors=True)
    folder = runs / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"
    folder.mkdir()
    return folder


def _is_in_use(run: Path) -> bool:
    return Path("/proc", run.name.rpartition("-")[2]).exists()
