"""``python -m tools.chart``: write all generated files of the chart, then the manifests that helm renders from it."""

from __future__ import annotations

from pathlib import Path

from tests.stack.build import ensure, say_plainly
from tools.chart.generate import chart_files, manifest_files, write

ROOT = Path(__file__).resolve().parents[2]

if __name__ == "__main__":
    write(ROOT, chart_files(ROOT))
    write(ROOT, manifest_files(ROOT, ensure(["helm"], say_plainly).path("helm")))
