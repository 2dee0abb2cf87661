"""Values that are not of their format."""

from __future__ import annotations

from tests.mistakes.mistake import MATCH, V1, V2, Mistake

LABEL = "must be lower-case letters, digits and hyphens, and start and end with a letter or digit"
DURATION = "must be a duration from 1ms to 24h, such as 500ms, 10s or 1m30s"
PERIOD = "must be a duration from 1s to 30m in whole seconds, such as 60s or 5m"
STABILIZATION = "must be a duration from 0s to 1h in whole seconds, such as 90s or 10m"
HOST = (
    "must be a lower-case DNS name with at least one dot, such as ai.example.com; "
    "a wildcard may stand only for the first label, as in *.example.com"
)
PATH = (
    "must be a path such as /v1/models: it starts with a slash, has none at the end, no empty or dots-only segment, "
    "and none of * ? #"
)
GATEWAY = "must name an Istio Gateway as namespace/name, such as istio-system/ai-gateway; for the mesh use spec.service"
HEADER = (
    "must be an HTTP header name: letters, digits and hyphens, no spaces, no pseudo header such as :path, "
    "and not host, uri, scheme, method or authority; use spec.hosts, method and pathPrefix for those"
)
VALUE = "must be printable ASCII without a space at either end: no other header value can match"
STATUS_CODE = (
    "must be one of 408, 409, 425, 429, 500, 502, 503, 504; others, such as 400, 401, 403, 404, 422, 501 and 505, "
    "are never retried: the same request gets the same answer"
)


def _value(path: str, value: object, message: str) -> Mistake:
    """Return a mistake in one value, which both sides report at its own place."""
    return Mistake({path: value}, path, message)


FORMATS = {
    "bad duration": _value("spec.timeouts.request", "10 s", DURATION),
    "duration without a unit": _value("spec.timeouts.request", "10", DURATION),
    "fraction in a duration": _value("spec.timeouts.request", "1.5s", DURATION),
    "no time at all": _value("spec.timeouts.request", "0s", DURATION),
    "more than a day": _value("spec.connectionPool.maxLifetime", "24h1ms", DURATION),
    "period with milliseconds": _value("spec.autoscaling.scaleUp.period", "1500ms", PERIOD),
    "period of more than half an hour": _value("spec.autoscaling.scaleUp.period", "31m", PERIOD),
    "stabilization of more than an hour": _value("spec.autoscaling.scaleDown.stabilization", "61m", STABILIZATION),
    "upper-case host": _value("spec.hosts[0]", "AI.example.com", HOST),
    "every host": _value("spec.hosts[0]", "*", HOST),
    "host of one label": _value("spec.hosts[0]", "recommendation", HOST),
    "address as host": _value("spec.hosts[0]", "10.0.0.1", HOST),
    "wildcard inside a host": _value("spec.hosts[0]", "ai.*.example.com", HOST),
    "path without a slash": _value("spec.pathPrefix", "v1", PATH),
    "path with a slash at the end": _value("spec.pathPrefix", "/v1/", PATH),
    "empty path segment": _value("spec.pathPrefix", "/v1//models", PATH),
    "path that climbs": _value("spec.pathPrefix", "/v1/../admin", PATH),
    "wildcard in a path": _value("spec.pathPrefix", "/v1/*", PATH),
    "query in a path": _value("spec.pathPrefix", "/v1?x=1", PATH),
    "fragment in a path": _value("spec.pathPrefix", "/v1#x", PATH),
    "bad escape in a path": _value("spec.pathPrefix", "/v1%zz", PATH),
    "gateway without a namespace": _value("spec.gateways[0]", "ai-gateway", GATEWAY),
    "the mesh as a gateway": _value("spec.gateways[0]", "mesh", GATEWAY),
    "backend name with an underscore": _value(f"{V1}.name", "v_1", LABEL),
    "route name in upper case": _value("spec.routes[1].name", "Models", LABEL),
    "Service of another namespace": _value(f"{V1}.service.name", "other/chat", LABEL),
    "workload name with a slash": _value(
        f"{V2}.scaleTargetRef.name",
        "apps/chat",
        "must be lower-case letters, digits, hyphens and dots, and each part start and end with a letter or digit",
    ),
    "header name with spaces": _value(f"{MATCH}.headers[0].name", "x model version", HEADER),
    "pseudo header": _value(f"{MATCH}.headers[0].name", ":path", HEADER),
    "header name that Istio ignores": _value(f"{MATCH}.headers[0].name", "Authority", HEADER),
    "control character in a header value": _value(f"{MATCH}.headers[0].exact", "a\nb", VALUE),
    "space at the end of a header value": _value(f"{MATCH}.headers[0].exact", "v2 ", VALUE),
    "space at the start of a header prefix": Mistake(
        {f"{MATCH}.headers[0]": {"name": "x-a", "prefix": " v"}},
        f"{MATCH}.headers[0].prefix",
        "must be printable ASCII that starts with no space: no other header value can match",
    ),
    "retry of what is not found": _value("spec.retries.statusCodes[0]", 404, STATUS_CODE),
    "retry of an unfit request": _value("spec.retries.statusCodes[0]", 422, STATUS_CODE),
}
