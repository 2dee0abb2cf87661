"""Model versions as the tests' users would deploy them: a Deployment and a Service of the same name.

On the stack, kwok makes the pods ready at once, whatever their image, at addresses where the model backend answers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from tests.stack.addresses import BACKEND
from tests.stack.cluster import Cluster, Manifest
from tests.stack.waiting import eventually

IMAGE = "AIGATEWAY_STACK_MODEL_IMAGE"
"""For a cluster of the user's own: an image that runs ``python -m tests.stack.backend``."""


@dataclass(frozen=True)
class Model:
    """One deployed model version."""

    cluster: Cluster
    namespace: str
    name: str

    @property
    def host(self) -> str:
        """The Service's full name, as Istio's destinations have it."""
        return f"{self.name}.{self.namespace}.svc.cluster.local"

    def addresses(self) -> set[str]:
        """Return the addresses of the pods that are ready now."""
        pods = self.cluster.items("Pod", self.namespace, f"app={self.name}")
        return {pod["status"]["podIP"] for pod in pods if _is_ready(pod)}

    def replicas(self) -> int:
        """Return how many replicas the Deployment asks for."""
        asked: int = self.cluster.get("Deployment", self.name, self.namespace)["spec"]["replicas"]
        return asked

    def scale(self, replicas: int) -> None:
        """Ask for so many replicas and wait until as many pods are ready."""
        self.cluster.patch("Deployment", self.name, self.namespace, {"spec": {"replicas": replicas}})
        self.wait_ready(replicas)

    def wait_ready(self, replicas: int) -> None:
        """Wait until exactly so many pods are ready."""
        eventually(lambda: len(self.addresses()) == replicas, f"{replicas} pods of {self.name} are ready")


def deploy(cluster: Cluster, namespace: str, name: str, *, replicas: int = 1, cpu: str = "100m") -> Model:
    """Create a model version with its Service at port 80, and wait until its pods are ready.

    ``cpu`` is each pod's request, the base of utilisation percentages.
    """
    cluster.apply(deployment(namespace, name, replicas, cpu), service(namespace, name))
    model = Model(cluster, namespace, name)
    model.wait_ready(replicas)
    return model


def deployment(namespace: str, name: str, replicas: int, cpu: str = "100m") -> Manifest:
    """Return the Deployment of a model version."""
    labels = {"app": name}
    container = {
        "name": "model",
        "image": os.environ.get(IMAGE, "example.invalid/model:1"),
        "ports": [{"name": "http", "containerPort": BACKEND}],
        "resources": {"requests": {"cpu": cpu}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
        },
    }


def service(namespace: str, name: str, port: int = 80) -> Manifest:
    """Return the Service of a model version."""
    ports = [{"name": "http", "port": port, "targetPort": BACKEND}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def _is_ready(pod: Manifest) -> bool:
    conditions = pod["status"].get("conditions", [])
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
