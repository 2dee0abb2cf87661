"""What an answer of Prometheus says of each backend: a number with its time, or why there is none.

:mod:`aigateway.metrics.prometheus` raises :class:`NoAnswer` where nothing usable came at all;
:mod:`aigateway.metrics.sampler` hands the rows of the other answers to :func:`read`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aigateway.core.observation import Counted, Lack, NoData, Sample
from aigateway.metrics.queries import COUNTED, HOST

Row = Mapping[str, Any]
"""One element of an instant query's vector: ``{"metric": {label: value}, "value": [seconds, "number"]}``."""


class NoAnswer(Exception):  # noqa: N818 (a finding, as StopIteration is)
    """Prometheus gave no answer that can be used; the text is for logs."""

    def __init__(self, lack: Lack, text: str) -> None:
        super().__init__(text)
        self.lack = lack


def read(rows: Sequence[Row], hosts: Iterable[str], now: float, max_age: float) -> dict[str, Sample | NoData]:
    """Return what there is of every host that was asked about; rows of others are nobody's.

    ``max_age`` seconds may lie between the answer's own time and ``now``, both ways: clocks may differ.

    Raises:
        NoAnswer: the rows are none of an instant query.
    """
    found: dict[str, Sample | NoData] = dict.fromkeys(hosts, NoData(Lack.EMPTY))
    for row in rows:
        host, sample = _row(row, now, max_age)
        if host in found:
            found[host] = sample if found[host] == NoData(Lack.EMPTY) else NoData(Lack.DUPLICATE)
    return found


def _row(row: Row, now: float, max_age: float) -> tuple[str, Sample | NoData]:
    try:
        labels = row["metric"]
        at, text = row["value"]
        return str(labels[HOST]), _sample(float(text), float(at), labels.get(COUNTED), now, max_age)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise NoAnswer(Lack.NOT_JSON, f"a row is none of an instant query: {str(row)[:100]}") from error


def _sample(value: float, at: float, counted: str | None, now: float, max_age: float) -> Sample | NoData:
    if not math.isfinite(value):
        return NoData(Lack.NOT_A_NUMBER)
    if not abs(now - at) <= max_age:  # a time that is not a number is not recent either
        return NoData(Lack.STALE)
    return Sample(value, at, Counted(counted) if counted else Counted.ATTEMPTS)
