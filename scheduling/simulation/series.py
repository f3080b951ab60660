"""A run over time, at even steps: service per tenant, and requests waiting here and in the engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from scheduling.simulation.record import Run
from scheduling.simulation.service import Curve, curves

MOST_TENANTS = 7  # that can be told apart in one plot; the others are summed
OTHERS = "others"


class OverTime:
    """The curves of a run, for the tenants with most service and for all others together."""

    def __init__(self, run: Run) -> None:
        self._run = run
        totals: Counter[str] = Counter()
        for one in run.served:
            totals[one.arrival.tenant] += one.cost_tokens
        most_first = sorted(totals, key=lambda name: (-totals[name], name))
        self.tenants = most_first[:MOST_TENANTS]
        """Most service first."""
        self.names = [*self.tenants, *([OTHERS] if len(most_first) > MOST_TENANTS else [])]
        self._service = curves(run.served, self.group)

    def group(self, tenant: str) -> str:
        """Under which name a tenant is shown."""
        return tenant if tenant in self.tenants else OTHERS

    def ticks_s(self, step_s: float) -> list[float]:
        """The steps, in seconds since the beginning."""
        return [n * step_s for n in range(int(self._run.ended_ms / 1000 / step_s) + 1)]

    def rates(self, window_s: float, step_s: float) -> dict[str, list[float]]:
        """Cost tokens a second of each, in a window around each step."""
        ticks = self.ticks_s(step_s)
        return {name: [_rate(self._service[name], at_s, window_s) for at_s in ticks] for name in self.names}

    def shares(self, window_s: float, step_s: float) -> dict[str, list[float | None]]:
        """Each one's part of all service in a window around each step, 0..1; None when nobody got any."""
        rates = self.rates(window_s, step_s)
        totals = [sum(values) for values in zip(*rates.values(), strict=True)]
        return {
            name: [value / total if total else None for value, total in zip(values, totals, strict=True)]
            for name, values in rates.items()
        }

    def waiting(self, step_s: float) -> dict[str, list[int]]:
        """Requests in line here: the most within each step."""
        steps: dict[str, list[tuple[float, int]]] = {name: [] for name in self.names}
        for one in self._run.served:
            left_ms = one.left_line_ms
            if left_ms is None or left_ms > one.arrival.at_ms:  # else it did not wait
                name = self.group(one.arrival.tenant)
                steps[name] += [
                    (one.arrival.at_ms, 1),
                    (self._run.ended_ms if left_ms is None else left_ms, -1),
                ]
        count = len(self.ticks_s(step_s))
        return {name: _most(_levels(sorted(each)), count, step_s * 1000) for name, each in steps.items()}

    def in_engines(self, step_s: float) -> dict[str, list[int]]:
        """Requests that wait inside each engine: the most within each step."""
        steps = len(self.ticks_s(step_s))
        return {
            name: _most(queue.changes, steps, step_s * 1000)
            for name, queue in self._run.engine_queues.items()
        }


def _rate(curve: Curve, at_s: float, window_s: float) -> float:
    from_ms, to_ms = max(0.0, at_s - window_s / 2) * 1000, (at_s + window_s / 2) * 1000
    return curve.within(from_ms, to_ms) / ((to_ms - from_ms) / 1000)


def _levels(steps: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """From steps up and down to the level after each."""
    return list(zip((at_ms for at_ms, _ in steps), accumulate(step for _, step in steps), strict=True))


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
