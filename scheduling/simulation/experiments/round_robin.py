"""Part 3: one queue per user and model in front of the engine, served in turn; and where that fails."""

from __future__ import annotations

from collections.abc import Sequence

from scheduling.simulation.experiments import flood, sizes, words
from scheduling.simulation.experiments.experiment import Column, Experiment, Finding, Row, Table
from scheduling.simulation.experiments.trial import Observation, Size, Trial
from scheduling.simulation.scenario import Scenario

ALONE = "alone"
FIFO = "beside a power user, fifo"
IN_TURN = "beside a power user, round robin"
EQUAL = "two who ask too much, requests of one size"
UNEQUAL = f"two who ask too much, one's {sizes.TIMES_LONGER} times longer"
HALF = 0.5
OFF = 0.05  # a share further from a half than this is not called even


def _trials(size: Size, seed: int) -> Sequence[Trial]:
    flooded = flood.flooded(size, seed)
    return [
        Trial(ALONE, Scenario(flood.alone(size, seed), "round_robin")),
        Trial(FIFO, Scenario(flooded, "fifo")),
        Trial(IN_TURN, Scenario(flooded, "round_robin")),
        Trial(EQUAL, Scenario(sizes.equal(size, seed), "round_robin")),
        Trial(UNEQUAL, Scenario(sizes.unequal(size, seed), "round_robin")),
    ]


def _rows(observations: Sequence[Observation]) -> list[Row]:
    return [*flood.quiet_rows(observations[:3]), *map(sizes.share_row, observations[3:])]


def _samples(observations: Sequence[Observation]) -> dict[str, list[float]]:
    return flood.quiet_samples(observations[:3])


def _find(table: Table) -> Finding:
    factors = {label: words.Factor.of(table, label, "factor") for label in (FIFO, IN_TURN)}
    cured = words.ratio(factors[FIFO].value, factors[IN_TURN].value) >= words.NOTABLE
    queues = (
        f"A queue per user, served in turn, {'brings' if cured else 'does not bring'} the quiet tenant's "
        f"p99 time to the first token down from {table.text(FIFO, 'p99')} to {table.text(IN_TURN, 'p99')}"
        f" (alone {table.text(ALONE, 'p99')})"
    )
    uneven = abs(table.value(UNEQUAL, "long") - HALF) > OFF
    even = abs(table.value(EQUAL, "long") - HALF) <= OFF
    turns = f"{'yet' if uneven else 'and'} who sends longer requests gets {table.text(UNEQUAL, 'long')}"
    same = f"{'where' if uneven else 'as'} requests of one size give {table.text(EQUAL, 'long')}"
    return Finding(f"{queues}; {turns} of the tokens {same}.", cured and even and uneven)


ROUND_ROBIN = Experiment(
    name="round-robin",
    part="3",
    title="A queue per user, served in turn",
    question="Does a turn for each user protect the quiet tenant, and is a turn a fair share?",
    console="/queues/",
    trials=_trials,
    rows=_rows,
    columns=(
        words.P50,
        words.P99,
        words.FACTOR,
        Column("long", "share of the longer one", words.share),
        words.JAIN,
        words.WRITTEN,
    ),
    bars=flood.QUIET_BARS,
    find=_find,
    samples=_samples,
)
