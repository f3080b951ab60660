"""Part 3.1: interactive before batch, as strict bands, with seats kept free."""

from __future__ import annotations

from collections.abc import Sequence

from scheduling.core.policy import ClassRule
from scheduling.simulation.experiments import flood, words
from scheduling.simulation.experiments.experiment import Bars, Column, Experiment, Finding, Row, Table
from scheduling.simulation.experiments.trial import Observation, Size, Trial
from scheduling.simulation.scenario import Scenario

ALONE = "alone"
NO_CLASSES = f"beside {flood.BATCH_TENANTS} batch tenants, no classes"
BANDS = "the same, interactive before batch"
RESERVED = "the same, and seats kept free"
ONE_SEAT_IN = 32  # of an engine's seats, one is kept free for interactive requests


def _trials(size: Size, seed: int) -> Sequence[Trial]:
    crowded = flood.crowded(size, seed)
    kept = max(1, size.seats // ONE_SEAT_IN)
    return [
        Trial(ALONE, Scenario(flood.alone(size, seed))),
        Trial(NO_CLASSES, Scenario(crowded)),
        Trial(BANDS, Scenario(crowded, classes=_bands(0))),
        Trial(RESERVED, Scenario(crowded, classes=_bands(kept))),
    ]


def _bands(kept: int) -> dict[str, ClassRule]:
    first = ClassRule(flood.INTERACTIVE, rank=0, reserved_seats=kept)
    return {rule.name: rule for rule in (first, ClassRule(flood.BATCH, rank=1))}


def _rows(observations: Sequence[Observation]) -> list[Row]:
    rows = flood.quiet_rows(observations)
    full = rows[1].values["written"] or 0.0
    return [
        Row(
            row.label,
            {**row.values, "kept": None if n == 0 else words.ratio(row.values["written"] or 0.0, full)},
        )
        for n, row in enumerate(rows)
    ]


def _find(table: Table) -> Finding:
    factor = {label: words.Factor.of(table, label, "factor") for label in (NO_CLASSES, BANDS, RESERVED)}
    better = factor[RESERVED].value < factor[BANDS].value < factor[NO_CLASSES].value
    sentence = (
        "Beside a flood of batch requests the interactive tenant's p99 time to the first token is "
        f"{factor[NO_CLASSES].text} times what it is alone without classes, {factor[BANDS].text} times with "
        f"interactive before batch, and {factor[RESERVED].text} times with seats kept free, at "
        f"{table.text(RESERVED, 'kept')} of the throughput: "
        f"{'each step brings it nearer to being alone' if better else 'not every step helps here'}."
    )
    return Finding(sentence, better)


CLASSES = Experiment(
    name="classes",
    part="3.1",
    title="Interactive before batch",
    question="How near to being alone can an interactive tenant come beside a flood of batch requests?",
    console="/queues/",
    trials=_trials,
    rows=_rows,
    columns=(
        words.REQUESTS,
        words.P50,
        words.P99,
        words.FACTOR,
        words.WRITTEN,
        Column("kept", "throughput kept", words.share),
    ),
    bars=Bars("The interactive tenant's time to the first token", "p99", log=True),
    find=_find,
    samples=flood.quiet_samples,
)
