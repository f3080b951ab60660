"""Runs an experiment: every trial for every seed, then table, plot and sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from scheduling.simulation.experiments.experiment import Curves, Experiment, Report, Row, Table, middle
from scheduling.simulation.experiments.trial import Play, Size


@dataclass(frozen=True, slots=True)
class Round:
    """What one seed gave: the rows, what is drawn, which trials were played, and how many requests failed."""

    seed: int
    rows: tuple[Row, ...]
    curves: Curves | None
    samples: Mapping[str, Sequence[float]] | None
    labels: tuple[str, ...]
    failed: int


def conduct(
    experiment: Experiment,
    size: Size,
    seeds: Sequence[int],
    play: Play,
    tell: Callable[[str], None],
    *,
    live: bool = False,
) -> Report:
    """The experiment's report. ``tell`` hears of each trial before it is played."""
    rounds = [play_round(experiment, size, seed, play, tell, live=live) for seed in seeds]
    return report(experiment, size, rounds, live=live)


def play_round(
    experiment: Experiment,
    size: Size,
    seed: int,
    play: Play,
    tell: Callable[[str], None],
    *,
    live: bool = False,
) -> Round:
    """Every trial once."""
    seen = []
    for trial in experiment.played(size, seed, live=live):
        tell(heading(experiment, seed, trial.label))
        seen.append(play(trial))
    return Round(
        seed=seed,
        rows=tuple(experiment.rows(seen)),
        curves=experiment.curves(seen) if experiment.curves else None,
        samples=experiment.samples(seen) if experiment.samples else None,
        labels=tuple(each.trial.label for each in seen),
        failed=sum(each.failed for each in seen),
    )


def report(experiment: Experiment, size: Size, rounds: Sequence[Round], *, live: bool = False) -> Report:
    """The report on these rounds.

    Where requests failed, nothing is shown: their times say nothing about waiting.
    """
    table = Table(experiment.columns, middle([each.rows for each in rounds]))
    finding = experiment.find(table)
    failed = sum(each.failed for each in rounds)
    left_out = experiment.left_out(size, rounds[0].seed) if live else {}
    return Report(
        experiment=experiment,
        table=table,
        finding=replace(finding, shown=finding.shown and not failed),
        seeds=tuple(each.seed for each in rounds),
        size=size,
        live=live,
        curves=rounds[0].curves,
        samples=rounds[0].samples,
        by_seed={each.seed: each.rows for each in rounds},
        failed=failed,
        left_out=left_out,
    )


def heading(experiment: Experiment, seed: int, label: str) -> str:
    """What a person is told of one trial."""
    return f"{experiment.name}, seed {seed}: {label}"
