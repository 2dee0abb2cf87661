"""What a failure is called, whose fault it is, and whether the same request may be sent again.

One table for everybody who has to tell failures apart: the statuses that a policy may name
(:mod:`aigateway.api.types`), the gateway's error bodies and logs (:mod:`aigateway.core.gateway`), ``aigateway retries``
and the reference page.  It must not know how any of them writes it.

Sources: RFC 9110 and RFC 6585 for statuses, Envoy's documentation of response flags for what the gateway itself makes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Severity(StrEnum):
    """Whose fault a failure is: the request's, or that of whoever should have answered it."""

    CLIENT = "CLIENT"
    SERVER = "SERVER"


class Retry(StrEnum):
    """Whether an answer of a backend is tried again by the gateway."""

    NEVER = "never"
    """The same request gets the same answer."""
    BY_CHOICE = "by choice"
    """It may help, and it may repeat work: only where a policy names the status."""


@dataclass(frozen=True, slots=True)
class AnswerClass:
    """An answer that a backend gave, by its status."""

    status: int
    type: str
    severity: Severity
    retry: Retry
    meaning: str


ANSWERS: tuple[AnswerClass, ...] = (
    AnswerClass(400, "invalid_request", Severity.CLIENT, Retry.NEVER, "The request is malformed."),
    AnswerClass(401, "unauthenticated", Severity.CLIENT, Retry.NEVER, "The request carries no valid credentials."),
    AnswerClass(403, "permission_denied", Severity.CLIENT, Retry.NEVER, "The credentials do not allow it."),
    AnswerClass(404, "not_found", Severity.CLIENT, Retry.NEVER, "There is no such model or path."),
    AnswerClass(408, "request_timeout", Severity.CLIENT, Retry.BY_CHOICE, "The request did not arrive in time."),
    AnswerClass(409, "conflict", Severity.CLIENT, Retry.BY_CHOICE, "Another request is in the way."),
    AnswerClass(422, "unprocessable", Severity.CLIENT, Retry.NEVER, "The request is well-formed and makes no sense."),
    AnswerClass(425, "too_early", Severity.CLIENT, Retry.BY_CHOICE, "The server will not risk a replayed request."),
    AnswerClass(429, "rate_limited", Severity.CLIENT, Retry.BY_CHOICE, "Too many requests; Retry-After is honoured."),
    AnswerClass(500, "internal", Severity.SERVER, Retry.BY_CHOICE, "The backend failed; it may have done the work."),
    AnswerClass(501, "not_implemented", Severity.SERVER, Retry.NEVER, "The backend cannot do it at all."),
    AnswerClass(502, "bad_gateway", Severity.SERVER, Retry.BY_CHOICE, "Something behind the backend failed."),
    AnswerClass(
        503, "unavailable", Severity.SERVER, Retry.BY_CHOICE, "Overloaded or starting; Retry-After is honoured."
    ),
    AnswerClass(504, "gateway_timeout", Severity.SERVER, Retry.BY_CHOICE, "Something behind the backend was too slow."),
    AnswerClass(505, "version_not_supported", Severity.SERVER, Retry.NEVER, "The protocol version is not served."),
)
"""Statuses of backends that have a name of their own; others go by :func:`answer_type`."""

RETRYABLE_STATUS_CODES: tuple[int, ...] = tuple(a.status for a in ANSWERS if a.retry is Retry.BY_CHOICE)
"""Answers after which the same request may get another one; each only where a policy names it."""


@dataclass(frozen=True, slots=True)
class GatewayError:
    """A response that the gateway itself makes.

    ``flags`` are Envoy's response flags that mean it, any one of them; empty: it is made by a filter of ours.
    ``status`` 0: nobody is there to get it, it stands in logs alone.
    ``retryable`` tells a client whether it may send the request again whatever its method: nothing was executed.
    """

    type: str
    status: int
    flags: tuple[str, ...]
    severity: Severity
    retryable: bool
    message: str


GATEWAY_ERRORS: tuple[GatewayError, ...] = (
    GatewayError(
        "rate_limited", 429, ("RL",), Severity.CLIENT, retryable=True,
        message="too many requests; wait as long as Retry-After says",
    ),
    GatewayError(
        "deadline_exceeded", 504, (), Severity.CLIENT, retryable=False,
        message="the deadline of the request has passed, or leaves too little time; it was not sent to a model",
    ),
    GatewayError(
        "upstream_timeout", 504, ("UT",), Severity.SERVER, retryable=False,
        message="the model did not answer in time; it may still be working on the request",
    ),
    GatewayError(
        "stream_idle_timeout", 504, ("SI",), Severity.SERVER, retryable=False,
        message="nothing was sent in either direction for too long",
    ),
    GatewayError(
        "client_disconnected", 0, ("DC",), Severity.CLIENT, retryable=False,
        message="the client went away before it had the whole answer",
    ),
    GatewayError(
        "upstream_reset", 503, ("UC", "UR", "LR", "UPE"), Severity.SERVER, retryable=False,
        message="the connection to the model broke; it may have worked on the request",
    ),
    GatewayError(
        "connect_failure", 503, ("UF",), Severity.SERVER, retryable=True,
        message="no connection to the model could be made; the request was not sent",
    ),
    GatewayError(
        "no_healthy_upstream", 503, ("UH",), Severity.SERVER, retryable=True,
        message="no replica of the model can take requests now; this one was not sent",
    ),
    GatewayError(
        "overloaded", 503, ("UO",), Severity.SERVER, retryable=True,
        message="as many requests as the policy allows are under way or waiting; this one was not sent",
    ),
)  # fmt: skip
"""Responses that the gateway makes, in the order in which they are looked for: the first whose flag is set.

What tells most of the request comes first: Envoy adds the flag of overload where a budget refuses a retry.
"""


def after_attempts(error: GatewayError) -> GatewayError:
    """Return what a failure is once an earlier attempt of the request was made: flags tell of the last one alone."""
    what = error.message.partition(";")[0]
    return replace(error, retryable=False, message=f"{what}; an earlier attempt may have been worked on")


OTHER_GATEWAY_ERROR = GatewayError(
    "gateway_error", 503, (), Severity.SERVER, retryable=False, message="the gateway could not serve the request"
)
"""Whatever the gateway makes that has no name of its own."""


def answer_type(status: int) -> str | None:
    """Return the name of a backend's answer; None for one that is no failure (below 400)."""
    known = {answer.status: answer.type for answer in ANSWERS}
    if status < 400:  # noqa: PLR2004 (RFC 9110: 4xx and 5xx are failures)
        return None
    return known.get(status, "client_error" if status < 500 else "server_error")  # noqa: PLR2004


def gateway_error(flags: frozenset[str]) -> GatewayError | None:
    """Return what the gateway made of a request by Envoy's response flags; None where they name nothing known."""
    return next((error for error in GATEWAY_ERRORS if flags.intersection(error.flags)), None)


def error_type(status: int, flags: frozenset[str]) -> str | None:
    """Return the name of a failure from its status (0: no answer came) and flags; None where nothing failed."""
    made = gateway_error(flags)
    if made is not None:
        return made.type
    return OTHER_GATEWAY_ERROR.type if status == 0 else answer_type(status)
