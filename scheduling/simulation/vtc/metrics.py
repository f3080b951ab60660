"""The artifact's measures of fairness, from when each request got its first token and its end.

Service of a request is prompt + 2 x completion tokens, spread evenly from its
first token to its end (fair_bench/plot/visualize.py of Ying1123/VTC-artifact).
Rates are cost tokens a second. A request without a first token was refused
and counts nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil
from statistics import fmean, pvariance

from scheduling.core.policy import DEFAULT_WEIGHT
from scheduling.core.usage import cost_of
from scheduling.simulation.metrics import percentile
from scheduling.simulation.record import Served
from scheduling.simulation.scenario import Workload
from scheduling.simulation.service import jain
from scheduling.simulation.sharing import max_min
from scheduling.simulation.vtc.workloads import WARM_UP_MS

MEASURED_S = 600.0  # the artifact measures ten minutes, whatever the workload's length
TICKS = 20
WINDOW_S = 60.0
JAIN_WINDOW_S = 30
WARM_UP_S = WARM_UP_MS / 1000


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run is judged by.

    ``max_diff``, ``avg_diff`` and ``var_diff`` are the paper's service
    difference over 19 windows of a minute. ``drift`` is the artifact's
    accumulated difference: the most that one tenant is ahead of another since
    the warm-up, waiting or not. ``gap`` is the most that one gets ahead of
    another, over its weight, while both are in line. ``jain`` compares what tenants
    got in the measured time with their max-min share of it; ``jain_30s`` is
    the least over half minutes, among those in line all along. Costs in
    cost tokens, throughput in prompt and completion tokens a second.
    """

    max_diff: float
    avg_diff: float
    var_diff: float
    throughput: float
    drift: float
    gap: float
    jain: float
    jain_30s: float
    refused: float


@dataclass(frozen=True, slots=True)
class Span:
    """One answer in seconds: asked, out of the line, first token, end, and its cost."""

    asked_s: float
    seated_s: float
    first_s: float
    end_s: float
    cost: int

    def by(self, at_s: float) -> float:
        """The service done by then."""
        if self.end_s <= self.first_s:  # said at once: one token
            return float(self.cost) if at_s >= self.first_s else 0.0
        return self.cost * min(1.0, max(0.0, (at_s - self.first_s) / (self.end_s - self.first_s)))


def figures(workload: Workload, served: Sequence[Served]) -> Figures:
    """The figures of one run."""
    spans = _spans(served)
    weights = {name: workload.weights.get(name, DEFAULT_WEIGHT) for name in spans}
    diffs = service_differences(spans)
    ends = max(span.end_s for one in spans.values() for span in one)
    tokens = sum(
        one.arrival.prompt_tokens + one.arrival.completion_tokens
        for one in served
        if one.ended_ms is not None
    )
    curves = {name: _Curve(one, weights[name], int(ends) + 1) for name, one in spans.items()}
    return Figures(
        max_diff=max(diffs),
        avg_diff=fmean(diffs),
        var_diff=pvariance(diffs),
        throughput=tokens / ends,
        drift=accumulated_difference(spans, weights),
        gap=max((_gap(one, other) for one, other in combinations(curves.values(), 2)), default=0.0),
        jain=_jain(workload, served, spans, weights),
        jain_30s=_jain_of_windows(list(curves.values())),
        refused=float(sum(1 for one in served if one.first_token_ms is None)),
    )


def first_token_s(served: Iterable[Served], tenants: Iterable[str], percent: float) -> float:
    """Seconds from asking to the first token, this percentile over all requests of these tenants."""
    names = set(tenants)
    return percentile(
        (
            (one.first_token_ms - one.arrival.at_ms) / 1000
            for one in served
            if one.first_token_ms is not None and one.arrival.tenant in names
        ),
        percent,
    )


def service_differences(spans: Mapping[str, Sequence[Span]]) -> list[float]:
    """At each tick, summed, how far each tenant is from the best served or its demand: the nearer one."""
    return [_difference(spans, at_s - WINDOW_S / 2, at_s + WINDOW_S / 2) for at_s in _ticks()]


def accumulated_difference(spans: Mapping[str, Sequence[Span]], weights: Mapping[str, int]) -> float:
    """The most, over the ticks, between the best and the worst served since the warm-up, over weights."""
    worst = 0.0
    for at_s in _ticks():
        sums = [_between(one, WARM_UP_S, at_s) / weights[name] for name, one in spans.items()]
        worst = max(worst, max(sums) - min(sums))
    return worst


def _ticks() -> list[float]:
    every_s = (MEASURED_S - WARM_UP_S) / TICKS
    return [WARM_UP_S + every_s * tick for tick in range(1, TICKS)]


def _difference(spans: Mapping[str, Sequence[Span]], from_s: float, to_s: float) -> float:
    served = {name: _between(one, from_s, to_s) / WINDOW_S for name, one in spans.items()}
    best = max(served.values())
    return sum(
        min(best - served[name], abs(_asked(one, from_s, to_s) / WINDOW_S - served[name]))
        for name, one in spans.items()
    )


def _between(spans: Iterable[Span], from_s: float, to_s: float) -> float:
    return sum(
        span.by(to_s) - span.by(from_s) for span in spans if span.first_s < to_s and span.end_s > from_s
    )


def _asked(spans: Iterable[Span], from_s: float, to_s: float) -> float:
    return sum(span.cost for span in spans if from_s <= span.asked_s <= to_s)


def _spans(served: Iterable[Served]) -> dict[str, list[Span]]:
    spans: dict[str, list[Span]] = {}
    for one in served:
        if one.seated_ms is not None and one.first_token_ms is not None and one.ended_ms is not None:
            arrival = one.arrival
            span = Span(
                arrival.at_ms / 1000,
                one.seated_ms / 1000,
                one.first_token_ms / 1000,
                one.ended_ms / 1000,
                cost_of(arrival.prompt_tokens, arrival.completion_tokens),
            )
            spans.setdefault(arrival.tenant, []).append(span)
    return dict(sorted(spans.items()))


class _Curve:
    """A tenant by the second: its service so far over its weight, and since when it has been in line."""

    def __init__(self, spans: Sequence[Span], weight: int, seconds: int) -> None:
        self.service = _sampled(spans, weight, seconds)
        self.waits_since: list[float | None] = [None] * (seconds + 1)
        for from_s, to_s in _united((span.asked_s, span.seated_s) for span in spans):
            for second in range(ceil(from_s), min(ceil(to_s), seconds + 1)):
                self.waits_since[second] = from_s


def _united(times: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Times that touch or overlap, as one."""
    united: list[tuple[float, float]] = []
    for from_s, to_s in sorted(times):
        if united and from_s <= united[-1][1]:
            united[-1] = (united[-1][0], max(to_s, united[-1][1]))
        else:
            united.append((from_s, to_s))
    return united


def _sampled(spans: Sequence[Span], weight: int, seconds: int) -> list[float]:
    """Service at each whole second, from 0."""
    sums = [0.0] * (seconds + 1)
    for span in spans:
        before = 0.0
        for second in range(int(span.first_s), min(int(span.end_s) + 1, seconds) + 1):
            done = span.by(second)
            sums[second] += (done - before) / weight
            before = done
    for second in range(1, seconds + 1):
        sums[second] += sums[second - 1]
    return sums


def _gap(one: _Curve, other: _Curve) -> float:
    """The most that the difference of service moves while both are in line without a break."""
    worst = low = high = 0.0
    before: tuple[float, float] | None = None
    for second, (left, right) in enumerate(zip(one.waits_since, other.waits_since, strict=True)):
        if left is None or right is None:
            continue
        ahead = one.service[second] - other.service[second]
        low, high = (min(low, ahead), max(high, ahead)) if before == (left, right) else (ahead, ahead)
        before = (left, right)
        worst = max(worst, high - low)
    return worst


def _jain_of_windows(curves: Sequence[_Curve]) -> float:
    least = 1.0
    for to_s in range(JAIN_WINDOW_S, len(curves[0].service)):
        from_s = to_s - JAIN_WINDOW_S
        waited = [
            curve.service[to_s] - curve.service[from_s]
            for curve in curves
            if (since := curve.waits_since[to_s]) is not None and since <= from_s
        ]
        if len(waited) > 1:
            least = min(least, jain(waited))
    return least


def _jain(
    workload: Workload,
    served: Sequence[Served],
    spans: Mapping[str, Sequence[Span]],
    weights: Mapping[str, int],
) -> float:
    from_s, to_s = workload.from_ms / 1000, workload.to_ms / 1000
    got = {name: _between(one, from_s, to_s) for name, one in spans.items()}
    wanted = {
        name: round(
            sum(span.cost for span in one if span.asked_s < to_s) - sum(span.by(from_s) for span in one)
        )
        for name, one in spans.items()
    }
    entitled = max_min(wanted, weights, sum(got.values()))
    return jain([got[name] / entitled[name] for name in spans if entitled[name]])
