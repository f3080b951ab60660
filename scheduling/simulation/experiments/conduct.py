"""Runs an experiment: every trial for every seed, then table, plot and sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from scheduling.simulation.experiments.experiment import Experiment, Report, Table, middle
from scheduling.simulation.experiments.trial import Observation, Play, Size


def conduct(
    experiment: Experiment,
    size: Size,
    seeds: Sequence[int],
    play: Play,
    tell: Callable[[str], None],
    *,
    live: bool = False,
) -> Report:
    """The experiment's report. ``tell`` hears of each trial before it is played.

    Where requests failed, nothing is shown: their times say nothing about waiting.
    """
    first: list[Observation] = []
    by_seed = {}
    failed = 0
    for seed in seeds:
        seen = []
        for trial in experiment.trials(size, seed):
            tell(f"{experiment.name}, seed {seed}: {trial.label}")
            seen.append(play(trial))
        by_seed[seed] = tuple(experiment.rows(seen))
        failed += sum(each.failed for each in seen)
        first = first or seen
    table = Table(experiment.columns, middle(list(by_seed.values())))
    finding = experiment.find(table)
    return Report(
        experiment=experiment,
        table=table,
        finding=replace(finding, shown=finding.shown and not failed),
        seeds=tuple(seeds),
        size=size,
        live=live,
        curves=experiment.curves(first) if experiment.curves else None,
        samples=experiment.samples(first) if experiment.samples else None,
        by_seed=by_seed,
        failed=failed,
    )
