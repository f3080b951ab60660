"""Figures of one observation, the same for a run in pretend time and for one on the product."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from scheduling.core.outcome import Outcome
from scheduling.plots import Point
from scheduling.simulation.experiments.trial import Observation
from scheduling.simulation.metrics import percentile
from scheduling.simulation.record import Served
from scheduling.simulation.service import Interval, convergence_s, jain, widest_gap

GONE = frozenset({Outcome.CLIENT_GONE_QUEUED, Outcome.CLIENT_GONE_STREAMING})


def measured(seen: Observation) -> Interval:
    """The time in which shares are measured."""
    workload = seen.trial.workload
    return (workload.from_ms, max(workload.from_ms, min(workload.to_ms, seen.ended_ms)))


def requests(seen: Observation, tenant: str) -> int:
    """How many the tenant sent in the measured time."""
    return len(_of(seen, tenant))


def first_token_s(seen: Observation, tenant: str, percent: float) -> float:
    """Percentile of the time to the first token, in seconds, over requests of the measured time.

    One that had none when the trial was over counts with the time it had waited by then.
    Raises ValueError when the tenant sent nothing in the measured time.
    """
    times_s = first_tokens_s(seen, tenant)
    if not times_s:
        raise ValueError(f"{tenant} sent nothing in the measured time: more --seconds, or another --seed")
    return percentile(times_s, percent)


def first_tokens_s(seen: Observation, tenant: str) -> list[float]:
    """The times themselves."""
    return [_first_token_ms(seen, one) / 1000 for one in _of(seen, tenant)]


def answer_s(seen: Observation, tenant: str, percent: float) -> float:
    """Percentile of the time to the whole answer, in seconds; one without an end waited until the trial's."""
    times_s = [
        ((seen.ended_ms if one.ended_ms is None else one.ended_ms) - one.arrival.at_ms) / 1000
        for one in _of(seen, tenant)
    ]
    if not times_s:
        raise ValueError(f"{tenant} sent nothing in the measured time: more --seconds, or another --seed")
    return percentile(times_s, percent)


def left_waiting(seen: Observation) -> int:
    """How many clients left before their first token, in the whole trial."""
    return sum(one.outcome in GONE and one.first_token_ms is None for one in seen.served)


def per_token_ms(seen: Observation, tenant: str) -> float:
    """Median time between two tokens of an answer, in milliseconds."""
    times = [
        (one.ended_ms - one.first_token_ms) / (one.completion_tokens - 1)
        for one in _of(seen, tenant)
        if one.ended_ms is not None and one.first_token_ms is not None and one.completion_tokens > 1
    ]
    return percentile(times, 50)


def shares(seen: Observation, span: Interval | None = None) -> dict[str, float]:
    """Each tenant's part of the cost tokens served in the measured time, or in this span; 0..1."""
    begin_ms, end_ms = span or measured(seen)
    got = {tenant: curve.within(begin_ms, end_ms) for tenant, curve in seen.service.items()}
    total = sum(got.values())
    return {tenant: part / total if total else 0.0 for tenant, part in got.items()}


def tokens_per_s(seen: Observation) -> float:
    """Completion tokens a second that the engine wrote in the measured time."""
    begin_ms, end_ms = measured(seen)
    written = sum(_written(one, begin_ms, end_ms) for one in seen.served)
    return 1000 * written / (end_ms - begin_ms) if end_ms > begin_ms else 0.0


def evenness(seen: Observation, weights: Mapping[str, int], span: Interval | None = None) -> float:
    """Jain's index of the shares divided by these weights: 1.0 when everybody got what is due."""
    got = shares(seen, span)
    return jain([got.get(tenant, 0.0) / weight for tenant, weight in weights.items()])


def gap(seen: Observation, weights: Mapping[str, int]) -> float:
    """The most that the service of two of these tenants, who always wait, drifted apart; see widest_gap."""
    return widest_gap(seen.service, weights, {tenant: [measured(seen)] for tenant in weights})[0]


def arrived_s(
    seen: Observation, targets: Mapping[str, float], since_ms: float, window_ms: int
) -> float | None:
    """How long after a moment the shares began to be these, in seconds; None: not in the measured time."""
    return convergence_s(seen.service, targets, since_ms, measured(seen)[1], window_ms)


def course(seen: Observation, windows: int) -> dict[str, list[Point]]:
    """Each tenant's share over time: points of seconds and per cent, one for each of so many windows."""
    end_ms = measured(seen)[1]
    course: dict[str, list[Point]] = {tenant: [] for tenant in seen.service}
    for begin, end in pairwise(end_ms * n / windows for n in range(windows + 1)):
        for tenant, share in shares(seen, (begin, end)).items():
            course[tenant].append(((begin + end) / 2000, 100 * share))
    return course


def _of(seen: Observation, tenant: str) -> list[Served]:
    begin_ms, end_ms = measured(seen)
    return [
        one for one in seen.served if one.arrival.tenant == tenant and begin_ms <= one.arrival.at_ms < end_ms
    ]


def _first_token_ms(seen: Observation, one: Served) -> float:
    began_ms = seen.ended_ms if one.first_token_ms is None else one.first_token_ms
    return began_ms - one.arrival.at_ms


def _written(one: Served, begin_ms: float, end_ms: float) -> float:
    """Completion tokens within a span: spread evenly from the first to the last."""
    first_ms, last_ms = one.first_token_ms, one.ended_ms
    if first_ms is None or last_ms is None:
        return 0.0
    if last_ms <= first_ms:
        return one.completion_tokens if begin_ms <= first_ms < end_ms else 0.0
    within_ms = max(0.0, min(last_ms, end_ms) - max(first_ms, begin_ms))
    return one.completion_tokens * within_ms / (last_ms - first_ms)
