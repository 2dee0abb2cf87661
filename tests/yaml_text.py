"""YAML as people write it: keys in order, no anchors.  For golden files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml


class _WithoutAnchors(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002  (signature of the library)
        return True


def dump_all(documents: Iterable[Any]) -> str:
    """Return several documents in one text."""
    return yaml.dump_all(documents, Dumper=_WithoutAnchors, sort_keys=False, width=120)
