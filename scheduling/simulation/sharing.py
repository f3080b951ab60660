"""How evenly a run was shared, phase by phase between changes of weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf

from scheduling.core.outcome import Outcome
from scheduling.core.policy import DEFAULT_WEIGHT
from scheduling.core.usage import cost_of
from scheduling.simulation.record import Run, Served
from scheduling.simulation.results import Fairness
from scheduling.simulation.scenario import WeightChange, Workload
from scheduling.simulation.service import (
    Curve,
    Interval,
    backlogs,
    both,
    convergence_s,
    jain,
    widest_gap,
    worst_jain,
)


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which no weight changed."""

    from_ms: float
    to_ms: float
    weights: Mapping[str, int]


class Sharing:
    """The service of a run's tenants, held against their weights."""

    def __init__(self, run: Run, service: Mapping[str, Curve]) -> None:
        self._run = run
        self._service = service
        self._workload = run.scenario.workload
        self._waited = backlogs(run.served, run.ended_ms)
        self._phases = list(_phases(run.scenario.workload, service))

    def weight(self, tenant: str) -> int:
        """In the end."""
        return self._phases[-1].weights[tenant]

    def got(self) -> dict[str, float]:
        """Each tenant's service in the measured time, in cost tokens."""
        workload = self._workload
        return {name: curve.within(workload.from_ms, workload.to_ms) for name, curve in self._service.items()}

    def entitled(self) -> dict[str, float]:
        """The max-min fair part of what was served in the measured time, given what each asked for."""
        fair: dict[str, float] = dict.fromkeys(self._service, 0.0)
        for phase in self._phases:
            from_ms = max(phase.from_ms, self._workload.from_ms)
            to_ms = min(phase.to_ms, self._workload.to_ms)
            if from_ms < to_ms:
                served = sum(curve.within(from_ms, to_ms) for curve in self._service.values())
                for name, tokens in max_min(self._demand(from_ms, to_ms), phase.weights, served).items():
                    fair[name] += tokens
        return fair

    def figures(self) -> Fairness:
        """All that is said about fairness."""
        got, entitled = self.got(), self.entitled()
        gap: tuple[float, tuple[str, str] | None] = (0.0, None)
        worst: float | None = None
        for phase in self._phases:
            waited = self._waited_in(phase)
            gap = max(gap, widest_gap(self._service, phase.weights, waited), key=_tokens_of)
            index = worst_jain(self._service, phase.weights, waited)
            worst = worst if index is None else min(index, 1.0 if worst is None else worst)
        return Fairness(
            jain=jain([got[name] / entitled[name] for name in got if entitled[name]]),
            jain_min_30s=worst,
            gap_tokens=gap[0],
            gap_between=gap[1],
            convergence_s=tuple(map(self._convergence_s, self._phases[1:])),
        )

    def _demand(self, from_ms: float, to_ms: float) -> dict[str, float]:
        """What each could have got between two times: all it asked for by the end, less what it had before.

        A client that left early asked for no more than it got.
        """
        asked = {name: -curve.at(from_ms) for name, curve in self._service.items()}
        for one in self._run.served:
            if one.arrival.at_ms < to_ms:
                asked[one.arrival.tenant] += _wanted(one)
        return {name: max(0.0, tokens) for name, tokens in asked.items()}

    def _waited_in(self, phase: Phase) -> dict[str, list[Interval]]:
        within = [(phase.from_ms, phase.to_ms)]
        return {name: spans for name, each in self._waited.items() if (spans := both(each, within))}

    def _convergence_s(self, phase: Phase) -> float | None:
        """Its target is the share by weight of the tenants that wait when it begins."""
        at_ms = phase.from_ms
        names = [
            name for name, spans in self._waited.items() if any(begin <= at_ms < end for begin, end in spans)
        ]
        total = sum(phase.weights[name] for name in names)
        target = {name: phase.weights[name] / total for name in names}
        until_ms = min(phase.to_ms, self._run.ended_ms)
        return convergence_s(self._service, target, at_ms, until_ms) if target else None


def max_min(demand: Mapping[str, float], weights: Mapping[str, int], capacity: float) -> dict[str, float]:
    """Weighted max-min fair amounts: nobody gets more than asked, the rest is shared by weight."""
    shares: dict[str, float] = {}
    left = float(capacity)
    open_weight = sum(weights[name] for name in demand)
    for name in sorted(demand, key=lambda name: (demand[name] / weights[name], name)):
        shares[name] = min(demand[name], left * weights[name] / open_weight)
        left -= shares[name]
        open_weight -= weights[name]
    return shares


def _phases(workload: Workload, tenants: Iterable[str]) -> Iterator[Phase]:
    weights = {name: workload.weights.get(name, DEFAULT_WEIGHT) for name in tenants}
    from_ms = 0.0
    for change in sorted(workload.weight_changes, key=_time_of):
        yield Phase(from_ms, change.at_ms, weights)
        weights, from_ms = {**weights, change.tenant: change.weight}, float(change.at_ms)
    yield Phase(from_ms, inf, weights)


def _wanted(one: Served) -> int:
    arrival = one.arrival
    if arrival.leaves_after_ms is not None and one.outcome is not Outcome.OK:
        return one.cost_tokens
    return cost_of(arrival.prompt_tokens, arrival.completion_tokens)


def _time_of(change: WeightChange) -> int:
    return change.at_ms


def _tokens_of(gap: tuple[float, tuple[str, str] | None]) -> float:
    return gap[0]
