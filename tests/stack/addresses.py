"""Every address and port of the stack, so that two parts can never claim the same one.

Data only.  All of it exists only inside the stack's own network namespace, which is why fixed ports are safe: two
stacks on one machine never see each other.
"""

from __future__ import annotations

HOST = "10.99.0.1"
"""The machine as the cluster sees it: webhooks and aggregated APIs are reached here."""
SERVICE_CIDR = "10.96.0.0/16"
POD_CIDR = "10.244.0.0/16"
"""Every address in it is local (AnyIP), so that one backend answers for all pods that kwok invents."""

APISERVER = 6443
ETCD = 2379
ETCD_PEER = 2380

ISTIOD_XDS = 15010
ISTIOD_SECURE_XDS = 15012
ISTIOD_MONITORING = 15014
ISTIOD_WEBHOOK = 15017
ISTIOD_READY = 18080

GATEWAY = 8088
"""Where the ingress gateway listens: the port of the Istio Gateway object."""
GATEWAY_ADMIN = 15000
SIDECARS = {15100 + number: 15200 + number for number in range(4)}
"""Where sidecars take mesh requests, as HTTP forward proxies, and the admin port of each."""

BACKEND = 9080
"""The container port that the model backend answers on, at every pod address."""
BACKEND_CONTROL = 9081

PROMETHEUS = 9090
METRICS_API = 16444

KEDA_METRICS_API = 16443
KEDA_WEBHOOKS = 19443
KEDA_GRPC = 9666
KEDA_OPERATOR_METRICS = 18081
KEDA_OPERATOR_READY = 18082
KEDA_WEBHOOKS_METRICS = 18085
KEDA_WEBHOOKS_READY = 18086
KEDA_ADAPTER_METRICS = 18087
