"""Access to an apiserver for tests and for the stack itself: plain dicts in, plain dicts out, and kubectl.

The same class serves the stack's own apiserver and a cluster that the user names.  Errors are the client library's
(``kubernetes.client.exceptions.ApiException``: ``.status`` and ``.body`` hold what the apiserver said).
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError, ResourceNotFoundError, TooManyRequestsError

from tests.stack.waiting import eventually

Manifest = dict[str, Any]
"""One Kubernetes object as it is in YAML."""

FIELD_MANAGER = "aigateway-tests"
_NOT_SERVED_YET = (ResourceNotFoundError, TooManyRequestsError)


class Cluster:
    """An apiserver seen with the rights of one kubeconfig."""

    def __init__(self, kubeconfig: Path, kubectl: Path, context: str | None = None) -> None:
        """Use ``context`` of ``kubeconfig``, or its current one."""
        self.kubeconfig = kubeconfig
        self._kubectl = kubectl
        self._context = context
        api = config.new_client_from_config(str(kubeconfig), context)  # type: ignore[no-untyped-call]
        self._client: Any = DynamicClient(api)  # type: ignore[no-untyped-call]

    def apply(self, *manifests: Manifest, dry_run: bool = False) -> list[Manifest]:
        """Apply each object server-side, taking over its fields; return them as stored, in order.

        Waits where an object's kind was defined a moment ago and is not served yet.  ``dry_run``: schemas and webhooks
        judge the objects, nothing is stored.
        """
        return [self._apply(manifest, {"dry_run": "All"} if dry_run else {}) for manifest in manifests]

    def apply_file(self, path: Path) -> None:
        """Apply every document of a YAML file, definitions first and served before the rest is sent."""
        documents = list(load_all(path.read_text()))
        definitions = [item for item in documents if item["kind"] == "CustomResourceDefinition"]
        self.apply(*definitions)
        for item in definitions:
            self.wait_served(item["metadata"]["name"])
        self.apply(*(item for item in documents if item["kind"] != "CustomResourceDefinition"))

    def wait_served(self, definition: str) -> None:
        """Wait until the kind of a CustomResourceDefinition is served."""

        def established() -> bool:
            status = self.get("CustomResourceDefinition", definition).get("status", {})
            return any(
                item["type"] == "Established" and item["status"] == "True" for item in status.get("conditions") or ()
            )

        eventually(established, f"{definition} is served")

    def get(self, kind: str, name: str, namespace: str | None = None) -> Manifest:
        """Return one object; ``kind`` is ``Deployment`` or, where that is not unique, ``apps/v1/Deployment``."""
        found: Manifest = self._resource(kind).get(name=name, namespace=namespace).to_dict()
        return found

    def find(self, kind: str, name: str, namespace: str | None = None) -> Manifest | None:
        """Return one object, or None where it does not exist (or its kind does not)."""
        try:
            return self.get(kind, name, namespace)
        except (NotFoundError, ResourceNotFoundError):
            return None

    def items(self, kind: str, namespace: str | None = None, selector: str | None = None) -> list[Manifest]:
        """Return the objects of a kind, of one namespace or of all, that a label selector picks."""
        answer: Manifest = self._resource(kind).get(namespace=namespace, label_selector=selector).to_dict()
        found: list[Manifest] = answer["items"]
        return found

    def patch(self, kind: str, name: str, namespace: str | None, change: Manifest, *, status: bool = False) -> Manifest:
        """Merge-patch one object (or its status); None removes a field."""
        resource = self._resource(kind)
        target = resource.subresources["status"] if status else resource
        patched = target.patch(
            body=change,
            name=name,
            namespace=namespace,
            content_type="application/merge-patch+json",
            field_manager=FIELD_MANAGER,
        )
        changed: Manifest = patched.to_dict()
        return changed

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        """Delete one object; one that is gone already is fine. Does not wait for finalizers or dependents."""
        try:
            self._resource(kind).delete(name=name, namespace=namespace)
        except NotFoundError:
            return

    def events(self, namespace: str, name: str | None = None) -> list[Manifest]:
        """Return the events of a namespace, or of the object called ``name``, oldest first."""
        found = self.items("v1/Event", namespace)
        mine = [event for event in found if name in (None, event["involvedObject"].get("name"))]
        return sorted(mine, key=lambda event: str(event["metadata"]["creationTimestamp"]))

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl against this cluster and return what it said; ``check`` raises with its error text."""
        context = ["--context", self._context] if self._context else []
        command = [str(self._kubectl), *context, *arguments]
        said = subprocess.run(command, env=self.environment(), input=stdin, capture_output=True, text=True, check=False)
        if check and said.returncode:
            msg = f"kubectl {' '.join(arguments)}: {said.stderr.strip()}"
            raise AssertionError(msg)
        return said

    def environment(self) -> dict[str, str]:
        """Return this process's environment with KUBECONFIG and kubectl's folder on PATH, for child processes."""
        path = f"{self._kubectl.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return os.environ | {"KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Write a kubeconfig that acts as a ServiceAccount (existing, valid for an hour) and return its path."""
        token = self.service_account_token(namespace, name)
        mine = yaml.safe_load(self.kubeconfig.read_text())
        mine["users"] = [{"name": item["name"], "user": {"token": token}} for item in mine["users"]]
        path = self.kubeconfig.with_name(f"{namespace}-{name}.kubeconfig")
        path.write_text(yaml.safe_dump(mine))
        return path

    def service_account_token(self, namespace: str, name: str, **spec: Any) -> str:
        """Return a token of a ServiceAccount; keywords are fields of the TokenRequest's spec."""
        wanted = {"expirationSeconds": 3600} | spec
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": wanted}
        tokens = self._resource("ServiceAccount").subresources["token"]
        token: str = tokens.create(body=body, name=name, namespace=namespace).status.token
        return token

    def raw(self, path: str) -> Manifest:
        """Return the JSON of any GET path of the apiserver, e.g. ``/apis/metrics.k8s.io/v1beta1/pods``."""
        answer = self._client.request("get", path, serialize=False)
        found: Manifest = json.loads(answer.data)
        return found

    def _apply(self, manifest: Manifest, options: dict[str, str]) -> Manifest:
        metadata = manifest["metadata"]

        def attempt() -> Manifest:
            stored: Manifest = (
                self._client.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
                .server_side_apply(
                    body=copy.deepcopy(manifest),
                    name=metadata["name"],
                    namespace=metadata.get("namespace"),
                    field_manager=FIELD_MANAGER,
                    force_conflicts=True,
                    **options,
                )
                .to_dict()
            )
            return stored

        # Right after its definition a kind is unknown for a moment, then answers 429 while its storage is made.
        return eventually(attempt, f"apply {manifest['kind']} {metadata['name']}", within=10, retry=_NOT_SERVED_YET)

    def _resource(self, kind: str) -> Any:
        group, _, name = kind.rpartition("/")
        version = group or _USUAL_GROUP.get(name)
        return self._client.resources.get(kind=name, **({"api_version": version} if version else {}))


_USUAL_GROUP = {
    # Kinds that several groups serve: the one that tests mean.
    "Namespace": "v1",
    "Node": "v1",
    "Pod": "v1",
    "Service": "v1",
    "ServiceAccount": "v1",
    "Gateway": "networking.istio.io/v1",
    "VirtualService": "networking.istio.io/v1",
    "DestinationRule": "networking.istio.io/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
}


def load_all(text: str) -> Iterable[Manifest]:
    """Return the documents of a YAML text, empty ones left out."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]
