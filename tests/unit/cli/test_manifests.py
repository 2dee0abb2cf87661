"""Objects in files: what is found, and where."""

from __future__ import annotations

from io import StringIO

import click
import pytest

from aigateway.cli.manifests import NotReadableError, documents, read_objects, read_policies

TEXT = """\
kind: AIGatewayPolicy
metadata: {name: a, creationTimestamp: 2026-01-02T03:04:05Z}
spec:
  backends:
  - name: v1
    weight: 80
  - {name: v2, weight: 20}
---
apiVersion: v1
kind: List
items:
- kind: Service
  metadata: {name: s, namespace: x}
- kind: AIGatewayPolicy
  metadata: {name: b, namespace: x}
---
"""


def file(text: str, name: str = "some.yaml") -> StringIO:
    """Return a text as an open file."""
    opened = StringIO(text)
    opened.name = name
    return opened


def test_every_object_is_found() -> None:
    """Several documents and Lists in them are what they hold; empty documents are nothing."""
    assert ["/a", "x/s", "x/b"] == [document.key for document in documents(file(TEXT))]


def test_policies_are_completed() -> None:
    """A policy gets what the API server would add, and keeps what it has; other kinds are passed over."""
    first, second = read_policies([file(TEXT)], "team")

    assert ("team/a", "2026-01-02T03:04:05Z") == (first.key, first.value["metadata"]["creationTimestamp"])
    assert ("x/b", 1) == (second.key, second.value["metadata"]["generation"])
    assert first.value["metadata"]["uid"] != second.value["metadata"]["uid"]


@pytest.mark.parametrize(
    ("field", "line"),
    [
        pytest.param("", 1, id="the-object"),
        pytest.param("spec", 3, id="member"),
        pytest.param("spec.backends[0].weight", 6, id="member-of-an-item"),
        pytest.param("spec.backends[1].weight", 7, id="on-one-line"),
        pytest.param("spec.backends[1].service", 7, id="missing-member"),
        pytest.param("spec.backends[9].service", 4, id="missing-item"),
        pytest.param("spec.hosts[0]", 3, id="missing-list"),
    ],
)
def test_line_of_a_field(field: str, line: int) -> None:
    """A field's line is its own, or that of the nearest part that is there."""
    assert line == documents(file(TEXT))[0].line(field)


def test_a_broken_file_names_its_line() -> None:
    """The first line that cannot be read is told."""
    with pytest.raises(NotReadableError) as raised:
        documents(file("a: 1\nb: ]\nc: 2\n"))

    assert ("some.yaml", 2) == (raised.value.file, raised.value.line)


def test_a_broken_file_ends_a_command() -> None:
    """Commands that need every object end with a sentence, not with a trace."""
    with pytest.raises(click.ClickException, match=r"some.yaml:\d+ is not YAML"):
        read_objects([file(TEXT), file("a: [")])
