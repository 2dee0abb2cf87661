"""What the administrator of the operator decides once for all policies.

:mod:`aigateway.settings` fills it from flags and the environment; resolving and deciding read it.  Users cannot reach
any of it from a policy: addresses, queries and credentials are never a tenant's to choose.
"""

from __future__ import annotations

from dataclasses import dataclass


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
class Administrator:
    """Cluster facts and defaults.

    ``default_gateway`` is ``namespace/name`` (or None), used when a policy has hosts but no gateways.
    """

    default_gateway: str | None = None
    cluster_domain: str = "cluster.local"
    scaling: ScalingDefaults = ScalingDefaults()
