"""Values of the wrong type or size, items that repeat, members that are missing."""

from __future__ import annotations

from tests.mistakes.mistake import MATCH, V1, V2, Mistake
from tests.policies import GONE, Raw

RATE = {"type": "RequestRate", "requestRate": {"targetPerReplica": 1}}


def _many(count: int, template: Raw) -> list[Raw]:
    return [{**template, "name": f"{template['name']}-{index}"} for index in range(count)]


def _once(at: str, value: object, message: str, server_message: str) -> Mistake:
    return Mistake({at: value}, at, message, at, server_message)


ROUTE: Raw = {"name": "r", "matches": [{"method": "GET"}]}
HEADER_MATCH: Raw = {"name": "x", "exact": "v"}

SHAPES = {
    "weight as a string": _once(
        f"{V1}.weight",
        "80",
        'must be a whole number, not "80"',
        'Invalid value: "string": spec.backends[0].weight in body must be of type integer: "string"',
    ),
    "weight with a fraction": _once(
        f"{V1}.weight",
        79.5,
        "must be a whole number, not 79.5",
        'Invalid value: "number": spec.backends[0].weight in body must be of type integer: "number"',
    ),
    "weight above 100": _once(
        f"{V1}.weight",
        101,
        "must be at most 100, not 101",
        "Invalid value: 101: spec.backends[0].weight in body should be less than or equal to 100",
    ),
    "weight below 0": _once(
        f"{V1}.weight",
        -1,
        "must be at least 0, not -1",
        "Invalid value: -1: spec.backends[0].weight in body should be greater than or equal to 0",
    ),
    "switch as a word": _once(
        "spec.suspend",
        "yes",
        'must be true or false, not "yes"',
        'Invalid value: "string": spec.suspend in body must be of type boolean: "string"',
    ),
    "list as an object": _once(
        "spec.autoscaling",
        [],
        "must be an object, not a list",
        'Invalid value: "array": spec.autoscaling in body must be of type object: "array"',
    ),
    "object as a list": _once(
        "spec.routes",
        {},
        "must be a list, not an object",
        'Invalid value: "object": spec.routes in body must be of type array: "object"',
    ),
    "number as a name": _once(
        f"{V1}.name",
        1,
        "must be a string, not 1",
        'Invalid value: "integer": spec.backends[0].name in body must be of type string: "integer"',
    ),
    "port 0": _once(
        f"{V1}.service.port",
        0,
        "must be at least 1, not 0",
        "Invalid value: 0: spec.backends[0].service.port in body should be greater than or equal to 1",
    ),
    "11 attempts": _once(
        "spec.retries.attempts",
        11,
        "must be at most 10, not 11",
        "Invalid value: 11: spec.retries.attempts in body should be less than or equal to 10",
    ),
    "no replicas": _once(
        "spec.autoscaling.minReplicas",
        0,
        "must be at least 1, not 0",
        "Invalid value: 0: spec.autoscaling.minReplicas in body should be greater than or equal to 1",
    ),
    "33 routes": _once(
        "spec.routes",
        _many(33, ROUTE),
        "must have at most 32 items, not 33",
        "Too many: 33: must have at most 32 items",
    ),
    "9 matches": _once(
        "spec.routes[1].matches",
        [{"method": "GET"}] * 9,
        "must have at most 8 items, not 9",
        "Too many: 9: must have at most 8 items",
    ),
    "9 headers": _once(
        f"{MATCH}.headers",
        _many(9, HEADER_MATCH),
        "must have at most 8 items, not 9",
        "Too many: 9: must have at most 8 items",
    ),
    "17 hosts": _once(
        "spec.hosts",
        [f"h{i}.example.com" for i in range(17)],
        "must have at most 16 items, not 17",
        "Too many: 17: must have at most 16 items",
    ),
    "5 gateways": _once(
        "spec.gateways",
        [f"a/g{i}" for i in range(5)],
        "must have at most 4 items, not 5",
        "Too many: 5: must have at most 4 items",
    ),
    "no hosts in the list": _once(
        "spec.hosts", [], "must not be empty", "Invalid value: 0: spec.hosts in body should have at least 1 items"
    ),
    "backend name of 41": _once(
        f"{V1}.name", "v" * 41, "must have at most 40 characters", "Too long: may not be more than 40 bytes"
    ),
    "header name of 65": _once(
        f"{MATCH}.headers[0].name",
        "x" * 65,
        "must have at most 64 characters",
        "Too long: may not be more than 64 bytes",
    ),
    "header value of 257": _once(
        f"{MATCH}.headers[0].exact",
        "v" * 257,
        "must have at most 256 characters",
        "Too long: may not be more than 256 bytes",
    ),
    "empty backend name": _once(
        f"{V1}.name",
        "",
        "must not be empty",
        'Invalid value: "": spec.backends[0].name in body should be at least 1 chars long',
    ),
    "unknown method": _once(
        f"{MATCH}.method",
        "TRACE",
        "must be 'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE' or 'OPTIONS', not \"TRACE\"",
        'Unsupported value: "TRACE": supported values: "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"',
    ),
    "unknown condition": _once(
        "spec.retries.conditions[0]",
        "Timeout",
        "must be 'ConnectFailure', 'RefusedStream', 'ResetBeforeRequest', 'Reset' or 'GatewayError', not \"Timeout\"",
        'Unsupported value: "Timeout": supported values: "ConnectFailure", "RefusedStream", '
        '"ResetBeforeRequest", "Reset", "GatewayError"',
    ),
    "unknown kind": _once(
        f"{V2}.scaleTargetRef.kind",
        "DaemonSet",
        "must be 'Deployment' or 'StatefulSet', not \"DaemonSet\"",
        'Unsupported value: "DaemonSet": supported values: "Deployment", "StatefulSet"',
    ),
    "unknown percentile": _once(
        "spec.autoscaling.rules[1].latency.percentile",
        97,
        "must be 50, 90, 95 or 99, not 97",
        'Unsupported value: 97: supported values: "50", "90", "95", "99"',
    ),
    "unknown type of rule": _once(
        "spec.autoscaling.rules[0].type",
        "Memory",
        "must be 'RequestRate', 'Latency', 'QueueLength' or 'CPU', not \"Memory\"",
        'Unsupported value: "Memory": supported values: "RequestRate", "Latency", "QueueLength", "CPU"',
    ),
    "host twice": Mistake(
        {"spec.hosts": ["a.example.com", "a.example.com"]},
        "spec.hosts",
        "is a list without repetition: a.example.com is there more than once",
        "spec.hosts[1]",
        'Duplicate value: "a.example.com"',
    ),
    "backend twice": Mistake(
        {f"{V2}.name": "v1"},
        "spec.backends",
        "is a list without repetition: v1 is there more than once",
        V2,
        'Duplicate value: {"name":"v1"}',
    ),
    "two rules of one type": Mistake(
        {"spec.autoscaling.rules[1]": RATE},
        "spec.autoscaling.rules",
        "is a list without repetition: RequestRate is there more than once",
        "spec.autoscaling.rules[1]",
        'Duplicate value: {"type":"RequestRate"}',
    ),
    "condition twice": Mistake(
        {"spec.retries.conditions": ["Reset", "Reset"]},
        "spec.retries.conditions",
        "is a list without repetition: Reset is there more than once",
        "spec.retries.conditions[1]",
        'Duplicate value: "Reset"',
    ),
    "status code twice": Mistake(
        {"spec.retries.statusCodes": [503, 503]},
        "spec.retries.statusCodes",
        "is a list without repetition: 503 is there more than once",
        "spec.retries.statusCodes[1]",
        "Duplicate value: 503",
    ),
    "no backends": _once("spec.backends", GONE, "is required", "Required value"),
    "no upper bound": _once("spec.autoscaling.maxReplicas", GONE, "is required", "Required value"),
    "no spec": _once("spec", GONE, "is required", "Required value"),
    "null in a list": _once(
        "spec.hosts[0]",
        None,
        "must be a string, not null",
        'Invalid value: "null": spec.hosts[0] in body must be of type string: "null"',
    ),
}
