"""The page for Prometheus, beside what docs/metrics.md says of it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from gateway.metrics import Metrics, page

ROOT = Path(__file__).resolve().parents[3]
ROW = re.compile(r"^\| `(fairlane_\w+)` \|", re.MULTILINE)


def test_every_metric_is_documented_and_none_that_there_is_not() -> None:
    served = re.findall(r"^# TYPE (\w+)", page(Metrics(), [], 0, {}).decode(), re.MULTILINE)

    documented = ROW.findall((ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"))

    assert sorted(documented) == sorted(served)


def test_a_checkout_knows_its_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

    assert f'fairlane_build_info{{version="{version}"}} 1.0' in page(Metrics(), [], 0, {}).decode()
