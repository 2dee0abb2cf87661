"""Prometheus as something that may hang, lie and flood: one question in, the rows of a sound answer out.

:mod:`aigateway.metrics.sampler` asks, in threads: it blocks.  The library speaks the protocol; the session under it
lets only answers through that are whole, small, in time and of the right form.  It follows no redirect, keeps no
cookies and takes neither proxies nor credentials from the environment.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import requests
from prometheus_api_client import PrometheusConnect
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError

from aigateway.core.observation import Lack
from aigateway.metrics.answers import NoAnswer, Row

_CHUNK = 65536
_FINE = 200
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds for connecting, seconds for the whole answer, and how many bytes that may have."""

    connect: float = 2.0
    answer: float = 5.0
    size: int = 4_000_000


class Prometheus:
    """One Prometheus; safe to be asked by several threads at once."""

    def __init__(self, address: str, limits: Limits = Limits()) -> None:
        self._evaluation = {"timeout": f"{limits.answer:g}s"}
        self._session = _Session(limits)
        self._library = PrometheusConnect(address.rstrip("/"), session=self._session, method="POST")
        # The library would try three times and wait in between; the next tick is our second try.
        self._session.mount(address.rstrip("/"), HTTPAdapter(max_retries=0))

    def ask(self, promql: str) -> Sequence[Row]:
        """Return the rows of an instant query.

        Raises:
            NoAnswer: there is none that can be used.
        """
        try:
            rows: Sequence[Row] = self._library.custom_query(promql, params=self._evaluation)
        except requests.Timeout as error:
            raise NoAnswer(Lack.TIMED_OUT, str(error)) from error
        except (requests.RequestException, HTTPError, OSError) as error:
            raise NoAnswer(Lack.UNREACHABLE, str(error)) from error
        return rows

    def close(self) -> None:
        """Close all connections."""
        self._session.close()


class _Session(requests.Session):
    """Sends a question and returns its answer once that is known to be sound.

    Raises:
        NoAnswer: it is not.
    """

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits
        self.trust_env = False
        self.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        # What is packed could unpack to any size.
        self.headers.update({"Accept": _JSON, "Accept-Encoding": "identity"})

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # noqa: ANN401 (requests')
        """Send a question in the body of the request, whatever its length, and check the answer."""
        started = time.monotonic()
        _move_into_body(request)
        options |= {"allow_redirects": False, "stream": True, "timeout": (self._limits.connect, self._limits.answer)}
        with super().send(request, **options) as response:
            _require(response.status_code == _FINE, Lack.REFUSED, f"HTTP status {response.status_code}")
            kind = response.headers.get("Content-Type", "nothing")
            _require(kind.partition(";")[0].strip().lower() == _JSON, Lack.NOT_JSON, f"it is {kind[:100]}")
            body = self._body(response, started + self._limits.answer)
        _check(body)
        whole = requests.Response()
        whole.status_code = _FINE
        whole.raw = BytesIO(body)
        return whole

    def _body(self, response: requests.Response, until: float) -> bytes:
        """Read as it comes: neither a flood nor a trickle holds the thread for long."""
        body = bytearray()
        try:
            while chunk := response.raw.read1(_CHUNK):
                body += chunk
                _require(len(body) <= self._limits.size, Lack.TOO_LARGE, f"more than {self._limits.size} bytes")
                _require(time.monotonic() < until, Lack.TIMED_OUT, f"not whole after {self._limits.answer:g} s")
        except ReadTimeoutError as error:
            raise NoAnswer(Lack.TIMED_OUT, "it stopped in the middle") from error
        return bytes(body)


def _move_into_body(request: requests.PreparedRequest) -> None:
    """Send as a form what the library puts into the address: proxies cut long addresses off."""
    parts = urlsplit(request.url or "")
    request.url = parts._replace(query="").geturl()
    request.headers["Content-Type"] = _FORM
    request.prepare_body(parts.query, None)


def _check(body: bytes) -> None:
    """Let only a vector without a warning through: with one, numbers may be of a part of the data."""
    try:
        answer = json.loads(body)
        fine = answer["status"] == "success" and answer["data"]["resultType"] == "vector"
        fine = fine and isinstance(answer["data"]["result"], list)
        warnings = answer.get("warnings")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise NoAnswer(Lack.NOT_JSON, f"it is none of Prometheus: {body[:100]!r}") from error
    _require(fine, Lack.NOT_JSON, f"it is no vector: {body[:100]!r}")
    _require(not warnings, Lack.WARNED, f"it warns: {str(warnings)[:300]}")


def _require(fine: object, lack: Lack, text: str) -> None:
    if not fine:
        raise NoAnswer(lack, text)
