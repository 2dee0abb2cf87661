"""Runs what is in pods as processes on this machine: the part of a kubelet that kwok does not play.

kwok says of every pod that it runs; whatever a pod's container would do is done by nobody.  Where a test needs that
(``helm test``, the operator by its chart), a :class:`Runner` starts the first container of a namespace's labelled pods:
with its own command and arguments, its environment, its volumes (the account's token bound to the pod among them), the
names of the namespace's Services, and nothing that it could write to but empty volumes.  A process that ends sets the
phase of a pod that is not to be restarted; one whose pod is gone is asked to stop.

What is not as in a cluster: the program is this checkout's, not an image's; the user is who runs the tests; volumes may
lie below /run only; all pods share one network, so two of them cannot listen at the same port.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.stack.addresses import APISERVER
from tests.stack.cluster import Cluster, Manifest

_LOOK_SECONDS = 0.2
_STOP_SECONDS = 30
_ROOT_FILE_SYSTEM = """\
set -e
mount -t tmpfs tmpfs /run
cp -r "$1/run/." /run/
mount --bind "$1/hosts" /etc/hosts
mount -o remount,bind,ro /run
mount -o remount,bind,ro /
shift
exec "$@"
"""
"""Run in a mount namespace of its own: the pod's volumes and hosts in place of the machine's, then all read-only."""


@dataclass
class Runner:
    """``with Runner(cluster, namespace, folder, entrypoint) as runner:`` pods that match run inside the block.

    ``entrypoint`` is what the image starts with arguments alone; ``selector`` is a label selector.
    """

    cluster: Cluster
    namespace: str
    folder: Path
    entrypoint: list[str]
    selector: str = "app.kubernetes.io/name=aigateway-operator"
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _asked_to_stop: set[str] = field(default_factory=set)
    _done: threading.Event = field(default_factory=threading.Event)
    _failure: BaseException | None = None

    def __enter__(self) -> Self:
        """Begin to look for pods."""
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every process.

        Raises:
            RuntimeError: pods could not be run.
        """
        self._done.set()
        self._thread.join()
        for name, process in self.processes.items():
            self._ask_to_stop(name, process)
            _wait(process)
        if self._failure is not None and error is None:
            raise RuntimeError("the runner of pods failed") from self._failure

    def log(self, pod: str) -> Path:
        """Return the file with what a pod's process has said."""
        return self.folder / f"{pod}.log"

    def _run(self) -> None:
        try:
            while not self._done.wait(_LOOK_SECONDS):
                self._look()
        except BaseException as failure:  # noqa: BLE001 (told at the end of the block: a thread has nobody to tell)
            self._failure = failure

    def _look(self) -> None:
        pods = {pod["metadata"]["name"]: pod for pod in self.cluster.items("Pod", self.namespace, self.selector)}
        for name, process in self.processes.items():
            if name not in pods or "deletionTimestamp" in pods[name]["metadata"]:
                self._ask_to_stop(name, process)
            elif pods[name]["spec"]["restartPolicy"] == "Never" and process.poll() is not None:
                self._report(pods[name], process.returncode)
        for name, pod in pods.items():
            if name not in self.processes and pod["status"].get("podIP"):
                self.processes[name] = self._start(pod)

    def _ask_to_stop(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Send SIGTERM, once as a kubelet does: a second one may meet a program past its handler."""
        if name not in self._asked_to_stop and process.poll() is None:
            process.send_signal(signal.SIGTERM)
        self._asked_to_stop.add(name)

    def _report(self, pod: Manifest, code: int) -> None:
        if pod["status"]["phase"] not in ("Succeeded", "Failed"):
            phase = {"status": {"phase": "Failed" if code else "Succeeded"}}
            self.cluster.patch("Pod", pod["metadata"]["name"], self.namespace, phase, status=True)

    def _start(self, pod: Manifest) -> subprocess.Popen[bytes]:
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]
        root = self.folder / name
        (root / "run").mkdir(parents=True)
        self._lay_out(pod, container, root)
        (root / "hosts").write_text("\n".join(self._hosts()) + "\n")
        words = [*(container.get("command") or self.entrypoint), *container.get("args", [])]
        prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ROOT_FILE_SYSTEM, "sh", str(root)]
        with self.log(name).open("ab") as out:
            return subprocess.Popen(
                [*prefix, *words],
                env=_environment(pod, container),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd="/",
                start_new_session=True,
            )

    def _lay_out(self, pod: Manifest, container: Manifest, root: Path) -> None:
        """Write the files of the container's volumes below ``root``."""
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        for mount in container.get("volumeMounts", ()):
            path = Path(mount["mountPath"].replace("/var/run/", "/run/", 1))
            folder = root / path.relative_to("/")
            folder.mkdir(parents=True)
            for name, content in self._files(pod, volumes[mount["name"]]):
                (folder / name).write_text(content)

    def _files(self, pod: Manifest, volume: Manifest) -> Iterator[tuple[str, str]]:
        if "configMap" in volume:
            yield from self._config(volume["configMap"]["name"])
        for source in volume.get("projected", {}).get("sources", ()):
            if "serviceAccountToken" in source:
                yield source["serviceAccountToken"]["path"], self._token(pod, source["serviceAccountToken"])
            if "configMap" in source:
                yield from self._config(source["configMap"]["name"])
            for item in source.get("downwardAPI", {}).get("items", ()):
                yield item["path"], _field(pod, item["fieldRef"])

    def _config(self, name: str) -> Iterator[tuple[str, str]]:
        yield from self.cluster.get("ConfigMap", name, self.namespace)["data"].items()

    def _token(self, pod: Manifest, wanted: Mapping[str, Any]) -> str:
        metadata = pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        account = pod["spec"]["serviceAccountName"]
        seconds = wanted["expirationSeconds"]
        return self.cluster.service_account_token(
            self.namespace, account, boundObjectRef=bound, expirationSeconds=seconds
        )

    def _hosts(self) -> Iterator[str]:
        """Yield lines of /etc/hosts: each Service of the namespace by its first ready endpoint."""
        yield "127.0.0.1 localhost"
        for piece in self.cluster.items("discovery.k8s.io/v1/EndpointSlice", self.namespace):
            service = piece["metadata"]["labels"]["kubernetes.io/service-name"]
            ready = [one["addresses"][0] for one in piece.get("endpoints") or () if one["conditions"]["ready"]]
            for address in ready[:1]:
                name = f"{service}.{self.namespace}"
                yield f"{address} {name} {name}.svc {name}.svc.cluster.local"


def _environment(pod: Manifest, container: Manifest) -> dict[str, str]:
    own = {item["name"]: item.get("value") or _field(pod, item["valueFrom"]["fieldRef"]) for item in _env(container)}
    return {
        # As in the image, the programs of the virtual environment come first.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin", "/usr/sbin", "/sbin"]),
        "HOSTNAME": pod["metadata"]["name"],
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(APISERVER),
        **own,
    }


def _env(container: Manifest) -> list[Manifest]:
    found: list[Manifest] = container.get("env") or []
    return found


def _field(pod: Manifest, reference: Mapping[str, str]) -> str:
    value: Any = pod
    for part in reference["fieldPath"].split("."):
        value = value[part]
    return str(value)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
