"""Read policies from YAML or JSON files, as the commands that work on files need them.

Called by ``aigateway render``.  It checks only that there is an object of our kind; what is in it is for
:mod:`aigateway.api.resolve` to judge.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import click
import yaml

from aigateway.core.identity import API_VERSION, KIND

_NAMESPACE = uuid.UUID("6f0e7c1a-55f0-4d3e-9c7b-0d0a2d6f3b11")
"""For uids of policies that were never in a cluster: the same file always renders the same text."""


def read_policies(files: tuple[TextIO, ...], namespace: str) -> list[dict[str, Any]]:
    """Return every policy in the files, completed with what the API server would add; other kinds are passed over."""
    policies = [_completed(document, namespace) for file in files for document in _documents(file)]
    if not policies:
        names = ", ".join(Path(file.name).name for file in files)
        message = f"no {KIND} ({API_VERSION}) in {names}"
        raise click.ClickException(message)
    return policies


def _documents(file: TextIO) -> Iterator[Mapping[str, Any]]:
    try:
        documents = list(yaml.safe_load_all(file))
    except yaml.YAMLError as error:
        message = f"{file.name} is not YAML: {error}"
        raise click.ClickException(message) from error
    for document in documents:
        items = document.get("items") if isinstance(document, dict) and document.get("kind") == "List" else [document]
        yield from (item for item in items or () if isinstance(item, dict) and item.get("kind") == KIND)


def _completed(document: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    metadata = {"namespace": namespace, "generation": 1, **(document.get("metadata") or {})}
    key = f"{metadata['namespace']}/{metadata.get('name')}"
    metadata.setdefault("uid", str(uuid.uuid5(_NAMESPACE, key)))
    metadata.setdefault("creationTimestamp", "1970-01-01T00:00:00Z")
    return {**document, "metadata": metadata}
