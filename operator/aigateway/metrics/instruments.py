"""Every metric of the operator, in one table.

:mod:`aigateway.process` makes one set per process and hands its methods to the parts that are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aigateway import __version__


@dataclass(frozen=True, slots=True)
class Description:
    """One metric: name, meaning, labels."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()


RECONCILES = Description("aigateway_reconciles", "Passes over a policy by how they went.", ("result",))
RECONCILE_SECONDS = Description("aigateway_reconcile_duration_seconds", "How long a pass took, its writes included.")
API_REQUESTS = Description(
    "aigateway_api_requests",
    "Requests to the API server by verb, resource and HTTP code (0: no answer).",
    ("verb", "resource", "code"),
)
API_SECONDS = Description(
    "aigateway_api_request_duration_seconds", "How long the API server took to begin its answer.", ("verb",)
)
QUEUE_DEPTH = Description("aigateway_queue_depth", "Policies that wait for a pass now.")
POLICIES = Description("aigateway_policies", "Policies by the status of their Ready condition.", ("ready",))
RETRIES = Description(
    "aigateway_adaptive_policies",
    "Policies with adaptive retries by why requests have as many as they have (AsAsked: all).",
    ("reason",),
)
WATCH_AGE = Description(
    "aigateway_watch_age_seconds",
    "Seconds since the API server last said anything in the quietest watch of a resource.",
    ("resource",),
)
KOPF_RESTARTS = Description("aigateway_policy_watch_restarts", "How often the watch of policies was started again.")
QUERIES = Description("aigateway_prometheus_queries", "Questions to Prometheus by what came of them.", ("result",))
TICK_SECONDS = Description(
    "aigateway_sampling_duration_seconds", "How long it took to ask Prometheus for everything that policies need."
)
SAMPLES = Description(
    "aigateway_samples",
    "Values of backends by metric and what the last look at Prometheus gave: Sample, or why there is none.",
    ("metric", "state"),
)
LEADER = Description("aigateway_leader", "1 where this replica leads, 0 where it stands by.")
LEASE_TRANSITIONS = Description("aigateway_lease_transitions", "How often the lead has changed hands so far.")
BUILD = Description("aigateway_build_info", "Always 1; the version is a label.", ("version",))

ALL = (
    RECONCILES,
    RECONCILE_SECONDS,
    API_REQUESTS,
    API_SECONDS,
    QUEUE_DEPTH,
    POLICIES,
    RETRIES,
    WATCH_AGE,
    KOPF_RESTARTS,
    QUERIES,
    TICK_SECONDS,
    SAMPLES,
    LEADER,
    LEASE_TRANSITIONS,
    BUILD,
)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)


@dataclass(frozen=True, slots=True)
class Readings:
    """Functions that are asked for the state of the operator whenever someone scrapes."""

    queue_depth: Callable[[], float]
    policies_by_ready: Callable[[], Mapping[str, float]]
    policies_by_retries: Callable[[], Mapping[str, float]]
    watch_ages: Callable[[], Mapping[str, float]]
    kopf_restarts: Callable[[], float]
    leads: Callable[[], float]
    lease_transitions: Callable[[], float]


class Instruments(Collector):
    """The metrics of one process, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        # A second series per counter with its time of birth doubles the output and nobody asks for it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry or CollectorRegistry()
        self._reconciles = Counter(RECONCILES.name, RECONCILES.meaning, RECONCILES.labels, registry=self.registry)
        self._reconcile_seconds = Histogram(
            RECONCILE_SECONDS.name, RECONCILE_SECONDS.meaning, buckets=_SECONDS, registry=self.registry
        )
        self._requests = Counter(API_REQUESTS.name, API_REQUESTS.meaning, API_REQUESTS.labels, registry=self.registry)
        self._request_seconds = Histogram(
            API_SECONDS.name, API_SECONDS.meaning, API_SECONDS.labels, buckets=_SECONDS, registry=self.registry
        )
        self._queries = Counter(QUERIES.name, QUERIES.meaning, QUERIES.labels, registry=self.registry)
        self._tick_seconds = Histogram(
            TICK_SECONDS.name, TICK_SECONDS.meaning, buckets=_SECONDS, registry=self.registry
        )
        self._samples = Gauge(SAMPLES.name, SAMPLES.meaning, SAMPLES.labels, registry=self.registry)
        self._readings: Readings | None = None
        self.registry.register(self)

    def read_from(self, readings: Readings) -> None:
        """Report the state of the operator from now on."""
        self._readings = readings

    def reconciled(self, result: str, seconds: float) -> None:
        """Count one pass."""
        self._reconciles.labels(result).inc()
        self._reconcile_seconds.observe(seconds)

    def requested(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Count one request to the API server."""
        self._requests.labels(verb, resource, str(code)).inc()
        self._request_seconds.labels(verb).observe(seconds)

    def queried(self, result: str) -> None:
        """Count one question to Prometheus."""
        self._queries.labels(result).inc()

    def ticked(self, seconds: float) -> None:
        """Count one look at everything that policies need."""
        self._tick_seconds.observe(seconds)

    def sampled(self, states: Mapping[tuple[str, str], int]) -> None:
        """Take over how many values there are by metric and state; none of others."""
        self._samples.clear()
        for labels, count in states.items():
            self._samples.labels(*labels).set(count)

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics that are read off at the time of a scrape."""
        yield _gauge(BUILD, {__version__: 1.0})
        if self._readings is not None:
            yield from _read(self._readings)

    def describe(self) -> Iterable[Metric]:
        """Yield nothing: names need not be checked by collecting before there is anything to collect."""
        return ()


def _read(readings: Readings) -> Iterator[Metric]:
    yield _gauge(QUEUE_DEPTH, readings.queue_depth())
    yield _gauge(KOPF_RESTARTS, readings.kopf_restarts())
    yield _gauge(LEADER, readings.leads())
    yield _gauge(LEASE_TRANSITIONS, readings.lease_transitions())
    yield _gauge(POLICIES, readings.policies_by_ready())
    yield _gauge(RETRIES, readings.policies_by_retries())
    yield _gauge(WATCH_AGE, readings.watch_ages())


def _gauge(description: Description, values: float | Mapping[str, float]) -> GaugeMetricFamily:
    """Return a gauge with one value, or with one per value of its only label."""
    family = GaugeMetricFamily(description.name, description.meaning, labels=description.labels or None)
    if isinstance(values, Mapping):
        for label, value in values.items():
            family.add_metric([label], value)
    else:
        family.add_metric([], values)
    return family
