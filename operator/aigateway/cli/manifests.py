"""Read Kubernetes objects from YAML or JSON files, as the commands that work on files need them.

It knows where each field of an object stands in its file.  Of policies it checks only that they are of our kind; what
is in them is for :mod:`aigateway.api.resolve` to judge.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import click
import yaml

from aigateway.core.identity import API_VERSION, KIND

_NAMESPACE = uuid.UUID("6f0e7c1a-55f0-4d3e-9c7b-0d0a2d6f3b11")
"""For uids of policies that were never in a cluster: the same file always renders the same text."""

_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_STEP = re.compile(r"[^.\[\]]+")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml, where PyYAML has it
    """Reads what the API server reads: times are strings."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own attribute)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class NotReadableError(Exception):
    """A file is not text or not YAML; ``line`` where that shows, counted from 1."""

    def __init__(self, file: str, line: int, message: str) -> None:
        super().__init__(f"{file}:{line} is not YAML: {message}")
        self.file = file
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a file, and the part of the file that it is."""

    file: str
    value: dict[str, Any]
    node: yaml.Node

    @property
    def key(self) -> str:
        """Return namespace and name, as far as the object has them."""
        metadata = _metadata(self.value)
        return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"

    def line(self, field: str = "") -> int:
        """Return the line of a field such as ``spec.backends[1].weight``, or of the nearest part that is there."""
        node, found = self.node, self.node.start_mark.line
        for step in _STEP.findall(field):
            inner = _child(node, step)
            if inner is None:
                break
            found, node = inner
        return int(found) + 1

    def repeated_keys(self) -> Iterator[tuple[str, int]]:
        """Yield each key that an object of the document has twice, with the line of the second."""
        yield from _repeated(self.node)


def documents(file: TextIO) -> list[Document]:
    """Return every object of a file; the items of a List stand for themselves.

    Raises:
        NotReadableError: the file cannot be read as YAML.
    """
    try:
        loader = _Loader(file.read())
        found: list[Document] = []
        while loader.check_node():
            node = loader.get_node()
            found += _objects(file.name, loader.construct_document(node), node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line, problem = (mark.line + 1 if mark else 1), getattr(error, "problem", None)
        raise NotReadableError(file.name, line, str(problem or error)) from error
    except UnicodeDecodeError as error:
        raise NotReadableError(file.name, 1, "it is no UTF-8 text") from error
    return found


def read_objects(files: Iterable[TextIO]) -> list[Document]:
    """Return every object of all files."""
    try:
        return [document for file in files for document in documents(file)]
    except NotReadableError as error:
        raise click.ClickException(str(error)) from error


def read_policies(files: Iterable[TextIO], namespace: str) -> list[Document]:
    """Return every policy in the files, completed with what the API server would add; other kinds are passed over."""
    files = tuple(files)
    policies = policies_of(read_objects(files), namespace)
    if not policies:
        raise no_policies(files)
    return policies


def policies_of(found: Iterable[Document], namespace: str) -> list[Document]:
    """Return the policies among documents, completed."""
    return [_completed(document, namespace) for document in found if document.value.get("kind") == KIND]


def no_policies(files: Iterable[TextIO]) -> click.ClickException:
    """Return the error for files in which there is no policy."""
    names = ", ".join(Path(file.name).name for file in files)
    return click.ClickException(f"no {KIND} ({API_VERSION}) in {names or 'no file'}")


def _objects(file: str, value: Any, node: yaml.Node) -> Iterator[Document]:  # noqa: ANN401 (any YAML value)
    if not isinstance(value, dict):
        return
    if str(value.get("kind", "")).endswith("List") and isinstance(value.get("items"), list):
        items = _child(node, "items")
        for item, below in zip(value["items"], items[1].value if items else (), strict=True):
            yield from _objects(file, item, below)
    else:
        yield Document(file, value, node)


def _completed(document: Document, namespace: str) -> Document:
    metadata = {"namespace": namespace, "generation": 1, **_metadata(document.value)}
    metadata.setdefault("uid", str(uuid.uuid5(_NAMESPACE, f"{metadata['namespace']}/{metadata.get('name')}")))
    metadata.setdefault("creationTimestamp", "1970-01-01T00:00:00Z")
    return replace(document, value={**document.value, "metadata": metadata})


def _metadata(value: Mapping[str, Any]) -> dict[str, Any]:
    found = value.get("metadata")
    return {key: member for key, member in found.items() if member is not None} if isinstance(found, dict) else {}


def _child(node: yaml.Node, step: str) -> tuple[int, yaml.Node] | None:
    """Return line and node of a member or item."""
    if isinstance(node, yaml.MappingNode):
        return next(((key.start_mark.line, value) for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
        item = node.value[int(step)]
        return item.start_mark.line, item
    return None


def _repeated(node: yaml.Node) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                yield key.value, key.start_mark.line + 1
            seen.add(str(key.value))
            yield from _repeated(value)
