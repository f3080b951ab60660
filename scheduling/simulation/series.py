"""A run over time, at even steps: service per tenant, and requests waiting here and in the engines."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from scheduling.simulation.record import Run
from scheduling.simulation.service import Curve, curves

MOST_TENANTS = 7  # that can be told apart in one plot; the others are summed
OTHERS = "others"


class OverTime:
    """The curves of a run, for the tenants with most service and for all others together."""

    def __init__(self, run: Run) -> None:
        self._run = run
        service = curves(run.served)
        self.tenants = sorted(service, key=lambda name: (-service[name].tokens[-1], name))[:MOST_TENANTS]
        """Most service first."""
        self._groups = {name: [service[name]] for name in self.tenants}
        if others := [curve for name, curve in service.items() if name not in self._groups]:
            self._groups[OTHERS] = others

    def group(self, tenant: str) -> str:
        """Under which name a tenant is shown."""
        return tenant if tenant in self._groups else OTHERS

    def ticks_s(self, step_s: float) -> list[float]:
        """The steps, in seconds since the beginning."""
        return [n * step_s for n in range(int(self._run.ended_ms / 1000 / step_s) + 1)]

    def rates(self, window_s: float, step_s: float) -> dict[str, list[float]]:
        """Cost tokens a second of each, in a window around each step."""
        ticks = self.ticks_s(step_s)
        return {name: [_rate(each, at_s, window_s) for at_s in ticks] for name, each in self._groups.items()}

    def shares(self, window_s: float, step_s: float) -> dict[str, list[float | None]]:
        """Each one's part of all service in a window around each step, 0..1; None when nobody got any."""
        rates = self.rates(window_s, step_s)
        totals = [sum(values) for values in zip(*rates.values(), strict=True)]
        return {
            name: [value / total if total else None for value, total in zip(values, totals, strict=True)]
            for name, values in rates.items()
        }

    def waiting(self, step_s: float) -> dict[str, list[int]]:
        """Requests in line here at each step."""
        comings: dict[str, list[float]] = {name: [] for name in self._groups}
        goings: dict[str, list[float]] = {name: [] for name in self._groups}
        for one in self._run.served:
            name = self.group(one.arrival.tenant)
            comings[name].append(one.arrival.at_ms)
            left_ms = one.left_line_ms
            goings[name].append(self._run.ended_ms if left_ms is None else left_ms)
        ticks = [at_s * 1000 for at_s in self.ticks_s(step_s)]
        return {name: _levels(sorted(comings[name]), sorted(goings[name]), ticks) for name in comings}

    def in_engines(self, step_s: float) -> dict[str, list[int]]:
        """Requests that wait inside each engine: the most within each step."""
        steps = len(self.ticks_s(step_s))
        return {
            name: _most(queue.changes, steps, step_s * 1000)
            for name, queue in self._run.engine_queues.items()
        }


def _rate(group: Iterable[Curve], at_s: float, window_s: float) -> float:
    from_ms, to_ms = max(0.0, at_s - window_s / 2) * 1000, (at_s + window_s / 2) * 1000
    return sum(curve.within(from_ms, to_ms) for curve in group) / ((to_ms - from_ms) / 1000)


def _levels(comings: Sequence[float], goings: Sequence[float], ticks: Iterable[float]) -> list[int]:
    return [bisect_right(comings, at_ms) - bisect_right(goings, at_ms) for at_ms in ticks]


def _most(changes: Sequence[tuple[float, int]], steps: int, step_ms: float) -> list[int]:
    most: list[int] = []
    value = at = 0
    for step in range(steps):
        highest = value
        while at < len(changes) and changes[at][0] < (step + 1) * step_ms:
            value = changes[at][1]
            highest = max(highest, value)
            at += 1
        most.append(highest)
    return most
