"""Objects in files in place of a cluster: ``--observed``, e.g. the output of ``kubectl get … -o yaml``.

:mod:`aigateway.cluster.snapshot` reads them as it reads an API server.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterable

from aigateway.cluster.client import JsonObject, Listing
from aigateway.cluster.resources import CHILDREN, ENDPOINT_SLICES, POLICIES, SERVICES, WORKLOADS, Resource

_ALL = (POLICIES, SERVICES, ENDPOINT_SLICES, *WORKLOADS.values(), *CHILDREN.values())
_NAMESPACE = uuid.UUID("0b7d6b1e-0f43-4f4c-9d0a-6f6f1f3f5a60")
"""For uids of objects that were written by hand."""


class RecordedObjects:
    """Answers like an API server that holds exactly these objects and has Istio and KEDA installed.

    What their versions lack is known where the files hold their CustomResourceDefinitions.
    """

    def __init__(self, objects: Iterable[JsonObject], namespace: str) -> None:
        """Take over the objects; those that name no namespace are in ``namespace``."""
        self._objects = [_completed(raw, namespace) for raw in objects if isinstance(raw.get("metadata"), dict)]

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JsonObject | None:
        """Return one object, None where the files have none."""
        return next((raw for raw in self._of(resource, namespace) if raw["metadata"]["name"] == name), None)

    async def kinds(self, resource: Resource) -> frozenset[str]:
        """Return every plural of the group: files don't say what is not installed."""
        return frozenset(item.plural for item in _ALL if item.group_path == resource.group_path)

    async def pages(self, resource: Resource, namespace: str | None, selector: str) -> AsyncIterator[Listing]:
        """Yield the objects of a kind, whatever version of its group they are written in."""
        yield Listing([raw for raw in self._of(resource, namespace) if _selected(raw, selector)], "1")

    def _of(self, resource: Resource, namespace: str | None) -> list[JsonObject]:
        return [
            raw
            for raw in self._objects
            if raw.get("kind") == resource.kind
            and _group(raw) == resource.group
            and namespace in (None, raw["metadata"]["namespace"])
        ]


def _group(raw: JsonObject) -> str:
    return str(raw.get("apiVersion", "")).rpartition("/")[0]


def _selected(raw: JsonObject, selector: str) -> bool:
    """Return whether an object has a label (``name``), or has it with a value (``name=value``)."""
    label, equals, value = selector.partition("=")
    labels = raw["metadata"].get("labels") or {}
    return not label or (labels.get(label) == value if equals else label in labels)


def _completed(raw: JsonObject, namespace: str) -> JsonObject:
    metadata = {"namespace": namespace, "name": "", "resourceVersion": "1", **raw["metadata"]}
    name = f"{raw.get('apiVersion')}/{raw.get('kind')}/{metadata['namespace']}/{metadata['name']}"
    metadata.setdefault("uid", str(uuid.uuid5(_NAMESPACE, name)))
    return {**raw, "metadata": metadata}
