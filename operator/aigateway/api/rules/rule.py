"""A rule between fields: one statement for the API server and one for the model, with one message.

The rules themselves are in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from aigateway.api.model import Model

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)  # no slots: a parametrized generic could not be made
class Rule(Generic[M]):
    """One rule on a model.

    ``cel`` holds on ``self`` where the rule is kept.  ``broken_at`` yields where it is broken, relative to the model
    ("" for the model itself), and nothing where it is kept.  ``message`` names the fields, the rule and the remedy.
    ``field`` is the member of the model that the API server's error names ("": the model itself).
    """

    cel: str
    message: str
    broken_at: Callable[[M], Iterable[str]]
    field: str = ""


def unless(holds: Callable[[M], bool], field: str = "") -> Callable[[M], Iterable[str]]:
    """Return a ``broken_at`` that names ``field`` where ``holds`` is False."""
    return lambda model: () if holds(model) else (field,)


def repeated(keys: Sequence[Hashable]) -> Iterator[int]:
    """Yield the index of each key that was there before."""
    seen: set[Hashable] = set()
    for index, key in enumerate(keys):
        if key in seen:
            yield index
        seen.add(key)
