"""Where requests go, and what happens when an attempt fails: routes, timeouts, retries, connection pools."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from aigateway.api.model import ListType, Model
from aigateway.api.resolved import RetryCondition
from aigateway.api.types import (
    BackendName,
    Duration,
    HeaderName,
    HeaderValue,
    HeaderValuePrefix,
    Limit,
    PathPrefix,
    Port,
    RouteName,
    ServiceName,
    StatusCode,
)

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class ServiceRef(Model):
    """A Service in the policy's namespace."""

    name: ServiceName
    """Name of the Service."""
    port: Port | None = None
    """Port of the Service. It may be left out where the Service has only one."""


class HeaderMatch(Model):
    """A request header with an exact value or with a prefix: set one of the two."""

    name: HeaderName
    """Name of the header, in any case."""
    exact: HeaderValue | None = None
    """The whole value."""
    prefix: HeaderValuePrefix | None = None
    """How the value starts."""


class RouteMatch(Model):
    """What a request must look like; all that is set must hold."""

    headers: Annotated[tuple[HeaderMatch, ...], Field(min_length=1, max_length=8), ListType("atomic")] | None = None
    """Headers that the request must have, each name once."""
    method: Method | None = None
    """HTTP method of the request."""
    path_prefix: PathPrefix | None = None
    """How the path starts, in whole segments: /v1 matches /v1/x and never /v10. Within spec.pathPrefix."""


class Route(Model):
    """A route before the weighted split: requests of any of its matches go to one backend."""

    name: RouteName
    """Name of the route, unique in the policy; it shows in metrics and logs."""
    matches: Annotated[tuple[RouteMatch, ...], Field(min_length=1, max_length=8), ListType("atomic")]
    """The route takes a request that fits any of these."""
    backend: BackendName | None = None
    """Backend that gets the requests. Left out: the weighted split, before routes further down."""


class Timeouts(Model):
    """Bounds on the time a request may take. There are none by default, since they would cut token streams."""

    request: Duration | None = None
    """Bound on all attempts together and on the whole answer; it cuts streams that last longer."""
    per_try: Duration | None = None
    """Bound on each attempt up to the first byte of its answer; at most timeouts.request."""


class Retries(Model):
    """When a failed attempt is tried again. Without this block: 2 retries, only where nothing was processed."""

    attempts: Annotated[int, Field(ge=0, le=10)] = 2
    """Retries after the first try (default 2); 0 switches retries off."""
    conditions: (
        Annotated[
            tuple[Annotated[RetryCondition, Field(strict=False)], ...],
            Field(min_length=1, max_length=8),
            ListType("set"),
        ]
        | None
    ) = None
    """What may have happened to the attempt (default ConnectFailure, RefusedStream and ResetBeforeRequest, after which
    the backend cannot have processed it). Reset and GatewayError apply to GET, HEAD and OPTIONS only."""
    status_codes: Annotated[tuple[StatusCode, ...], Field(min_length=1, max_length=16), ListType("set")] | None = None
    """Answers that are tried again, for GET, HEAD and OPTIONS only: 408, 409, 425, 429, 500, 502, 503 or 504."""


class ConnectionPool(Model):
    """Limits of each proxy towards each backend; what is left out has Envoy's default."""

    max_open: Limit | None = None
    """Most connections that are open at once."""
    max_pending: Limit | None = None
    """Most requests that wait for a connection; one more is refused."""
    max_lifetime: Duration | None = None
    """Age at which a connection is replaced."""
    connect_timeout: Duration | None = None
    """Time that opening a connection may take."""
