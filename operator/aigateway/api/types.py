"""The values of the API: durations, names, paths, hosts, headers.

Each is a bounded string or integer with one rule and one message, checked the same by the API server and by the models.
Durations are strings of Gateway API's GEP-2257, a subset of what Go parses, so that CEL and Istio read them as well.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from aigateway.api.classification import RETRYABLE_STATUS_CODES
from aigateway.api.model import Format, cel_literal
from aigateway.api.resolved import Milliseconds

_UNITS: dict[str, Milliseconds] = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
DURATION = "^([0-9]{1,5}(h|m|s|ms)){1,4}$"
_WHOLE_SECONDS = "^([0-9]{1,5}(h|m|s)){1,3}$"


def parse_duration(text: str) -> Milliseconds:
    """Return the milliseconds of a GEP-2257 duration such as ``1m30s``; ValueError for anything else."""
    if not re.fullmatch(DURATION, text):
        message = f"not a duration: {text!r}"
        raise ValueError(message)
    return sum(int(count) * _UNITS[unit] for count, unit in re.findall("([0-9]+)(ms|h|m|s)", text))


def format_duration(milliseconds: Milliseconds) -> str:
    """Return the shortest GEP-2257 form, largest unit first: 90000 is ``1m30s``, 0 is ``0s``."""
    parts = []
    for unit, size in _UNITS.items():
        count, milliseconds = divmod(milliseconds, size)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def _matching(pattern: str, message: str) -> Format:
    """Return the rule that the whole value matches ``pattern`` (RE2 without classes that Python reads differently)."""
    compiled = re.compile(pattern)
    return Format(f"self.matches({cel_literal(pattern)})", message, lambda value: bool(compiled.fullmatch(value)))


def _between(low: str, high: str, pattern: str, message: str) -> Format:
    """Return the rule that the value is a duration of ``pattern`` within the bounds."""
    shape = _matching(pattern, message)
    bounds = (parse_duration(low), parse_duration(high))
    return Format(
        f"{shape.cel} && duration(self) >= duration('{low}') && duration(self) <= duration('{high}')",
        message,
        lambda value: bool(shape.holds(value)) and bounds[0] <= parse_duration(value) <= bounds[1],
    )


# Istio refuses durations under a millisecond, and a day is more than any request or connection should take.
Duration = Annotated[
    str,
    Field(min_length=1, max_length=28),
    _between("1ms", "24h", DURATION, "must be a duration from 1ms to 24h, such as 500ms, 10s or 1m30s"),
]

# Kubernetes' HorizontalPodAutoscaler takes whole seconds, at most half an hour a period, an hour to stabilize.
Period = Annotated[
    str,
    Field(min_length=1, max_length=21),
    _between("1s", "30m", _WHOLE_SECONDS, "must be a duration from 1s to 30m in whole seconds, such as 60s or 5m"),
]
Stabilization = Annotated[
    str,
    Field(min_length=1, max_length=21),
    _between("0s", "1h", _WHOLE_SECONDS, "must be a duration from 0s to 1h in whole seconds, such as 90s or 10m"),
]

# Istio's and Envoy's clocks for these count in seconds.
WholeSeconds = Annotated[
    str,
    Field(min_length=1, max_length=21),
    _between("1s", "24h", _WHOLE_SECONDS, "must be a duration from 1s to 24h in whole seconds, such as 30s or 2m"),
]
# Envoy refuses to fill a token bucket more often than every 50 ms.
FillInterval = Annotated[
    str,
    Field(min_length=1, max_length=28),
    _between("50ms", "1m", DURATION, "must be a duration from 50ms to 1m, such as 1s or 30s"),
]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_RULE = _matching(
    f"^{_LABEL}$", "must be lower-case letters, digits and hyphens, and start and end with a letter or digit"
)

BackendName = Annotated[str, Field(min_length=1, max_length=40), _LABEL_RULE]
RouteName = Annotated[str, Field(min_length=1, max_length=63), _LABEL_RULE]
LimitName = Annotated[str, Field(min_length=1, max_length=63), _LABEL_RULE]
ServiceName = Annotated[str, Field(min_length=1, max_length=63), _LABEL_RULE]
WorkloadName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    _matching(
        f"^{_SUBDOMAIN}$",
        "must be lower-case letters, digits, hyphens and dots, and each part start and end with a letter or digit",
    ),
]
GatewayName = Annotated[
    str,
    Field(min_length=1, max_length=317),
    _matching(
        f"^{_LABEL}/{_SUBDOMAIN}$",
        "must name an Istio Gateway as namespace/name, such as istio-system/ai-gateway; for the mesh use spec.service",
    ),
]

# A name of one label would be completed by Istio to a Service in the policy's namespace, and an address is no host.
Host = Annotated[
    str,
    Field(min_length=1, max_length=253),
    _matching(
        r"^(\*\.)?([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?$",
        "must be a lower-case DNS name with at least one dot, such as ai.example.com; "
        "a wildcard may stand only for the first label, as in *.example.com",
    ),
]

# Percent signs only in escapes; a segment of dots alone would be resolved away before any match.
_PATH_CHARACTER = r"([-A-Za-z0-9_~!$&()+,;=:@]|%[0-9A-Fa-f]{2})"
PathPrefix = Annotated[
    str,
    Field(min_length=1, max_length=256),
    _matching(
        rf"^(/|(/[.]*{_PATH_CHARACTER}([.]|{_PATH_CHARACTER})*)+)$",
        "must be a path such as /v1/models: it starts with a slash, has none at the end, no empty or dots-only "
        "segment, and none of * ? #",
    ),
]

# Istio ignores header matches of the four names in its own match syntax, and Envoy reads host as :authority.
_RESERVED_HEADERS = "host", "uri", "scheme", "method", "authority"
_TOKEN = _matching("^[-A-Za-z0-9!#$%&'*+.^_`|~]+$", "")
_HEADER_MESSAGE = (
    "must be an HTTP header name: letters, digits and hyphens, no spaces, no pseudo header such as :path, "
    "and not host, uri, scheme, method or authority; use spec.hosts, method and pathPrefix for those"
)
HeaderName = Annotated[
    str,
    Field(min_length=1, max_length=64),
    Format(
        f"{_TOKEN.cel} && !(self.lowerAscii() in [{', '.join(map(cel_literal, _RESERVED_HEADERS))}])",
        _HEADER_MESSAGE,
        lambda value: bool(_TOKEN.holds(value)) and value.lower() not in _RESERVED_HEADERS,
    ),
]
HeaderValue = Annotated[
    str,
    Field(min_length=1, max_length=256),
    _matching(
        "^[!-~]([ -~]*[!-~])?$",
        "must be printable ASCII without a space at either end: no other header value can match",
    ),
]
HeaderValuePrefix = Annotated[
    str,
    Field(min_length=1, max_length=256),
    _matching("^[!-~][ -~]*$", "must be printable ASCII that starts with no space: no other header value can match"),
]

StatusCode = Annotated[
    int,
    Format(
        f"self in {list(RETRYABLE_STATUS_CODES)}",
        f"must be one of {', '.join(map(str, RETRYABLE_STATUS_CODES))}; "
        "others, such as 400, 401, 403, 404, 422, 501 and 505, are never retried: "
        "the same request gets the same answer",
        lambda value: value in RETRYABLE_STATUS_CODES,
    ),
]

QueryParameter = Annotated[
    str,
    Field(min_length=1, max_length=64),
    _matching("^[-A-Za-z0-9._~]+$", "must be the name of a query parameter: letters, digits and any of - . _ ~"),
]
Region = Annotated[
    str,
    Field(min_length=1, max_length=63),
    _matching(
        "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        "must be the value of a node's topology.kubernetes.io/region label, such as eu-west-1",
    ),
]
# Each request under way may hold as much memory in the proxy.
BufferLimit = Annotated[
    str,
    Field(min_length=1, max_length=6),
    _matching(
        "^([1-9][0-9]{0,3}Ki|([1-9]|[1-5][0-9]|6[0-4])Mi)$",
        "must be a size from 1Ki to 64Mi, such as 512Ki or 16Mi",
    ),
]


def parse_size(text: str) -> int:
    """Return the bytes of a size such as ``16Mi``."""
    return int(text[:-2]) * {"Ki": 1 << 10, "Mi": 1 << 20}[text[-2:]]


Port = Annotated[int, Field(ge=1, le=65535)]
Percent = Annotated[int, Field(ge=1, le=100)]
Weight = Annotated[int, Field(ge=0, le=100)]
Replicas = Annotated[int, Field(ge=1, le=10_000)]
Limit = Annotated[int, Field(ge=1, le=1_000_000)]
