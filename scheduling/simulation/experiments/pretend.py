"""A trial in pretend time: seconds for hours, the same every time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import accumulate
from operator import attrgetter

from scheduling.simulation import simulate
from scheduling.simulation.experiments.figures import GONE
from scheduling.simulation.experiments.trial import Inside, Observation, Trial, observe
from scheduling.simulation.record import Run, Served
from scheduling.simulation.scenario import Scenario


def play(trial: Trial) -> Observation:
    """Play it to the last answer."""
    runs = [simulate.play(scenario) for scenario in _parts(trial)]
    served = sorted((one for run in runs for one in run.served), key=attrgetter("arrival.at_ms"))
    ended_ms = max(run.ended_ms for run in runs)
    return observe(trial, served, ended_ms, _inside(runs, served, ended_ms))


def _parts(trial: Trial) -> Iterator[Scenario]:
    """The scenario; or one for each engine, when requests are dealt to them beforehand."""
    if not trial.dealt:
        yield trial.scenario
        return
    dealt = list(zip(trial.dealt, trial.workload.arrivals, strict=True))
    for place, spec in enumerate(trial.workload.engines):
        mine = tuple(arrival for at, arrival in dealt if at == place)
        yield replace(trial.scenario, workload=replace(trial.workload, arrivals=mine, engines=(spec,)))


def _inside(runs: Iterable[Run], served: Iterable[Served], ended_ms: float) -> Inside:
    queues = [queue for run in runs for queue in run.engine_queues.values()]
    return Inside(
        queue_max=max((length for queue in queues for _, length in queue.changes), default=0),
        held_max=_held_max(served, ended_ms),
        preemptions=sum(run.preemptions for run in runs),
        cached_tokens=sum(run.cached_tokens for run in runs),
        aborted=sum(
            one.outcome in GONE and one.seated_ms is not None and one.first_token_ms is None for one in served
        ),
    )


def _held_max(served: Iterable[Served], ended_ms: float) -> int:
    changes = [
        change
        for one in served
        if one.seated_ms is not None
        for change in ((one.seated_ms, 1), (ended_ms if one.ended_ms is None else one.ended_ms, -1))
    ]
    return max(accumulate(step for _, step in sorted(changes)), default=0)
