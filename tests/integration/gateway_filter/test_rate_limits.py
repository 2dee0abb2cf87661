"""Rate limits on a virtual host: for all requests of a policy, and for each value of a header."""

from __future__ import annotations

from aigateway.api.resolved import RateLimit
from aigateway.core.gateway.route_extension import rate_limits
from tests.integration.gateway_filter.conftest import Serve, ask, error, ours
from tests.stack.backend import Backend
from tests.stack.traffic import Traffic
from tests.stack.waiting import eventually


def test_limit_is_shared_by_the_routes_and_hosts_of_a_policy(
    serve: Serve, gateway: Traffic, backend: Backend, host: str, namespace: str
) -> None:
    """A token taken on one route is missing on the other, and on the other host; the refusal says when to come back."""
    limits = rate_limits([RateLimit("all", 1, 60_000, 4, None)], policy=f"{namespace}/chat", stat_prefix="limited")
    serve(ours(namespace), limits, hosts=(f"also.{host}",))
    paths = [(host, "/slow"), (host, "/"), (f"also.{host}", "/slow"), (f"also.{host}", "/")]

    answers = [ask(gateway, *paths[n % 4]) for n in range(8)]

    # Waiting for the routes took tokens before, with or without the limit.
    assert 429 == answers[-1].status
    assert len(backend.seen()) <= 4
    assert {200, 429} >= {answer.status for answer in answers}
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert {"type": "rate_limited", "retryable": True, "attempts": 0}.items() <= error(answers[-1]).items()


def test_limit_by_key_is_one_for_each_value(
    serve: Serve, gateway: Traffic, backend: Backend, host: str, namespace: str
) -> None:
    """Each key has its own tokens, requests without a key are free, and those of a key share the policy's."""
    keyed = RateLimit("by-key", 1, 60_000, 2, "x-api-key")
    serve(ours(namespace), rate_limits([keyed], policy=f"{namespace}/chat", stat_prefix="limited"))

    by_key = {key: [ask(gateway, host, x_api_key=key).status for _ in range(3)] for key in ("a", "b")}
    without = {ask(gateway, host).status for _ in range(20)}

    assert {"a": [200, 200, 429], "b": [200, 200, 429]} == by_key
    assert {200} == without
    assert 24 == len(backend.seen())


def test_retry_after_is_that_of_the_bucket_that_was_empty(
    serve: Serve, gateway: Traffic, backend: Backend, host: str, namespace: str
) -> None:
    """A client that had none of a fast limit's tokens need not wait for a slow one's; a model's own wait stays."""
    limits = [RateLimit("all", 1, 2_000, 3, None), RateLimit("by-key", 1, 3_600_000, 50, "x-api-key")]
    serve(ours(namespace), rate_limits(limits, policy=f"{namespace}/chat", stat_prefix="limited"))

    refused = next(got for _ in range(20) if (got := ask(gateway, host)).status == 429)

    assert refused.headers["retry-after"] in {"1", "2"}

    backend.behave(status=429, headers={"retry-after": "77"})
    eventually(lambda: "77" == ask(gateway, host).headers.get("retry-after"), "the model refuses by itself", every=1)
