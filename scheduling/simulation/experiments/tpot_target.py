"""Part 5: the time per output token as the signal, and other laws that look at latency or at nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scheduling.simulation.experiments import flood, words
from scheduling.simulation.experiments.experiment import Bars, Experiment, Finding, Row, Table
from scheduling.simulation.experiments.trial import Observation, Size, Trial
from scheduling.simulation.scenario import UNLIMITED, Scenario

NOTHING_HELD = "nothing held back"
TPOT = "time per output token under 150 ms"
WINDOW = "first-token window"
BOTH = "window and time per output token"
GRADIENT = "gradient of the time to the first token"
CAP_HALF = "static cap, half of the seats"
CAP = "static cap, as many as seats"
CAP_TWICE = "static cap, twice the seats"
TARGET_MS = 150  # article part 5


def _trials(size: Size, seed: int) -> Sequence[Trial]:
    flooded = flood.flooded(size, seed)
    window = Scenario(flooded, reads_engines=True)
    caps = {CAP_HALF: max(1, size.seats // 2), CAP: size.seats, CAP_TWICE: 2 * size.seats}
    return [
        Trial(NOTHING_HELD, Scenario(flooded, admission=UNLIMITED)),
        Trial(TPOT, Scenario(flood.capped(flooded, None), admission="tpot_target", tpot_target_ms=TARGET_MS)),
        Trial(GRADIENT, Scenario(flood.capped(flooded, None), admission="gradient", reads_engines=True)),
        *(
            Trial(label, Scenario(flood.capped(flooded, cap), admission="static_cap"))
            for label, cap in caps.items()
        ),
        Trial(WINDOW, window),
        Trial(BOTH, replace(window, tpot_target_ms=TARGET_MS)),
    ]


def _rows(observations: Sequence[Observation]) -> list[Row]:
    return flood.held_rows(observations, NOTHING_HELD)


def _find(table: Table) -> Finding:
    late = words.ratio(table.value(TPOT, "p99"), table.value(WINDOW, "p99")) >= words.NOTABLE
    cured = words.ratio(table.value(TPOT, "p99"), table.value(BOTH, "p99")) >= words.NOTABLE
    tpot = (
        f"Under a target of 150 ms per output token alone the engine's queue reaches "
        f"{table.text(TPOT, 'engine_queue')} {'while' if late else 'and'} tokens come every "
        f"{table.text(TPOT, 'per_token')}: the quiet tenant's p99 is {table.text(TPOT, 'p99')}, and "
        f"{table.text(BOTH, 'p99')} with the window beside it"
    )
    starved = table.value(GRADIENT, "kept") < words.ENOUGH
    gradient = (
        f"the gradient of latencies has {table.text(GRADIENT, 'p99')} at {'only ' if starved else ''}"
        f"{table.text(GRADIENT, 'kept')} of the throughput"
    )
    small = table.value(CAP_HALF, "kept") < words.STARVED
    large = words.ratio(table.value(CAP_TWICE, "p99"), table.value(CAP, "p99")) >= words.NOTABLE
    caps = (
        f"a static cap must be right: as many as seats gives {table.text(CAP, 'p99')}, twice as many "
        f"{table.text(CAP_TWICE, 'p99')}, half as many {table.text(CAP_HALF, 'kept')} of the throughput"
        if small and large
        else f"static caps of half, all and twice the seats give {table.text(CAP_HALF, 'p99')}, "
        f"{table.text(CAP, 'p99')} and {table.text(CAP_TWICE, 'p99')}"
    )
    return Finding(f"{tpot}; {gradient}; {caps}.", late and cured and small and large)


TPOT_TARGET = Experiment(
    name="tpot-target",
    part="5",
    title="The time per output token as the signal",
    question="Does a target for the time per output token keep the engine's queue short, and do other laws?",
    console="/backends/",
    trials=_trials,
    rows=_rows,
    columns=(
        words.P50,
        words.P99,
        words.PER_TOKEN,
        words.ENGINE_QUEUE,
        words.WRITTEN,
        words.KEPT,
    ),
    bars=Bars("The quiet tenant's time to the first token", "p99", log=True),
    find=_find,
    samples=flood.quiet_samples,
)
