"""A run over time, at even steps: service per tenant, and requests waiting here and in the engines."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from scheduling.simulation.record import Run, Served
from scheduling.simulation.service import Curve, curves

MOST_TENANTS = 7  # that can be told apart in one plot; the others are summed
OTHERS = "others"


def shown_tenants(run: Run) -> list[str]:
    """The tenants with most service, most first: as many as one plot can show."""
    service = curves(run.served)
    return sorted(service, key=lambda name: (-service[name].tokens[-1], name))[:MOST_TENANTS]


def rates(run: Run, tenants: Sequence[str], window_s: int, step_s: int) -> dict[str, list[float]]:
    """Cost tokens a second in a window around each step, by tenant, and of all others together."""
    ticks = ticks_s(run, step_s)
    return {
        name: [_rate(each, at_s, window_s) for at_s in ticks]
        for name, each in _grouped(curves(run.served), tenants).items()
    }


def shares(run: Run, tenants: Sequence[str], window_s: int, step_s: int) -> dict[str, list[float]]:
    """Each one's part of all service in a window around each step, 0..1; 0 when nobody got any."""
    by_tenant = rates(run, tenants, window_s, step_s)
    totals = [sum(values) for values in zip(*by_tenant.values(), strict=True)]
    return {
        name: [value / total if total else 0.0 for value, total in zip(values, totals, strict=True)]
        for name, values in by_tenant.items()
    }


def ticks_s(run: Run, step_s: float) -> list[float]:
    """The steps, in seconds since the beginning."""
    return [n * step_s for n in range(int(run.ended_ms / 1000 / step_s) + 1)]


def waiting(run: Run, tenants: Sequence[str], step_s: float) -> dict[str, list[int]]:
    """Requests in line at each step, by tenant, and of all others together."""
    comings: dict[str, list[float]] = {name: [] for name in tenants}
    goings: dict[str, list[float]] = {name: [] for name in tenants}
    for one in run.served:
        name = one.arrival.tenant if one.arrival.tenant in comings else OTHERS
        comings.setdefault(name, []).append(one.arrival.at_ms)
        goings.setdefault(name, []).append(_left_ms(one, run))
    ticks = [at_s * 1000 for at_s in ticks_s(run, step_s)]
    return {name: _levels(sorted(comings[name]), sorted(goings[name]), ticks) for name in comings}


def in_engines(run: Run, step_s: float) -> dict[str, list[int]]:
    """Requests that wait inside each engine: the most within each step."""
    steps = len(ticks_s(run, step_s))
    return {name: _most(queue.changes, steps, step_s * 1000) for name, queue in run.engine_queues.items()}


def _grouped(service: Mapping[str, Curve], tenants: Sequence[str]) -> dict[str, list[Curve]]:
    groups: dict[str, list[Curve]] = {name: [service[name]] for name in tenants}
    if others := [curve for name, curve in service.items() if name not in groups]:
        groups[OTHERS] = others
    return groups


def _rate(group: Iterable[Curve], at_s: float, window_s: float) -> float:
    from_ms, to_ms = max(0.0, at_s - window_s / 2) * 1000, (at_s + window_s / 2) * 1000
    return sum(curve.within(from_ms, to_ms) for curve in group) / ((to_ms - from_ms) / 1000)


def _left_ms(one: Served, run: Run) -> float:
    left_ms = one.left_line_ms
    return run.ended_ms if left_ms is None else left_ms


def _levels(comings: Sequence[float], goings: Sequence[float], ticks: Iterable[float]) -> list[int]:
    return [bisect_right(comings, at_ms) - bisect_right(goings, at_ms) for at_ms in ticks]


def _most(changes: Sequence[tuple[float, int]], steps: int, step_ms: float) -> list[int]:
    most: dict[int, int] = defaultdict(int)
    before = 0
    at = 0
    for step in range(steps):
        most[step] = before
        while at < len(changes) and changes[at][0] < (step + 1) * step_ms:
            before = changes[at][1]
            most[step] = max(most[step], before)
            at += 1
    return [most[step] for step in range(steps)]
