"""Durations are read and written as GEP-2257 says; the bounds of values hold at their edges."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from aigateway.api import types
from aigateway.api.classification import RETRYABLE_STATUS_CODES
from aigateway.api.types import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        pytest.param("1ms", 1, id="a millisecond"),
        pytest.param("10s", 10_000, id="seconds"),
        pytest.param("1m30s", 90_000, id="minutes and seconds"),
        pytest.param("1h1m1s1ms", 3_661_001, id="every unit"),
        pytest.param("30s1m", 90_000, id="small unit first, as Go allows"),
        pytest.param("1s1s", 2_000, id="a unit twice, as Go allows"),
        pytest.param("0s", 0, id="nothing"),
        pytest.param("99999h", 359_996_400_000, id="the most that is written with one unit"),
    ],
)
def test_a_duration_is_read(text: str, milliseconds: int) -> None:
    """A duration is the sum of its parts, in milliseconds."""
    assert milliseconds == parse_duration(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("10", id="no unit"),
        pytest.param("10 s", id="a space"),
        pytest.param("1.5s", id="a fraction"),
        pytest.param("-1s", id="a sign"),
        pytest.param("1d", id="a day, which Go does not know"),
        pytest.param("1us", id="microseconds, which GEP-2257 leaves out"),
        pytest.param("100000s", id="six digits"),
        pytest.param("1s1s1s1s1s", id="five parts"),
        pytest.param("10s\n", id="a line end"),
        pytest.param("\u0661s", id="a digit that is not ASCII"),
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything that GEP-2257 does not allow is an error, and the error shows it."""
    with pytest.raises(ValueError, match="not a duration") as caught:
        parse_duration(text)

    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        pytest.param(0, "0s", id="nothing"),
        pytest.param(1, "1ms", id="a millisecond"),
        pytest.param(1_500, "1s500ms", id="a second and a half"),
        pytest.param(90_000, "1m30s", id="more than a minute"),
        pytest.param(86_400_000, "24h", id="a day"),
    ],
)
def test_a_duration_is_written_in_its_largest_units(milliseconds: int, text: str) -> None:
    """The written form is the shortest, largest unit first."""
    assert text == format_duration(milliseconds)


EDGES = [
    pytest.param(types.Duration, ["1ms", "24h"], ["0ms", "24h1ms", "1500us"], id="duration"),
    pytest.param(types.Period, ["1s", "30m"], ["0s", "1801s", "1000ms"], id="period"),
    pytest.param(types.Stabilization, ["0s", "1h"], ["3601s", "1ms"], id="stabilization"),
    pytest.param(types.BackendName, ["a", "0", "a" * 40, "a-b"], ["", "a" * 41, "-a", "a-", "A", "a.b"], id="backend"),
    pytest.param(types.ServiceName, ["a" * 63], ["a" * 64, "a.b"], id="service"),
    pytest.param(types.WorkloadName, ["a.b", "a" * 253], ["a..b", ".a", "a" * 254], id="workload"),
    pytest.param(types.GatewayName, ["a/b", "a/b.c"], ["mesh", "a/", "/b", "a/b/c"], id="gateway"),
    pytest.param(
        types.Host,
        ["a.b", "*.a.b", "xn--a.b", "1.example", f"{'a' * 63}.b"],
        ["a", "*", "*.b", "a.*.b", "*a.b", "A.b", "a.b.", ".a.b", "10.0.0.1", f"{'a' * 64}.b", "a_b.c", "a.b:80"],
        id="host",
    ),
    pytest.param(
        types.PathPrefix,
        ["/", "/v1", "/v1/models", "/a.b", "/.well-known", "/..a", "/%7Euser", "/a:b@c"],
        ["", "v1", "/v1/", "//", "/a//b", "/.", "/..", "/a/../b", "/a*", "/a?b", "/a#b", "/a b", "/%g0", "/%2", "/é"],
        id="path",
    ),
    pytest.param(
        types.HeaderName,
        ["x-model-version", "X-A", "a" * 64, "x!#$%&'*+.^_`|~"],
        ["", "x a", ":path", "x:y", "host", "Host", "METHOD", "uri", "scheme", "authority", "x\n", "é", "a" * 65],
        id="header name",
    ),
    pytest.param(types.HeaderValue, ["a", "a b", "~"], ["", " a", "a ", "a\n", "\t", "é", "a\x7f"], id="header value"),
    pytest.param(types.HeaderValuePrefix, ["Bearer ", "a"], ["", " a", "a\n"], id="header prefix"),
    pytest.param(types.StatusCode, [408, 500, 503], [200, 400, 404, 501, 505, "503", 503.0, True], id="status code"),
    pytest.param(types.Weight, [0, 100], [-1, 101, "1", 1.0, True], id="weight"),
    pytest.param(types.Port, [1, 65_535], [0, 65_536], id="port"),
    pytest.param(types.Replicas, [1, 10_000], [0, 10_001], id="replicas"),
]


@pytest.mark.parametrize(("kind", "allowed", "refused"), EDGES)
def test_the_edges_of_a_value(kind: Any, allowed: list[Any], refused: list[Any]) -> None:
    """A value is taken up to its bounds and refused beyond, without any conversion."""
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[kind, "strict as in the models"])

    assert allowed == [value for value in allowed + refused if _is_taken(adapter, value)]


def _is_taken(adapter: TypeAdapter[Any], value: object) -> bool:
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def test_what_a_client_did_wrong_is_never_retried() -> None:
    """The status codes of a request that is wrong in itself are not among those that may be retried."""
    assert not {400, 401, 403, 404, 422, 501, 505} & set(RETRYABLE_STATUS_CODES)
