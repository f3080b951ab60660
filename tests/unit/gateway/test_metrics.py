"""The page for Prometheus, beside what docs/metrics.md says of it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from gateway.metrics import SECONDS, Metrics, page
from gateway.records import Record

ROOT = Path(__file__).resolve().parents[3]
ROW = re.compile(r"^\| `(fairlane_\w+)` \|", re.MULTILINE)


def test_every_metric_is_documented_and_none_that_there_is_not() -> None:
    served = re.findall(r"^# TYPE (\w+)", page(Metrics(), [], 0, {}).decode(), re.MULTILINE)

    documented = ROW.findall((ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"))

    assert sorted(documented) == sorted(served)


def test_a_checkout_knows_its_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

    assert f'fairlane_build_info{{version="{version}"}} 1.0' in page(Metrics(), [], 0, {}).decode()


def test_spans_are_counted_by_class_and_a_class_without_any_is_not_shown() -> None:
    metrics = Metrics()
    for model, name, wait_s in (("a", "batch", 0.03), ("b", "batch", 0.05), ("a", "standard", None)):
        record = Record("r", 1.0, "chat", model, name, "/v1/completions", stream=True, outcome="ok")
        record.dispatched_at = record.first_token_at = None if wait_s is None else 1.0 + wait_s
        metrics.count([record])

    text = page(metrics, [], 0, {}).decode()

    assert 'fairlane_requests_total{class="batch",model="b",outcome="ok"} 1.0' in text
    assert 'fairlane_queue_wait_seconds_bucket{class="batch",le="0.05"} 1.0' in text
    assert 'fairlane_queue_wait_seconds_bucket{class="batch",le="0.1"} 2.0' in text
    assert 'fairlane_ttft_seconds_count{class="batch"} 2.0' in text
    assert 'seconds_count{class="standard"}' not in text


def test_a_span_counts_at_its_bound_whether_it_was_counted_at_once_or_with_many() -> None:
    metrics, steps, records = Metrics(), [step / 200 for step in range(1500)], []
    for wait_s in reversed(steps):
        record = Record("r", 0.0, "chat", "a", "batch", "/v1/completions", stream=True, outcome="ok")
        record.dispatched_at = wait_s
        records.append(record)
    for record in records[:100]:
        metrics.count([record])
    metrics.count(records[100:])

    text = page(metrics, [], 0, {}).decode()

    for bound_s in SECONDS:
        below = sum(wait_s <= bound_s for wait_s in steps)
        line = f'fairlane_queue_wait_seconds_bucket{{class="batch",le="{bound_s}"}} {below}.0'
        assert line in text
    told = re.search(r'fairlane_queue_wait_seconds_sum{class="batch"} (\S+)', text)
    assert float(told[1]) == pytest.approx(sum(steps))
