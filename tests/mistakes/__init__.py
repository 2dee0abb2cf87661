"""One mistake for every rule of the API, with what the user is told.

Unit tests hold these tables against the models, integration tests against the real API server: both say the same thing.
"""

from __future__ import annotations

from tests.mistakes.formats import FORMATS
from tests.mistakes.mistake import MATCH, Mistake
from tests.mistakes.relations import RELATIONS as _RELATIONS
from tests.mistakes.resilience import RESILIENCE
from tests.mistakes.shapes import SHAPES

__all__ = ["MATCH", "MISTAKES", "RELATIONS", "Mistake"]

RELATIONS: dict[str, Mistake] = {**_RELATIONS, **RESILIENCE}
"""A row for every cross-field rule."""

MISTAKES: dict[str, Mistake] = {**FORMATS, **RELATIONS, **SHAPES}
