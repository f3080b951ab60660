"""A trial in pretend time: seconds for hours, the same every time."""

from __future__ import annotations

from scheduling.simulation import simulate
from scheduling.simulation.experiments.trial import Observation, Trial, observe


def play(trial: Trial) -> Observation:
    """Play it to the last answer."""
    run = simulate.play(trial.scenario)
    lengths = [length for queue in run.engine_queues.values() for _, length in queue.changes]
    return observe(trial, run.served, run.ended_ms, max(lengths, default=0))
