"""Where requests go: the named routes before the weighted split."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from aigateway.api.model import ListType, Model
from aigateway.api.types import (
    BackendName,
    HeaderName,
    HeaderValue,
    HeaderValuePrefix,
    PathPrefix,
    Port,
    RouteName,
    ServiceName,
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
