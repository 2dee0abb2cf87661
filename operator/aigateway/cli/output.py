"""Values as text, for commands and golden files: the same values always give the same text.

On a terminal rich may colour and wrap; anywhere else lines are never wrapped and hold no escape codes.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from io import StringIO
from typing import Any, cast

import click
import yaml

TYPE_CHECKING = False
if TYPE_CHECKING:  # rich costs 50 ms, which commands that print YAML don't need
    from rich.console import RenderableType

_WIDE = 10_000
"""Columns where there is no terminal: enough that nothing is wrapped."""


class _WithoutAnchors(yaml.SafeDumper):
    """YAML as people write it: equal parts are written out, not referred to."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002  (signature of the library)
        return True


def as_yaml(objects: Sequence[Any]) -> str:
    """Return YAML documents; keys keep their order."""
    return yaml.dump_all(objects, Dumper=_WithoutAnchors, sort_keys=False, width=120) if objects else ""


def as_json(objects: Sequence[Any]) -> str:
    """Return one Kubernetes List."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}, indent=2) + "\n"


def print_view(view: object, output: str, *renderables: RenderableType) -> None:
    """Print a view model to stdout as ``yaml`` or ``json``, or else the renderables made of it."""
    if output == "yaml":
        click.echo(as_yaml([plain(view)]), nl=False)
    elif output == "json":
        click.echo(json.dumps(plain(view), indent=2))
    else:
        show(*renderables)


def plain(value: object) -> Any:  # noqa: ANN401 (JSON)
    """Return a view model as JSON: field names in camelCase, what is None left out."""
    if dataclasses.is_dataclass(value):
        members = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {_camel(name): plain(member) for name, member in members.items() if member is not None}
    if isinstance(value, Mapping):
        return {str(name): plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return cast("str", value.value) if isinstance(value, Enum) else value


def show(*renderables: RenderableType) -> None:
    """Print to stdout, with colour and at its width where it is a terminal."""
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 (see above)

        console = Console(highlight=False, markup=False, emoji=False)
        for renderable in renderables:
            console.print(renderable)
    else:
        click.echo(as_text(*renderables), nl=False)


def as_text(*renderables: RenderableType) -> str:
    """Return what :func:`show` prints where there is no terminal."""
    from rich.console import Console  # noqa: PLC0415 (see above)

    console = Console(file=StringIO(), width=_WIDE, color_system=None, highlight=False, markup=False, emoji=False)
    for renderable in renderables:
        console.print(renderable)
    written = cast("StringIO", console.file).getvalue()
    return "".join(f"{line.rstrip()}\n" for line in written.splitlines())


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
