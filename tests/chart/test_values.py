"""How values.yaml is read: paths, defaults, explanations and what narrows them."""

from __future__ import annotations

import pytest

from tools.chart.schema import schema
from tools.chart.values import Value, ValuesError, read

TEXT = """\
# A word to who reads the file.

# -- How many.
# @schema {"minimum": 1}
replicas: 2
image:
  # -- Where from, in
  # two lines.
  registry: ""
# -- Anything.
# @schema {"additionalProperties": true}
resources: {limits: {cpu: "1"}}
"""


def test_values_come_with_path_default_and_explanation() -> None:
    """A commented value is one row, whatever it holds; a mapping without a comment is only a level."""
    expected = [
        Value(("replicas",), 2, "How many.", {"minimum": 1}),
        Value(("image", "registry"), "", "Where from, in two lines."),
        Value(("resources",), {"limits": {"cpu": "1"}}, "Anything.", {"additionalProperties": True}),
    ]

    assert expected == read(TEXT)
    assert "image.registry" == expected[1].name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("replicas: 2\n", "replicas has no comment", id="no-comment"),
        pytest.param("image:\n  # just a remark\n  tag: a\n", "image.tag has no comment", id="remark-only"),
        pytest.param("- a\n", "no mapping", id="a-list"),
    ],
)
def test_a_value_without_explanation_is_refused(text: str, told: str) -> None:
    """A value that nobody explains cannot get into the chart."""
    with pytest.raises(ValuesError, match=told):
        read(text)


def test_the_schema_is_closed_at_every_level() -> None:
    """Types come from the defaults, limits from the comments, and no level takes unknown names."""
    made = schema(read(TEXT))

    assert made["additionalProperties"] is False
    assert made["properties"]["image"]["additionalProperties"] is False
    assert {"replicas", "image", "resources", "global"} == set(made["properties"])
    assert {"type": "integer", "description": "How many.", "default": 2, "minimum": 1} == made["properties"]["replicas"]
    assert made["properties"]["resources"]["additionalProperties"] is True
