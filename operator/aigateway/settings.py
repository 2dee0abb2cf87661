"""The operator's settings: one frozen object, from flags and environment variables, checked before anything starts.

:mod:`aigateway.cli.run` declares the flags and fills it; :mod:`aigateway.process` reads it.  Users of policies cannot
reach any of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from aigateway.api.administrator import Administrator, Grant, ScalingDefaults
from aigateway.api.types import parse_size
from aigateway.cluster.connection import Source
from aigateway.cluster.leader import Timing
from aigateway.metrics.server import Address

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_HIGHEST_PORT = 65535


class SettingsError(ValueError):
    """A setting makes no sense; the message names it and says what is allowed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set.  ``namespaces`` empty: policies of all namespaces.

    ``scaling_window`` is the range of the rates that Prometheus is asked for, ``scaling_polling`` how often KEDA asks
    and ``sampling_interval`` how often the operator does; all in seconds.  ``sampling_address`` None: the operator asks
    where KEDA does.  ``leader_election`` False: no other replica runs, and no Lease is asked for; ``lease_namespace``
    None: the pod's own.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    namespaces: tuple[str, ...] = ()
    default_gateway: str | None = None
    gateway_grants: Path | None = None
    root_namespace: str = "istio-system"
    gateway_namespaces: tuple[str, ...] = ("istio-ingress", "istio-system")
    allow_envoy_filter: tuple[str, ...] = ()
    gateway_service: str | None = None
    max_buffer_limit: str = "16Mi"
    cluster_domain: str = "cluster.local"
    prometheus_address: str | None = None
    scaling_window: int = 60
    scaling_polling: int = 15
    sampling_address: str | None = None
    sampling_interval: int = 15
    probes_address: str = ":8080"
    metrics_address: str = ":9090"
    log_level: str = "info"
    log_format: str = "json"
    concurrency: int = 8
    leader_election: bool = True
    lease_name: str = "aigateway-operator"
    lease_namespace: str | None = None
    lease_duration: int = 15
    lease_renew_deadline: int = 10
    lease_retry: int = 2

    def __post_init__(self) -> None:
        for namespace in self.gateway_namespaces:
            _require(_LABEL.fullmatch(namespace), "gateway-namespaces", namespace, "the name of a namespace")
        for namespace in self.allow_envoy_filter:
            _require(_LABEL.fullmatch(namespace), "allow-envoy-filter", namespace, "the name of a namespace")
        for namespace in self.namespaces:
            _require(_LABEL.fullmatch(namespace), "namespaces", namespace, "the name of a namespace")
        if self.default_gateway is not None:
            named = _is_namespaced(self.default_gateway)
            _require(named, "default-gateway", self.default_gateway, "NAMESPACE/NAME of an Istio Gateway")
        twice = self.root_namespace in self.allow_envoy_filter and len(set(self.allow_envoy_filter)) > 1
        told = "the root namespace alone, whose EnvoyFilters reach every gateway, or others without it"
        _require(not twice, "allow-envoy-filter", ",".join(self.allow_envoy_filter), told)
        fine = re.fullmatch("[1-9][0-9]{0,3}(Ki|Mi)", self.max_buffer_limit, re.ASCII)
        _require(fine, "max-buffer-limit", self.max_buffer_limit, "a size such as 512Ki or 16Mi")
        if self.gateway_service is not None:
            named = _is_namespaced(self.gateway_service)
            _require(named, "gateway-service", self.gateway_service, "NAMESPACE/NAME of a Service")
        _require(
            _LABEL.fullmatch(self.root_namespace), "root-namespace", self.root_namespace, "the name of a namespace"
        )
        _require(_is_name(self.cluster_domain), "cluster-domain", self.cluster_domain, "a DNS name")
        _require_url("prometheus-address", self.prometheus_address)
        _require_url("sampling-address", self.sampling_address)
        _require(4 <= self.scaling_window <= 3600, "scaling-window", self.scaling_window, "4 to 3600 seconds")  # noqa: PLR2004
        _require(1 <= self.scaling_polling <= 3600, "scaling-polling", self.scaling_polling, "1 to 3600 seconds")  # noqa: PLR2004
        _require(1 <= self.sampling_interval <= 300, "sampling-interval", self.sampling_interval, "1 to 300 seconds")  # noqa: PLR2004
        _require(1 <= self.concurrency <= 64, "concurrency", self.concurrency, "1 to 64")  # noqa: PLR2004
        self._require_lease()
        _require(self.log_format in ("json", "text"), "log-format", self.log_format, "json or text")
        levels = ("debug", "info", "warning", "error")
        _require(self.log_level in levels, "log-level", self.log_level, "debug, info, warning or error")
        _ = self.probes, self.metrics, self.administrator

    def _require_lease(self) -> None:
        _require(_is_name(self.lease_name), "lease-name", self.lease_name, "the name of a Lease")
        namespace = self.lease_namespace
        _require(namespace is None or _LABEL.fullmatch(namespace), "lease-namespace", namespace, "one namespace")
        duration, deadline, retry = self.lease_duration, self.lease_renew_deadline, self.lease_retry
        _require(3 <= duration <= 3600, "lease-duration", duration, "3 to 3600 seconds")  # noqa: PLR2004
        allowed = f"at most three quarters of --lease-duration ({duration})"
        _require(0 < deadline <= duration * 3 / 4, "lease-renew-deadline", deadline, allowed)
        allowed = f"at most half of --lease-renew-deadline ({deadline})"
        _require(0 < retry <= deadline / 2, "lease-retry", retry, allowed)

    @property
    def timing(self) -> Timing:
        """How leadership is renewed and taken over."""
        return Timing(self.lease_duration, self.lease_renew_deadline, self.lease_retry)

    @property
    def source(self) -> Source:
        """Where the access to the cluster comes from."""
        return Source(self.kubeconfig, self.context)

    @property
    def probes(self) -> Address:
        """Where /livez and /readyz are served."""
        return _address("probes-address", self.probes_address)

    @property
    def metrics(self) -> Address:
        """Where /metrics is served."""
        return _address("metrics-address", self.metrics_address)

    @property
    def administrator(self) -> Administrator:
        """What decisions may know of it."""
        scaling = ScalingDefaults(
            prometheus_address=self.prometheus_address,
            window_seconds=self.scaling_window,
            polling_interval_seconds=self.scaling_polling,
        )
        grants = None if self.gateway_grants is None else read_grants(self.gateway_grants)
        return Administrator(
            self.default_gateway,
            self.cluster_domain,
            scaling,
            grants,
            self.root_namespace,
            self.gateway_namespaces,
            tuple(dict.fromkeys(self.allow_envoy_filter)),
            self.gateway_service,
            parse_size(self.max_buffer_limit),
            sampling_interval_seconds=float(self.sampling_interval),
            sampling_address=self.sampling_address or self.prometheus_address,
        )


class _Grant(BaseModel):
    """One entry of the grants file; see :class:`aigateway.api.administrator.Grant`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    gateway: str
    hosts: list[str] = ["*"]
    namespaces: list[str] = ["*"]


def read_grants(file: Path) -> tuple[Grant, ...]:
    """Return the grants in a YAML list of ``{gateway, hosts, namespaces}``.

    Raises:
        SettingsError: the file cannot be read or is not such a list.
    """
    try:
        found = TypeAdapter(list[_Grant]).validate_python(yaml.safe_load(file.read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise SettingsError(f"--gateway-grants {file}: {error}") from error
    for grant in found:
        named = _is_namespaced(grant.gateway)
        _require(named, "gateway-grants", grant.gateway, "a list of grants for NAMESPACE/NAME of an Istio Gateway")
        for host in grant.hosts:
            fine = host == "*" or _is_name(host.removeprefix("*."))
            _require(fine, "gateway-grants", host, "a list of grants for hosts: a.example.com, *.example.com or *")
    return tuple(Grant(grant.gateway, tuple(grant.hosts), tuple(grant.namespaces)) for grant in found)


def _require(fine: object, name: str, value: object, allowed: str) -> None:
    if not fine:
        raise SettingsError(f"--{name} is {str(value)[:100]!r}; it must be {allowed}")


def _is_name(text: str) -> bool:
    """Whether a text is a DNS name: labels with dots between them."""
    return len(text) <= 253 and all(_LABEL.fullmatch(label) for label in text.split("."))  # noqa: PLR2004 (RFC 1035)


def _is_namespaced(text: str) -> bool:
    """Whether a text is the name of a namespace and a name in it, with a slash between them."""
    namespace, slash, name = text.partition("/")
    return bool(slash) and _is_name(namespace) and _is_name(name)


def _is_plain_url(text: str) -> bool:
    parts = urlsplit(text)
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain


def _require_url(name: str, address: str | None) -> None:
    if address is not None:
        allowed = "an http or https URL without user, query or fragment"
        _require(_is_plain_url(address), name, _without_password(address), allowed)


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", text)


def _address(name: str, text: str) -> Address:
    """Parse ``HOST:PORT``, ``:PORT`` (all addresses) or ``[V6]:PORT``."""
    host, colon, port = text.rpartition(":")
    fine = bool(colon) and port.isascii() and port.isdigit() and 0 < int(port) <= _HIGHEST_PORT
    _require(fine, name, text, "HOST:PORT, or :PORT for all addresses")
    return Address(host.strip("[]") or None, int(port))
