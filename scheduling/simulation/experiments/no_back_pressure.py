"""Part 4: an engine takes whatever it is sent, so an order made before it is lost inside it."""

from __future__ import annotations

from collections.abc import Sequence

from scheduling.simulation.experiments import flood, words
from scheduling.simulation.experiments.experiment import Experiment, Finding, Table
from scheduling.simulation.experiments.trial import Size, Trial
from scheduling.simulation.scenario import UNLIMITED, Scenario

ALONE = "alone"
FIFO = "beside a power user, fifo, nothing held back"
FAIR = "the same, token fair, nothing held back"
HELD = "the same, token fair, three may wait inside"


def _trials(size: Size, seed: int) -> Sequence[Trial]:
    flooded = flood.flooded(size, seed)
    return [
        Trial(ALONE, Scenario(flood.alone(size, seed))),
        Trial(FIFO, Scenario(flooded, "fifo", UNLIMITED)),
        Trial(FAIR, Scenario(flooded, "token_fair", UNLIMITED)),
        Trial(HELD, Scenario(flooded, "token_fair")),
    ]


def _find(table: Table) -> Finding:
    factor = {label: words.Factor.of(table, label, "factor") for label in (FIFO, FAIR, HELD)}
    lost = words.ratio(factor[FIFO].value, factor[FAIR].value) < words.NOTABLE
    held = words.ratio(factor[FAIR].value, factor[HELD].value) >= words.NOTABLE
    inside = (
        "In front of an engine that takes all it is sent, a fair queue "
        f"{'changes nothing' if lost else 'helps'}: {table.text(FAIR, 'engine_queue')} requests wait inside, "
        f"and the quiet tenant's p99 time to the first token is {table.text(FAIR, 'p99')} where fifo gives "
        f"{table.text(FIFO, 'p99')}"
    )
    before = (
        f"with no more than {table.text(HELD, 'engine_queue')} waiting inside it "
        f"{'falls to' if held else 'is'} {table.text(HELD, 'p99')}"
    )
    return Finding(f"{inside}; {before}.", lost and held)


NO_BACK_PRESSURE = Experiment(
    name="no-back-pressure",
    part="4",
    title="The engine's own queue has no back-pressure",
    question="Does a fair queue help in front of an engine that takes everything at once?",
    console="/backends/",
    trials=_trials,
    rows=flood.quiet_rows,
    columns=flood.QUIET_COLUMNS,
    bars=flood.QUIET_BARS,
    find=_find,
    samples=flood.quiet_samples,
)
