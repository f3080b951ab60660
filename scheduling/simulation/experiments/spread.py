"""Experiments in pretend time on all cores: each seed of each experiment is a job of its own."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

from scheduling.simulation.experiments import pretend
from scheduling.simulation.experiments.conduct import Round, conduct, heading, play_round, report
from scheduling.simulation.experiments.experiment import Experiment, Report
from scheduling.simulation.experiments.registry import EXPERIMENTS
from scheduling.simulation.experiments.trial import Size


def conduct_all(
    experiments: Sequence[Experiment],
    size: Size,
    seeds: Sequence[int],
    tell: Callable[[str], None],
    processes: int,
) -> Iterator[Report]:
    """Their reports, in order, with so many processes at work; 1 plays all in this one."""
    if processes == 1:
        for each in experiments:
            yield conduct(each, size, seeds, pretend.play, tell)
        return
    with ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_leave_ctrl_c_to_the_parent
    ) as pool:
        jobs = {
            each.name: [pool.submit(_round, each.name, size, seed) for seed in seeds] for each in experiments
        }
        try:
            for each in experiments:
                yield report(each, size, [_told(each, job, tell) for job in jobs[each.name]])
        finally:
            pool.shutdown(cancel_futures=True)


def _round(name: str, size: Size, seed: int) -> Round:
    return play_round(EXPERIMENTS[name], size, seed, pretend.play, _say_nothing)


def _told(experiment: Experiment, job: Future[Round], tell: Callable[[str], None]) -> Round:
    played = job.result()
    for label in played.labels:
        tell(heading(experiment, played.seed, label))
    return played


def _say_nothing(_line: str) -> None:
    """The parent tells of the trials, in their order."""


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
