"""How long a changed weight takes to reach Envoy's traffic, beside the same change made by hand.

Both are patched by kubectl.  The clock runs from the moment when the API server has accepted the patch, as its audit
log says, to the first answer of the other version.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from typing import Any, ClassVar

import requests

from tests.bench.audit import Trail
from tests.bench.figure import Reading
from tests.bench.load import USER
from tests.bench.site import Site
from tests.stack import models
from tests.stack.models import Model
from tests.stack.waiting import eventually

_NAMESPACE = "bench-effective"
_NAME = "flip"
_BY_HAND = "by-hand"
_POLICY = "AIGatewayPolicy", _NAME
_ROUTE = "VirtualService", _BY_HAND
_SECONDS_BETWEEN = 0.5
"""Istiod collects changes for 100 ms, and longer when they come thick and fast."""


class Effective:
    """All traffic moves from one version to the other and back."""

    reach: ClassVar[dict[str, float]] = {"effective_ratio": 2.0}

    def setup(self, site: Site) -> None:
        """Start the data plane, and deploy two versions."""
        site.clear()
        site.stack.start("routing")
        site.namespaces(_NAMESPACE)
        self._versions = [models.deploy(site.cluster, _NAMESPACE, f"{_NAME}-{name}") for name in ("v1", "v2")]
        eventually(lambda: all(one.addresses() == site.stack.gateway.endpoints(one.host) for one in self._versions))

    def measure(self, site: Site) -> Reading:
        """Let both be changed in turns; the medians are compared."""
        with site.operator():
            specs = self._apply(site)
            ours, theirs = [], []
            for _ in range(site.sizes.rounds):
                flips = [*range(len(self._versions))] * site.sizes.flips
                ours += [self._flip(site, _POLICY, {"backends": _backends(to)}, to) for to in flips]
                theirs += [self._flip(site, _ROUTE, specs[to], to) for to in flips]
        mine, floor = statistics.median(ours), statistics.median(theirs)
        note = f"{mine * 1e3:.0f} ms beside {floor * 1e3:.0f} ms"
        return Reading({"effective_ratio": mine / floor}, {"effective_ratio": note})

    def _apply(self, site: Site) -> list[dict[str, Any]]:
        """Apply the policy, and by hand what becomes of it; return the latter's spec for each version."""
        specs = []
        for version in (0, 1):
            metadata = {"name": _NAME, "namespace": _NAMESPACE}
            spec = {"hosts": [_host(_POLICY)], "backends": _backends(version)}
            policy = {"apiVersion": "aigateway.dev/v1alpha1", "kind": _POLICY[0], "metadata": metadata, "spec": spec}
            site.cluster.apply(policy)
            site.wait_programmed(1)
            route = site.cluster.get("VirtualService", f"{_NAME}-gateway", _NAMESPACE)
            specs.append({**route["spec"], "hosts": [_host(_ROUTE)]})
        metadata = {"name": _BY_HAND, "namespace": _NAMESPACE}
        by_hand = {"apiVersion": "networking.istio.io/v1", "kind": _ROUTE[0], "metadata": metadata, "spec": specs[1]}
        site.cluster.apply(by_hand)
        for kind in (_POLICY, _ROUTE):
            _Watcher(site, _host(kind), self._versions[1]).wait()
        return specs

    def _flip(self, site: Site, target: tuple[str, str], spec: dict[str, Any], to: int) -> float:
        """Return the seconds between the accepted patch and the first answer of the other version."""
        time.sleep(_SECONDS_BETWEEN)
        trail = site.trail(USER)
        watcher = _Watcher(site, _host(target), self._versions[to])
        watcher.start()
        kind, name = target
        change = json.dumps({"spec": spec})
        site.cluster.kubectl("patch", kind.lower(), name, "-n", _NAMESPACE, "--type=merge", "-p", change)
        watcher.join()
        return watcher.seen_at - _accepted(trail)


def _backends(to: int) -> list[dict[str, Any]]:
    return [
        {"name": name, "service": {"name": f"{_NAME}-{name}"}, "weight": 100 if number == to else 0}
        for number, name in enumerate(("v1", "v2"))
    ]


def _host(target: tuple[str, str]) -> str:
    return f"{target[1]}.example.com"


def _accepted(trail: Trail) -> float:
    found = [one for one in trail.new() if one.verb == "patch" and one.namespace == _NAMESPACE]
    return found[-1].finished


class _Watcher(threading.Thread):
    """Asks the gateway until a version answers."""

    def __init__(self, site: Site, host: str, version: Model) -> None:
        super().__init__(daemon=True)
        self._url = site.stack.gateway.url
        self._host = host
        self._addresses = version.addresses()
        self.seen_at = 0.0

    def wait(self) -> None:
        """Return once the version answers."""
        self.start()
        self.join()

    def run(self) -> None:
        """Ask about 300 times a second, for 30 s at most."""
        deadline = time.monotonic() + 30
        with requests.Session() as session:
            while time.monotonic() < deadline:
                answer = session.get(self._url, headers={"Host": self._host}, timeout=5)
                now = time.time()
                if answer.ok and answer.json()["address"] in self._addresses:
                    self.seen_at = now
                    return
                time.sleep(0.002)
        raise AssertionError(f"{self._host} is not answered by {sorted(self._addresses)}")
