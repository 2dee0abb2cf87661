"""What the administrator of the operator decides once for all policies.

:mod:`aigateway.settings` fills it from flags and the environment; resolving and deciding read it.  Users cannot reach
any of it from a policy: addresses, queries and credentials are never a tenant's to choose.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class ScalingDefaults:
    """How ScaledObjects ask Prometheus.

    ``prometheus_address`` is the URL that KEDA uses (None: rules that need Prometheus are reported as not configured).
    ``window_seconds`` is the range of every ``rate()``; it must span at least four scrapes for a rate to be trusted.
    """

    prometheus_address: str | None = None
    window_seconds: int = 60
    polling_interval_seconds: int = 15


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to use a gateway: ``gateway`` is ``namespace/name``.

    ``hosts`` and ``namespaces`` are patterns: a name, ``*.example.com`` (any name under it), ``team-*``, or ``*``.
    """

    gateway: str
    hosts: tuple[str, ...] = ("*",)
    namespaces: tuple[str, ...] = ("*",)

    def covers(self, namespace: str, gateway: str, host: str) -> bool:
        """Return whether a policy of ``namespace`` may serve ``host`` on ``gateway`` by this grant."""
        return (
            gateway == self.gateway
            and any(fnmatchcase(namespace, pattern) for pattern in self.namespaces)
            and any(_host_within(host, pattern) for pattern in self.hosts)
        )


def _host_within(host: str, pattern: str) -> bool:
    """Return whether a pattern means a host; ``*.a.com`` means every host under ``a.com``, wildcards too."""
    return pattern in {"*", host} or (pattern.startswith("*.") and host.endswith(pattern[1:]))


@dataclass(frozen=True, slots=True)
class Administrator:
    """Cluster facts and defaults.

    ``default_gateway`` is ``namespace/name`` (or None), used when a policy has hosts but no gateways.  ``grants`` None:
    every policy may use every gateway; else gateways of a policy's own namespace, and what a grant covers.
    ``root_namespace`` is Istio's, whose DestinationRules hold for the whole mesh.  ``gateway_namespaces`` are where the
    gateways' proxies run: a proxy sees only what is exported to its own namespace, wherever the Gateway object is.
    ``envoy_filter_namespaces`` are those of them in which EnvoyFilters may be written, none without leave.
    ``gateway_service`` is ``namespace/name`` (or None) of the Service whose endpoints are the gateways' proxies.
    ``max_buffer_limit`` is how many bytes of each request body a policy may let proxies keep for retries.
    ``sampling_interval_seconds`` is how often the operator asks Prometheus about backends, at
    ``sampling_address`` (None: there is none to ask).
    """

    default_gateway: str | None = None
    cluster_domain: str = "cluster.local"
    scaling: ScalingDefaults = ScalingDefaults()
    grants: tuple[Grant, ...] | None = None
    root_namespace: str = "istio-system"
    gateway_namespaces: tuple[str, ...] = ("istio-ingress", "istio-system")
    envoy_filter_namespaces: tuple[str, ...] = ()
    gateway_service: str | None = None
    max_buffer_limit: int = 16 << 20
    sampling_interval_seconds: float = 15.0
    sampling_address: str | None = None

    def export_to(self, namespace: str) -> list[str]:
        """Return the ``exportTo`` of routes through gateways: the policy's own namespace and the proxies'."""
        return [".", *sorted(set(self.gateway_namespaces) - {namespace})]

    def may_limit(self, namespace: str, host: str) -> bool:
        """Return whether a policy of ``namespace`` may limit requests for ``host``, as it does at every gateway.

        A gateway of its own namespace is not enough: others may limit the host elsewhere.
        """
        return self.grants is None or any(grant.covers(namespace, grant.gateway, host) for grant in self.grants)

    def may_use(self, namespace: str, gateway: str, host: str) -> bool:
        """Return whether a policy of ``namespace`` may serve ``host`` on ``gateway``."""
        if self.grants is None or gateway.partition("/")[0] == namespace:
            return True
        return any(grant.covers(namespace, gateway, host) for grant in self.grants)
