"""A real Prometheus that scrapes the proxies, istiod and itself every second.

Called by :mod:`tests.stack.stack`; tests ask it through :meth:`Prometheus.query`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.stack.addresses import GATEWAY_ADMIN, ISTIOD_MONITORING, PROMETHEUS, SIDECARS
from tests.stack.build import Tools
from tests.stack.istio import answers
from tests.stack.processes import Processes
from tests.stack.telemetry import RELABELLING

SCRAPE_SECONDS = 1


@dataclass(frozen=True)
class Prometheus:
    """Starts Prometheus into ``processes`` and asks it."""

    tools: Tools
    processes: Processes
    folder: Path
    url: str = f"http://127.0.0.1:{PROMETHEUS}"

    def start(self) -> None:
        """Start it, without waiting."""
        config = self.folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(_config()))
        self.processes.start(
            "prometheus",
            self.tools.path("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{PROMETHEUS}",
            "--storage.tsdb.retention.time=2h",
            "--log.level=warn",
        )

    def wait(self) -> None:
        """Wait until it answers queries."""
        self.processes.wait_until("prometheus", lambda: answers(f"{self.url}/-/ready"))

    def query(self, promql: str) -> dict[str, float]:
        """Return an instant query's values by their labels, written ``name=value,…`` ('' where there are none)."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": promql}, timeout=10)
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return {",".join(f"{k}={v}" for k, v in sorted(row["metric"].items())): float(row["value"][1]) for row in found}

    def value(self, promql: str) -> float:
        """Return the one value of an instant query; LookupError where there is none."""
        rows = list(self.query(promql).values())
        if len(rows) != 1:
            msg = f"{promql}: {len(rows)} values"
            raise LookupError(msg)
        return rows[0]


def _config() -> dict[str, Any]:
    every = f"{SCRAPE_SECONDS}s"
    # Sidecars come and go. Their addresses are fixed, since targets from a file take Prometheus five seconds to notice.
    envoy = _job("envoy-stats", GATEWAY_ADMIN, *SIDECARS.values())
    envoy |= {"metrics_path": "/stats/prometheus", "metric_relabel_configs": RELABELLING}
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "scrape_configs": [envoy, _job("istiod", ISTIOD_MONITORING), _job("prometheus", PROMETHEUS)],
    }


def _job(name: str, *ports: int) -> dict[str, Any]:
    return {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
