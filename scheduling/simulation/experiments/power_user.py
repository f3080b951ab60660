"""Part 2: a power user fills the line, and everybody else stands behind."""

from __future__ import annotations

from collections.abc import Sequence

from scheduling.simulation.experiments import flood, words
from scheduling.simulation.experiments.experiment import Experiment, Finding, Table
from scheduling.simulation.experiments.trial import Size, Trial
from scheduling.simulation.scenario import UNLIMITED, Scenario

ALONE = "alone"
ENGINE = "beside a power user, all in the engine"
GATEWAY = "beside a power user, fifo in the gateway"


def _trials(size: Size, seed: int) -> Sequence[Trial]:
    flooded = flood.flooded(size, seed)
    return [
        Trial(ALONE, Scenario(flood.alone(size, seed), "fifo", UNLIMITED)),
        Trial(ENGINE, Scenario(flooded, "fifo", UNLIMITED)),
        Trial(GATEWAY, Scenario(flooded, "fifo")),
    ]


def _find(table: Table) -> Finding:
    alone = table.text(ALONE, "p99")
    inside, before = (words.Factor.of(table, label, "factor") for label in (ENGINE, GATEWAY))
    moved = words.moved(
        "Beside a power user the quiet tenant's p99 time to the first token",
        alone,
        table.text(ENGINE, "p99"),
        inside,
    )
    same = f"in one line in front of the engine it is {table.text(GATEWAY, 'p99')} ({before.text} times)"
    harm = min(inside.value, before.value) >= words.NOTABLE
    end = "whoever keeps the line, first come first served lets one user block the others"
    return Finding(f"{moved}; {same}{f': {end}' if harm else ''}.", harm)


POWER_USER = Experiment(
    name="power-user",
    part="2",
    title="A power user blocks the others",
    question="What does a tenant that asks for little see beside one that asks for twice what there is?",
    console="/queues/",
    trials=_trials,
    rows=flood.quiet_rows,
    columns=flood.QUIET_COLUMNS,
    bars=flood.QUIET_BARS,
    find=_find,
    samples=flood.quiet_samples,
)
