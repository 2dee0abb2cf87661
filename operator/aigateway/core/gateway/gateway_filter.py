"""The gateway filter: one EnvoyFilter for the gateways of a namespace, the same for all policies, changed by none.

The chart installs it, since a changed listener drains its connections; the operator only looks whether it is there.
It has no effect on routes without the metadata that :mod:`aigateway.core.gateway.route_extension` writes, and knows no
policy.  It adds to the gateways' listeners:

- filters for deadlines and rate limits, which routes and virtual hosts switch on;
- JSON bodies for responses that the gateway itself makes (``errors: JSON``); models' own are left alone;
- a line of JSON on standard output for each request (``log: Requests``), and for each of its attempts
  (``log: Attempts``).  Envoy sorts the keys of both.

It needs Envoy 1.36, the first with ``%TYPED_CEL``, as in Istio 1.28.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aigateway.api.classification import (
    ANSWERS,
    GATEWAY_ERRORS,
    OTHER_GATEWAY_ERROR,
    GatewayError,
    Severity,
    after_attempts,
)
from aigateway.core.gateway.deadline_lua import LONGEST_KEY, deadline_lua
from aigateway.core.gateway.route_extension import (
    DEADLINE_FILTER,
    DEADLINE_SCRIPT,
    EXTENSION,
    RATE_LIMIT_FILTER,
    RATE_LIMIT_TYPE,
    RETRY_AFTER_FILTER,
)
from aigateway.core.identity import GATEWAY_FILTER_CONTRACT_ANNOTATION, GATEWAY_FILTER_PART, PART_LABEL

Body = dict[str, Any]

CONTRACT = 1
"""What routes may ask of the filter. It is raised with whatever is added; nothing that a lower one offers ever goes, so
that during an upgrade the routes of the earlier operator keep what they have."""

NAME = "aigateway-gateway-filter"

_TYPE = "type.googleapis.com/envoy.extensions"
_MANAGER = "envoy.filters.network.http_connection_manager"
_ROUTER = "envoy.filters.http.router"

FLAG_BITS: Mapping[str, int] = {
    "DC": 1 << 14, "LR": 1 << 3, "RL": 1 << 11, "SI": 1 << 16, "UC": 1 << 6, "UF": 1 << 5,
    "UH": 1 << 1, "UO": 1 << 7, "UPE": 1 << 23, "UR": 1 << 4, "UT": 1 << 2,
}  # fmt: skip
"""Envoy's response flags as CEL has them, in the bits of the number ``response.flags``."""

_DEADLINE_EXCEEDED = next(error for error in GATEWAY_ERRORS if error.type == "deadline_exceeded")
_INVALID_DEADLINE = GatewayError(
    "invalid_request", 400, (), Severity.CLIENT, retryable=False,
    message="the deadline of the request is not a time; it was not sent to a model",
)  # fmt: skip
_KEY_TOO_LONG = GatewayError(
    "invalid_request", 400, (), Severity.CLIENT, retryable=False,
    message=f"the key is longer than {LONGEST_KEY} bytes; the request was not sent to a model",
)  # fmt: skip
_REFUSED_BY_SCRIPT = {"late": _DEADLINE_EXCEEDED, "invalid": _INVALID_DEADLINE, "too-long": _KEY_TOO_LONG}
"""By what the script leaves in the request's metadata."""
_REFUSED = "the gateway refused the request"

_ROUTE = f"xds.route_metadata.filter_metadata['{EXTENSION}']"
_REPEATS = f"{_ROUTE}.repeats == 'Processed'"
_BY_SCRIPT = f"metadata.filter_metadata['{DEADLINE_FILTER}']"
_VIA_UPSTREAM = "has(response.code_details) && response.code_details == 'via_upstream'"
_GRPC = "'content-type' in request.headers && request.headers['content-type'].startsWith('application/grpc')"
_OURS = f"{_ROUTE}.errors == 'JSON' && !({_GRPC})"
_TRACE_ID = "%CEL(re.extract(request.headers['traceparent'], '^[0-9a-f]{2}-([0-9a-f]{32})-.*$', '\\\\1'))%"


def error_type_expression() -> str:
    """Return the CEL of :func:`aigateway.api.classification.error_type`, and of what the script refused.

    A model's own answer goes by its status: Envoy sets flags on it as well where it could not be tried again.  There is
    no percent sign in it, which would end it in Envoy's formats.
    """
    by_flag = [
        f"!({_VIA_UPSTREAM}) && ({' || '.join(_has_flag(flag) for flag in error.flags)}) ? '{error.type}'"
        for error in GATEWAY_ERRORS
        if error.flags
    ]
    chain = [
        f"'{DEADLINE_FILTER}' in metadata.filter_metadata ? {_BY_SCRIPT}.error_type",
        *by_flag,
        f"!has(response.code) ? '{OTHER_GATEWAY_ERROR.type}'",
        "response.code < 400 ? null",
        _type_by_status(answer.status for answer in ANSWERS),
    ]
    return " : ".join(chain)


def _type_by_status(statuses: Iterable[int]) -> str:
    known = {answer.status: answer.type for answer in ANSWERS}
    chain = [f"response.code == {status} ? '{known[status]}'" for status in statuses]
    return " : ".join([*chain, "response.code < 500 ? 'client_error' : 'server_error'"])


def _has_flag(flag: str) -> str:
    """Return the CEL of a flag's bit: whether the number, divided by its value, is odd."""
    bit = FLAG_BITS[flag]
    return f"response.flags / {bit} - response.flags / {2 * bit} * 2 == 1"


_COMMON = {
    "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    "policy": f"%METADATA(ROUTE:{EXTENSION}:policy)%",
    "route": "%ROUTE_NAME%",
    "trace_id": _TRACE_ID,
    "request_id": "%REQ(X-REQUEST-ID)%",
    "status": "%RESPONSE_CODE%",
    "error_type": f"%TYPED_CEL({error_type_expression()})%",
    "duration_ms": "%DURATION%",
    "flags": "%RESPONSE_FLAGS%",
}


def gateway_filter(namespace: str) -> Body:
    """Return the whole EnvoyFilter for the gateways in ``namespace``."""
    body: Body = {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": NAME, "namespace": namespace, "labels": {PART_LABEL: GATEWAY_FILTER_PART}},
        "spec": {
            "configPatches": [
                _insert(DEADLINE_FILTER, _deadline_filter()),
                _insert(RETRY_AFTER_FILTER, _retry_after_filter()),
                _insert(RATE_LIMIT_FILTER, {"@type": RATE_LIMIT_TYPE, "stat_prefix": RATE_LIMIT_FILTER}),
                _merge_router({"upstream_log": [_log(["Attempts"], attempt_line())]}),
                _merge_manager(
                    {
                        "local_reply_config": {"mappers": list(_mappers())},
                        "access_log": [_log(["Requests", "Attempts"], request_line())],
                    }
                ),
            ]
        },
    }
    # The same in every namespace, so that the chart can state it.
    body["metadata"]["annotations"] = {GATEWAY_FILTER_CONTRACT_ANNOTATION: str(CONTRACT)}
    return body


def request_line() -> dict[str, str]:
    """Return what is logged of a request, once it has ended.  The path is without its query, which may hold secrets."""
    return {
        "kind": "request",
        **_COMMON,
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
        "retry_count": "%TYPED_CEL(upstream.request_attempt_count > 1u ? upstream.request_attempt_count - 1u : 0u)%",
        "backend": "%UPSTREAM_CLUSTER_RAW%",
    }


def attempt_line() -> dict[str, str]:
    """Return what is logged of an attempt; attempt N + 1 starts after ``end`` of attempt N and the wait between them.

    Envoy's own count is 0 here, hence the header that it sends to the model.
    """
    attempt = "int(request.headers['x-envoy-attempt-count'])"
    return {
        "kind": "attempt",
        **_COMMON,
        "end": "%EMIT_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
        "attempt": f"%TYPED_CEL({attempt})%",
        "retry_count": f"%TYPED_CEL({attempt} - 1)%",
        "host": "%UPSTREAM_HOST%",
    }


def _mappers() -> Iterator[Body]:
    """Yield how responses of the gateway's own become JSON; Envoy takes the first that fits.

    Statuses stay.  A gRPC client gets a status of its own, and the text as its message.
    """
    for kind, error in _REFUSED_BY_SCRIPT.items():
        ours = _cel(f"{_OURS} && {_BY_SCRIPT}.refusal == '{kind}'")
        yield _mapper(ours, _error(error) | {"field": f"%DYNAMIC_METADATA({DEADLINE_FILTER}:field)%"})
    for error in GATEWAY_ERRORS:
        if error.flags and error.status:
            if error.retryable:
                again = _cel(f"{_OURS} && {_REPEATS} && upstream.request_attempt_count > 1u")
                yield _mapper(_all(again, _made_as(error)), _error(after_attempts(error)))
            yield _mapper(_all(_cel(_OURS), _made_as(error)), _error(error))
    refused = {
        "type": f"%CEL({_type_by_status(a.status for a in ANSWERS if a.severity is Severity.CLIENT)})%",
        "message": _REFUSED,
        "severity": str(Severity.CLIENT),
        "retryable": False,
    }
    yield _mapper(_cel(f"{_OURS} && response.code < 500"), refused)
    yield _mapper(_cel(_OURS), _error(OTHER_GATEWAY_ERROR))


def _made_as(error: GatewayError) -> Body:
    flags = {"response_flag_filter": {"flags": list(error.flags)}}
    if error.type != "rate_limited":
        return flags
    # The flag is of the global limit alone.
    return {"or_filter": {"filters": [flags, _cel("response.code_details == 'local_rate_limited'")]}}


def _error(error: GatewayError) -> Body:
    return {
        "type": error.type,
        "message": error.message,
        "severity": str(error.severity),
        "retryable": error.retryable,
    }


def _mapper(which: Body, error: Body) -> Body:
    body = {"error": {**error, "traceId": _TRACE_ID, "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"}}
    return {
        "filter": which,
        "body_format_override": {"content_type": "application/json", "json_format": body},
    }


def _log(levels: list[str], line: Mapping[str, str]) -> Body:
    return {
        "name": "envoy.access_loggers.file",
        "filter": _cel(f"{_ROUTE}.log in [{', '.join(repr(level) for level in levels)}]"),
        "typed_config": {
            "@type": f"{_TYPE}.access_loggers.file.v3.FileAccessLog",
            "path": "/dev/stdout",
            "log_format": {"json_format": dict(line)},
        },
    }


def _cel(expression: str) -> Body:
    """Return a filter for requests of which ``expression`` is true; errors in it, as of missing keys, are false."""
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": {
                "@type": f"{_TYPE}.access_loggers.filters.cel.v3.ExpressionFilter",
                "expression": expression,
            },
        }
    }


def _all(*filters: Body) -> Body:
    return {"and_filter": {"filters": list(filters)}}


def _deadline_filter() -> Body:
    script = deadline_lua(
        filter_name=DEADLINE_FILTER,
        late=(_DEADLINE_EXCEEDED.type, _DEADLINE_EXCEEDED.message),
        invalid=(_INVALID_DEADLINE.type, _INVALID_DEADLINE.message),
        too_long=(_KEY_TOO_LONG.type, _KEY_TOO_LONG.message),
    )
    # By a name, so that it runs only where a route asks for it by that name.
    return {"@type": f"{_TYPE}.filters.http.lua.v3.Lua", "source_codes": {DEADLINE_SCRIPT: {"inline_string": script}}}


def _retry_after_filter() -> Body:
    """Return the filter that sees responses after the rate limits, and replaces their Retry-After, never a model's."""
    limited = "response.code_details == 'local_rate_limited'"
    seconds = f"{limited} ? response.headers['x-ratelimit-reset'] : response.headers['retry-after']"
    header = {"header": {"key": "retry-after", "value": f"%CEL({seconds})%"}, "append_action": "OVERWRITE_IF_EXISTS"}
    return {
        "@type": f"{_TYPE}.filters.http.header_mutation.v3.HeaderMutation",
        "mutations": {"response_mutations": [{"append": header}]},
    }


def _insert(name: str, config: Body) -> Body:
    """Return the patch that adds a filter right before the router, off where no route switches it on."""
    return {
        "applyTo": "HTTP_FILTER",
        "match": _listener({"name": _MANAGER, "subFilter": {"name": _ROUTER}}),
        "patch": {"operation": "INSERT_BEFORE", "value": {"name": name, "disabled": True, "typed_config": config}},
    }


def _merge_router(config: Body) -> Body:
    value = {"name": _ROUTER, "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router", **config}}
    return {
        "applyTo": "HTTP_FILTER",
        "match": _listener({"name": _MANAGER, "subFilter": {"name": _ROUTER}}),
        "patch": {"operation": "MERGE", "value": value},
    }


def _merge_manager(config: Body) -> Body:
    kind = f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager"
    value = {"name": _MANAGER, "typed_config": {"@type": kind, **config}}
    return {
        "applyTo": "NETWORK_FILTER",
        "match": _listener({"name": _MANAGER}),
        "patch": {"operation": "MERGE", "value": value},
    }


def _listener(filter_match: Body) -> Body:
    return {"context": "GATEWAY", "listener": {"filterChain": {"filter": filter_match}}}
