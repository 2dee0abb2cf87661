"""Answers of Prometheus: what is a number, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway.core.observation import Counted, Lack, NoData, Sample
from aigateway.metrics.answers import NoAnswer, read

NOW = 1000.0


def row(value: Any = "2.5", at: Any = NOW, host: str = "a", **labels: str) -> dict[str, Any]:
    """Return a row of an answer."""
    return {"metric": {"destination_service": host, **labels}, "value": [at, value]}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([row()], Sample(2.5, NOW), id="a number"),
        pytest.param([row("0")], Sample(0.0, NOW), id="zero"),
        pytest.param([row(counted="requests")], Sample(2.5, NOW, Counted.REQUESTS), id="of requests"),
        pytest.param([row(counted="attempts")], Sample(2.5, NOW, Counted.ATTEMPTS), id="of attempts"),
        pytest.param([], NoData(Lack.EMPTY), id="nothing"),
        pytest.param([row(host="b")], NoData(Lack.EMPTY), id="of another host"),
        pytest.param([row("NaN")], NoData(Lack.NOT_A_NUMBER), id="NaN"),
        pytest.param([row("+Inf")], NoData(Lack.NOT_A_NUMBER), id="infinite"),
        pytest.param([row("-Inf")], NoData(Lack.NOT_A_NUMBER), id="infinitely negative"),
        pytest.param([row(), row()], NoData(Lack.DUPLICATE), id="twice"),
        pytest.param([row(), row(), row()], NoData(Lack.DUPLICATE), id="thrice"),
        pytest.param([row(at=NOW - 45)], Sample(2.5, NOW - 45), id="just recent"),
        pytest.param([row(at=NOW - 46)], NoData(Lack.STALE), id="old"),
        pytest.param([row(at=NOW + 46)], NoData(Lack.STALE), id="of the future"),
        pytest.param([row(at="NaN")], NoData(Lack.STALE), id="of no time"),
    ],
)
def test_one_host(rows: list[dict[str, Any]], expected: Sample | NoData) -> None:
    """Only one finite number of now is a sample; everything else is no data, never 0."""
    assert {"a": expected} == read(rows, ["a"], NOW, 45.0)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(row("two"), id="no number"),
        pytest.param(row(None), id="null"),
        pytest.param({"metric": {}, "value": [NOW, "1"]}, id="without host"),
        pytest.param({"metric": {"destination_service": "a"}, "values": [[NOW, "1"]]}, id="of a range"),
        pytest.param({"metric": None, "value": [NOW, "1"]}, id="no labels"),
        pytest.param(row(counted="dreams"), id="counted otherwise"),
        pytest.param("row", id="text"),
    ],
)
def test_what_is_no_row(bad: Any) -> None:
    """One row of another form makes the whole answer unusable."""
    with pytest.raises(NoAnswer) as caught:
        read([row(), bad], ["a"], NOW, 45.0)

    assert Lack.NOT_JSON == caught.value.lack
