"""The status of a policy: its shape for the CRD, and for tests that check what :mod:`aigateway.core.status` writes.

Every field is declared because the API server prunes what is not.  Nothing here changes fast: a number that moved with
every request would make every policy a source of writes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from aigateway.api.model import ListType, Model

Word = Annotated[str, Field(max_length=317)]
Sentence = Annotated[str, Field(max_length=32768)]
Summary = Annotated[str, Field(max_length=1024)]
Time = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]


class Condition(Model):
    """One aspect of the policy's state, in the standard shape of Kubernetes conditions."""

    type: Word
    """Name of the condition: Accepted, ResolvedRefs, Programmed, MetricsAvailable, ScalingReady or Ready."""
    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""
    observed_generation: int | None = Field(default=None, ge=0)
    """Generation of the policy that the condition is about."""
    last_transition_time: Time
    """When the status of the condition last changed."""
    reason: Word
    """One word for scripts and alerts; the reference lists every reason with its remedy."""
    message: Sentence
    """The same for people."""


class BackendStatus(Model):
    """What is in effect for one backend."""

    name: Word
    """Name of the backend in the spec."""
    service: Word | None = None
    """Service that gets the traffic."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """Port in effect; absent while the Service or its port is missing."""
    weight: int | None = Field(default=None, ge=0, le=100)
    """Share of the split in effect, in percent."""
    available: bool | None = None
    """Whether the backend has ready endpoints (debounced)."""
    reason: Word | None = None
    """Why the weight is what it is."""


class ScalingStatus(Model):
    """How one backend is scaled, defaults and overrides applied."""

    backend: Word
    """Name of the backend in the spec."""
    min_replicas: int | None = Field(default=None, ge=0)
    """Lower bound in effect."""
    max_replicas: int | None = Field(default=None, ge=0)
    """Upper bound in effect."""
    triggers: Annotated[tuple[Summary, ...], Field(max_length=16), ListType("atomic")] | None = None
    """The rules in effect, one line each."""


class Effective(Model):
    """What the policy comes to once every default is filled in."""

    hosts: Annotated[tuple[Word, ...], Field(max_length=16), ListType("atomic")] | None = None
    """Host names in effect."""
    gateways: Annotated[tuple[Word, ...], Field(max_length=4), ListType("atomic")] | None = None
    """Istio gateways in effect, as namespace/name."""
    path_prefix: Annotated[str, Field(max_length=1024)] | None = None
    """Part of the hosts that the policy serves."""
    service: Word | None = None
    """In-mesh name whose traffic is split."""
    attempts: int | None = Field(default=None, ge=0)
    """Retries after the first try; with retries.adaptive as many as there are now."""
    retry_on: Summary | None = None
    """What is retried for idempotent methods, in Istio's words."""
    request_timeout: Word | None = None
    """Bound on the whole request; absent: none."""
    per_try_timeout: Word | None = None
    """Bound on each attempt up to its first byte; absent: none."""
    idle_timeout: Word | None = None
    """Longest silence before a request is given up; absent: the proxies' own."""
    deadline_header: Word | None = None
    """Request header whose deadline is kept; absent: none is."""
    backoff: Summary | None = None
    """Waits before retries; absent: Envoy's own."""
    retry_after: Word | None = None
    """Longest Retry-After that is waited for; absent: it is not looked at."""
    idempotent: Summary | None = None
    """Which requests are retried on everything in retryOn."""
    retry_on_others: Summary | None = None
    """What all other requests are retried on, in Istio's words; absent: nothing."""
    retry_budget: Summary | None = None
    """Limit on retries under way; absent: none."""
    buffer_limit: Word | None = None
    """Size up to which request bodies are kept for retries; absent: the proxies' own."""
    hedging: Summary | None = None
    """When a second attempt starts beside the first; absent: never."""
    circuit_breaker: Summary | None = None
    """When a replica is taken out, and for how long; absent: never."""
    connection_pool: Summary | None = None
    """Limits of each proxy towards each backend; absent: Envoy's own."""
    load_balancing: Summary | None = None
    """How a replica is chosen; absent: as the mesh does."""
    rate_limits: Annotated[tuple[Summary, ...], Field(max_length=4), ListType("atomic")] | None = None
    """How many requests are let through, by each gateway proxy and, where their number is known, by all of them."""
    error_format: Word | None = None
    """Body of responses that the gateway itself makes; absent: text."""
    access_log: Word | None = None
    """What the gateway logs in JSON; absent: nothing."""
    scaling: Annotated[tuple[ScalingStatus, ...], Field(max_length=8), ListType("map", "backend")] | None = None
    """How each backend is scaled."""


class RetryInput(Model):
    """One metric of one backend when the number of retries last moved."""

    backend: Word
    """Name of the backend in the spec."""
    metric: Word
    """FailurePercent (of attempts) or LatencyP99 (of requests)."""
    value: Word | None = None
    """What Prometheus said, or why there was nothing; absent: the backend had no requests."""
    threshold: Word
    """The bound in the spec."""
    age: Word | None = None
    """How old that was."""
    verdict: Word
    """Failing, Slow, Between (80 % of the bound and the bound), Clean, Idle or NoData."""


class RetryStatus(Model):
    """How many retries adaptive retries leave.  Inputs are those of the last move; they are not renewed in between."""

    asked: int = Field(ge=0)
    """Retries of the spec."""
    level: int = Field(ge=0)
    """Retries in effect."""
    since: Time
    """When the level last moved."""
    sampled_at: Time | None = None
    """When Prometheus evaluated the newest sample that the level was lowered on."""
    reason: Word
    """Why the level is what it is, in one word."""
    message: Sentence
    """The same for people."""
    inputs: Annotated[tuple[RetryInput, ...], Field(max_length=16), ListType("atomic")] | None = None
    """What the last move was decided from."""


class Step(Model):
    """One decision of the operator."""

    time: Time
    """When it was made."""
    what: Word
    """Field of the spec that it is about."""
    before: Annotated[Word, Field(alias="from")]
    """Value before."""
    to: Word
    """Value since then."""
    reason: Word
    """Why, in one word."""
    why: Sentence
    """The same for people."""


class Skipped(Model):
    """A field that has no effect in this cluster."""

    field: Word
    """Path of the field in the spec."""
    reason: Word
    """One word for scripts."""
    message: Sentence
    """The same for people."""


class Child(Model):
    """An object that the policy generates."""

    kind: Word
    """Kind of the object."""
    name: Word
    """Name of the object."""
    namespace: Word | None = None
    """Namespace of the object; absent where it is the policy's own."""


class Status(Model):
    """What is in effect for the policy, and why.  Written by the operator."""

    observed_generation: int | None = Field(default=None, ge=0)
    """Generation of the policy that this status is about."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), ListType("map", "type")] | None = None
    """State of the policy; Ready is the summary."""
    weights: Summary | None = None
    """Weights in effect, as v1=80,v2=20."""
    replicas: Summary | None = None
    """Ready and wanted replicas per backend, as v1=4/4,v2=1/2."""
    backends: Annotated[tuple[BackendStatus, ...], Field(max_length=8), ListType("map", "name")] | None = None
    """One entry per backend of the spec."""
    effective: Effective | None = None
    """The policy with every default filled in."""
    retries: RetryStatus | None = None
    """Retries in effect and why; absent without retries.adaptive."""
    history: Annotated[tuple[Step, ...], Field(max_length=10), ListType("atomic")] | None = None
    """The last decisions that changed what is in effect by metrics, the newest last."""
    skipped: Annotated[tuple[Skipped, ...], Field(max_length=64), ListType("atomic")] | None = None
    """Fields that have no effect in this cluster, each with the reason."""
    children: Annotated[tuple[Child, ...], Field(max_length=64), ListType("atomic")] | None = None
    """Objects that the policy generates."""
