"""Every condition type, condition reason and event reason, each with its meaning.

The core uses them, the reference page is generated from them, and a test keeps them unique and CamelCase.  A reason is
part of the public API: alerts and scripts match on it, so it is added or deprecated, never renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ConditionType(StrEnum):
    """The conditions of a policy; ``Ready`` is the summary of the first three and of nothing else."""

    ACCEPTED = "Accepted"
    RESOLVED_REFS = "ResolvedRefs"
    PROGRAMMED = "Programmed"
    METRICS_AVAILABLE = "MetricsAvailable"
    SCALING_READY = "ScalingReady"
    READY = "Ready"


class ConditionStatus(StrEnum):
    """The three values that Kubernetes allows."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class EventType(StrEnum):
    """The two values that Kubernetes allows."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: ``name`` is what status and events show, ``meaning`` and ``remedy`` what the reference page says."""

    name: str
    meaning: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return the name as written into status and events."""
        return self.name


# Accepted
ACCEPTED = Reason("Accepted", "The policy is valid.")
INVALID = Reason(
    "Invalid",
    "The policy breaks a rule that the message names. What an earlier generation set up stays in effect.",
    "Correct the named field.",
)
NO_GATEWAY = Reason(
    "NoGateway",
    "The policy has hosts, names no gateway, and the operator has no default gateway.",
    "Set spec.gateways, or ask the administrator to set the operator's default gateway.",
)

NOT_GRANTED = Reason(
    "NotGranted",
    "The administrator does not grant this namespace the gateway, or not with this host.",
    "Use a gateway and host that are granted, or ask the administrator for them.",
)
CONFLICTED = Reason(
    "Conflicted",
    "Something older holds what the policy claims; the message names both. The policy's own objects are withdrawn.",
    "Choose another host, path or workload, or remove the older holder; the policy then takes over by itself.",
)

# ResolvedRefs
RESOLVED = Reason("ResolvedRefs", "Every Service, port and workload that the policy names exists.")
SERVICE_NOT_FOUND = Reason(
    "ServiceNotFound",
    "A Service that the policy names does not exist; the backend gets no traffic until it does.",
    "Create the Service, or correct the name. It is picked up by itself.",
)
EXTERNAL_SERVICE = Reason(
    "ExternalService",
    "The Service is of type ExternalName: it stands for a name that may be anywhere, so no traffic is sent to it.",
    "Name a Service with endpoints in the policy's own namespace.",
)
PORT_NOT_FOUND = Reason(
    "PortNotFound",
    "The Service has no such port, or several ports and the policy names none.",
    "Set the backend's service.port to one of the ports that the message lists.",
)
WORKLOAD_NOT_FOUND = Reason(
    "WorkloadNotFound",
    "The workload to scale does not exist; traffic is not affected, the backend is not scaled.",
    "Create it, or set the backend's scaleTargetRef.",
)

# Programmed
PROGRAMMED = Reason("Programmed", "Every generated object is in the cluster as the policy asks.")
APPLY_FAILED = Reason(
    "ApplyFailed",
    "A generated object could not be written; the message names it and what the API server answered. It is retried.",
    "Read the message. Traffic keeps the last configuration that was written.",
)
NAME_TAKEN = Reason(
    "NameTaken",
    "An object with the name of a generated one exists and does not belong to this policy; it is left as it is.",
    "Delete or rename that object, or rename the policy.",
)
DRIFT_CONTESTED = Reason(
    "DriftContested",
    "Someone keeps changing a generated object; it is put back at most twice a minute.",
    "Find the writer in the object's metadata.managedFields and let it leave the object alone, or suspend the policy.",
)
DESTINATION_RULE_CONFLICT = Reason(
    "DestinationRuleConflict",
    "A DestinationRule of somebody else covers a backend's Service, so none is written: Istio applies one a host.",
    "Move its settings into the policy and delete it, or remove spec.connectionPool, circuitBreaker, loadBalancing and "
    "retries.budget.",
)
NO_USABLE_BACKEND = Reason(
    "NoUsableBackend",
    "No backend resolves to a Service and port, so there is nothing to route to. Existing routes are kept.",
    "See the ResolvedRefs condition.",
)
ISTIO_NOT_INSTALLED = Reason(
    "IstioNotInstalled",
    "The cluster has no VirtualService resource.",
    "Install Istio's CRDs; they are picked up by themselves.",
)
SUSPENDED = Reason(
    "Suspended", "spec.suspend is true: generated objects are kept and not touched.", "Set spec.suspend to false."
)

# MetricsAvailable
METRICS_AVAILABLE = Reason("MetricsAvailable", "Prometheus tells of every backend what the policy's decisions need.")
PROMETHEUS_UNREACHABLE = Reason(
    "PrometheusUnreachable",
    "Prometheus does not answer, or not with what was asked for. What is decided by metrics stays as it is.",
    "Check Prometheus and the operator's address of it. The operator's log and metrics say what became of its queries.",
)
METRICS_MISSING = Reason(
    "MetricsMissing",
    "Prometheus knows nothing of a backend, or nothing recent. What is decided by metrics stays as it is.",
    "Check that Prometheus scrapes the proxies (a backend that never had a request has no metrics yet).",
)

# ScalingReady
SCALING_READY = Reason("ScalingReady", "KEDA reports every ScaledObject of the policy as ready.")
NOT_REQUESTED = Reason("NotRequested", "The policy asks for nothing that the condition is about.")
SCALING_PENDING = Reason("Pending", "KEDA has not reported on every ScaledObject yet.")
SCALING_NOT_READY = Reason(
    "ScalerNotReady",
    "KEDA reports a ScaledObject as not ready; the message is KEDA's.",
    "Mostly the metrics backend cannot be reached or has no data; replicas are held meanwhile.",
)
SCALING_FALLBACK = Reason(
    "ScalerFallback",
    "A metric of a ScaledObject is missing, so KEDA holds the replicas where they are.",
    "Check that Prometheus has the backend's request metrics (a backend that never had a request has none).",
)
KEDA_NOT_INSTALLED = Reason(
    "KEDANotInstalled",
    "The policy asks for autoscaling and the cluster has no ScaledObject resource.",
    "Install KEDA; it is picked up by itself.",
)
PROMETHEUS_NOT_CONFIGURED = Reason(
    "PrometheusNotConfigured",
    "A scaling rule or adaptive retries need Prometheus and the operator was given no address.",
    "Ask the administrator to set the operator's Prometheus address.",
)
CPU_REQUEST_MISSING = Reason(
    "CPURequestMissing",
    "A CPU rule needs every container of the workload to request CPU.",
    "Set resources.requests.cpu on the containers that the message names.",
)

# Ready
READY = Reason("Ready", "The policy is accepted, resolved and programmed.")

# Weights, per backend
AS_SPECIFIED = Reason("AsSpecified", "The backend has the weight that the policy gives it.")
NOT_READY = Reason("NotReady", "The backend has no ready endpoint, so its share goes to the others.")
UNRESOLVED = Reason("Unresolved", "The backend's Service or port is missing, so its share goes to the others.")
SHARE_OF_UNAVAILABLE = Reason("ShareOfUnavailable", "The backend carries the share of backends that are not available.")
ALL_UNAVAILABLE = Reason(
    "AllUnavailable", "No backend has a ready endpoint; weights are kept as specified until one is ready."
)

# Retries
AS_ASKED = Reason("AsAsked", "Requests get as many retries as the policy says.")
LEVEL_KEPT = Reason(
    "LevelKept", "The status was lost, so requests keep the retries that the routes have until metrics allow more."
)
LATENCY_HIGH = Reason(
    "LatencyHigh",
    "The P99 of a backend is above retries.adaptive.latencyAbove, so requests get one retry fewer, down to one.",
    "See what slows the backend down. Retries come back one a minute once its P99 is below 80 % of the bound.",
)
FAILURES_HIGH = Reason(
    "FailuresHigh",
    "A backend fails retries.adaptive.failurePercent of its attempts or more, so nothing is retried.",
    "See why the backend fails. Retries come back one a minute once its share is below 80 % of the bound.",
)
RECOVERED = Reason("Recovered", "Every backend was well below the bounds for a minute, so requests get one retry more.")

# Fields without effect
NOT_FOR_EVERY_METHOD = Reason("NotForEveryMethod", "The field has no effect for some methods; the message says why.")
NEEDS_MAX_OPEN = Reason(
    "NeedsMaxOpen", "Without a bound on connections no request ever waits for one.", "Set spec.connectionPool.maxOpen."
)
NOT_IN_ENVOY = Reason("NotInEnvoy", "Envoy has nothing that does what the field asks for; the message says what does.")
ENVOY_FILTER_NOT_ALLOWED = Reason(
    "EnvoyFilterNotAllowed",
    "Istio's own API cannot say what the field asks for, and the operator may not write EnvoyFilters.",
    "Ask the administrator to allow them (--allow-envoy-filter), or do without the field.",
)
GATEWAY_FILTER_MISSING = Reason(
    "GatewayFilterMissing",
    "The gateways' namespace has no gateway filter, or one too old for this operator, and the field needs one.",
    "Ask the administrator to install it: the chart does so where envoyFilter.namespaces is set.",
)
ENVOY_FILTER_LEFT_BEHIND = Reason(
    "EnvoyFilterLeftBehind",
    "The policy has EnvoyFilters of the time when they were allowed; they are in effect as they were, and nobody "
    "changes or removes them.",
    "Ask the administrator to allow them again, or to delete them: kubectl delete envoyfilters -A "
    "-l aigateway.dev/part=policy.",
)
BUFFER_TOO_LARGE = Reason(
    "BufferTooLarge",
    "The administrator lets proxies keep less of each request body than the field asks for.",
    "Lower retries.bufferLimit, or ask the administrator for more (--max-buffer-limit).",
)
TOO_FEW_REPLICAS = Reason(
    "TooFewReplicas",
    "With so few replicas maxEjectionPercent allows none to be ejected.",
    "Run more replicas, or raise circuitBreaker.maxEjectionPercent (100 lets all of them go).",
)
RETRIES_OFF = Reason(
    "RetriesOff",
    "While nothing is retried (see status.retries), Istio has no bound for an attempt.",
    "Set spec.timeouts.request, which always holds.",
)
NOT_IN_THIS_ISTIO = Reason(
    "NotInThisIstio",
    "The cluster's Istio cannot do what the field asks for.",
    "Upgrade Istio; it is picked up by itself.",
)
NOT_IN_THIS_KEDA = Reason(
    "NotInThisKEDA", "The cluster's KEDA cannot do what is needed for the field.", "Upgrade KEDA."
)

# Events on what was done
WEIGHTS_CHANGED = Reason("WeightsChanged", "Weights in effect have changed.")
RETRY_LEVEL_LOWERED = Reason("RetryLevelLowered", "Requests get fewer retries; the message says what was seen where.")
RETRY_LEVEL_RAISED = Reason("RetryLevelRaised", "Requests get one retry more.")
DRIFT_REPAIRED = Reason("DriftRepaired", "A generated object was changed by someone else and has been put back.")
PRUNED = Reason("Pruned", "A generated object that the policy no longer asks for was deleted.")

DEEDS = frozenset({DRIFT_REPAIRED, PRUNED})
"""Reasons of events on what was done, rather than on how things are."""

ALL_REASONS: Mapping[str, Reason] = {
    reason.name: reason for reason in list(globals().values()) if isinstance(reason, Reason)
}
"""Every reason by its name."""
