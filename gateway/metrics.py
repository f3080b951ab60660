"""What the data plane counts, and the page that Prometheus reads.

Counting is plain dictionaries, so that a request costs next to nothing; the
page is built by prometheus-client when somebody asks. Labels come from the
policy (models, classes, pools, backends), never from what a client sent.
"""

from __future__ import annotations

import functools
import tomllib
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.records import Record
from scheduling.core.view import PoolView

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
_labels, _class = attrgetter("model", "priority_class", "outcome"), attrgetter("priority_class")
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Histogram:
    """How many seconds were at most as many as each bound, how many there were, and their sum."""

    __slots__ = ("_sum_s", "_total", "_up_to")

    def __init__(self) -> None:
        self._up_to = [0] * len(SECONDS)
        self._total = 0
        self._sum_s = 0.0

    def count(self, spans_s: list[float]) -> None:
        """Count these, and bring them into order."""
        spans_s.sort()
        for at, bound in enumerate(SECONDS):
            self._up_to[at] += bisect_right(spans_s, bound)
        self._total += len(spans_s)
        self._sum_s += sum(spans_s)

    def add_to(self, family: HistogramMetricFamily, labels: list[str]) -> None:
        """Put the cumulative counts on the page, if there are any."""
        if self._total:
            buckets = [*zip(map(str, SECONDS), self._up_to, strict=True), ("+Inf", self._total)]
            family.add_metric(labels, buckets, self._sum_s)


class Metrics:
    """Everything counted since the process began. ``catch_up`` has what ended lately counted."""

    def __init__(self, catch_up: Callable[[], None] = lambda: None) -> None:
        self._catch_up = catch_up
        self.rejected: Counter[str] = Counter()
        self.retries: Counter[int] = Counter()
        self._ended: Counter[tuple[str, str, str]] = Counter()
        self._waits: defaultdict[str, Histogram] = defaultdict(Histogram)
        self._first_tokens: defaultdict[str, Histogram] = defaultdict(Histogram)

    def count(self, records: Sequence[Record]) -> None:
        """Accepted requests have their outcomes."""
        self._ended.update(map(_labels, records))
        for name, group in groupby(sorted(records, key=_class), _class):
            those = list(group)
            waits_s = [at - each.accepted_at for each in those if (at := each.dispatched_at) is not None]
            firsts_s = [at - each.accepted_at for each in those if (at := each.first_token_at) is not None]
            self._waits[name].count(waits_s)
            self._first_tokens[name].count(firsts_s)

    @property
    def requests(self) -> Mapping[tuple[str, str, str], int]:
        """Accepted requests that ended, by model, class and outcome."""
        self._catch_up()
        return self._ended

    def families(self) -> Iterator[Metric]:
        """The counted part of the page."""
        requests = CounterMetricFamily(
            "fairlane_requests", "Accepted requests that ended.", labels=["model", "class", "outcome"]
        )
        for labels, count in self.requests.items():
            requests.add_metric(labels, count)
        yield requests
        rejected = CounterMetricFamily(
            "fairlane_rejected", "Requests refused before or in line.", labels=["reason"]
        )
        for reason, count in self.rejected.items():
            rejected.add_metric([reason], count)
        yield rejected
        retries = CounterMetricFamily(
            "fairlane_retry_requests", "Requests put back at the head of their line.", labels=["attempt"]
        )
        for attempt, count in self.retries.items():
            retries.add_metric([str(attempt)], count)
        yield retries
        yield _histogram("fairlane_queue_wait_seconds", "From acceptance to a seat.", self._waits)
        yield _histogram("fairlane_ttft_seconds", "From acceptance to the first token.", self._first_tokens)


def page(
    metrics: Metrics, views: Iterable[PoolView], unsettled: int, client_retries: Mapping[str, int]
) -> bytes:
    """The text that Prometheus reads. ``client_retries`` counts them by verdict."""
    registry = CollectorRegistry(auto_describe=False)
    families = [*metrics.families(), _client_retries(client_retries)]
    registry.register(_Page([*families, *_pool_families(views), *_process_families(unsettled)]))
    return generate_latest(registry)


class _Page(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _client_retries(verdicts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(
        "fairlane_retry_budget", "Requests that clients sent again, by verdict.", labels=["verdict"]
    )
    for verdict, count in verdicts.items():
        family.add_metric([verdict], count)
    return family


def _pool_families(views: Iterable[PoolView]) -> list[Metric]:
    depth = GaugeMetricFamily("fairlane_queue_depth", "Requests in line.", labels=["pool"])
    oldest = GaugeMetricFamily("fairlane_queue_oldest_seconds", "Longest present wait.", labels=["pool"])
    inflight = GaugeMetricFamily("fairlane_inflight", "Requests at a backend.", labels=["pool", "backend"])
    limit = GaugeMetricFamily(
        "fairlane_admission_limit", "What the gate lets in.", labels=["pool", "backend", "kind"]
    )
    for view in views:
        depth.add_metric([view.pool], view.queued)
        oldest.add_metric([view.pool], max((t.oldest_wait_ms or 0 for t in view.tenants), default=0) / 1000)
        for gate in view.backends:
            inflight.add_metric([view.pool, gate.backend], gate.in_flight)
            limit.add_metric([view.pool, gate.backend, "window"], gate.window)
            limit.add_metric([view.pool, gate.backend, "cap"], gate.cap)
    return [depth, oldest, inflight, limit]


def _process_families(unsettled: int) -> list[Metric]:
    build = GaugeMetricFamily("fairlane_build_info", "The version that runs.", labels=["version"])
    build.add_metric([_version()], 1)
    waiting = GaugeMetricFamily("fairlane_usage_unsettled", "Accepted requests without a stored end.")
    waiting.add_metric([], unsettled)
    return [build, waiting]


@functools.cache
def _version() -> str:
    try:
        return version("fairlane")
    except PackageNotFoundError:  # run from a checkout that was not installed
        project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
        return str(project["version"])


def _histogram(name: str, text: str, by_class: Mapping[str, Histogram]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=["class"])
    for label, histogram in by_class.items():
        histogram.add_to(family, [label])
    return family
