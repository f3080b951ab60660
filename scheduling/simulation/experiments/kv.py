"""Part 5.1: reserve KV memory before a request is sent, where memory runs out before seats do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scheduling.simulation.engine.request import BLOCK_SIZE
from scheduling.simulation.experiments import figures, flood, words
from scheduling.simulation.experiments.experiment import Bars, Column, Experiment, Finding, Row, Table
from scheduling.simulation.experiments.traffic import Crowd, quiet, workload
from scheduling.simulation.experiments.trial import Observation, Size, Trial
from scheduling.simulation.scenario import Scenario, Workload

NONE = "no reservation"
MOST = "reserve up to 90 %"
ALL = "reserve up to 100 %"
WRITER = "writer"
FILLS = {NONE: 0, MOST: 90, ALL: 100}
TIMES_LONGER = 3  # answers of the writer: most of its memory is taken after its first token
SEATS_FILLED = 0.4  # of the engine's seats, when its memory is full
ASKS = 1.5  # times what the engine would serve with memory enough: it is always behind


def _trials(size: Size, seed: int) -> Sequence[Trial]:
    tight = _tight(size, seed)
    return [
        Trial(label, Scenario(tight, reads_engines=True, kv_fill_percent=percent))
        for label, percent in FILLS.items()
    ]


def _tight(size: Size, seed: int) -> Workload:
    """A quiet tenant, and one whose long answers fill the engine's memory."""
    prompt, completion = size.prompt_tokens, TIMES_LONGER * size.completion_tokens
    writer = Crowd(WRITER, ASKS * SEATS_FILLED * size.capacity_per_s(prompt, completion), prompt, completion)
    played = workload(size, seed, [quiet(size), writer], measured_from=flood.WARM)
    longest = max(one.prompt_tokens + one.completion_tokens for one in played.arrivals)
    tokens = max(longest, round(SEATS_FILLED * size.seats * (prompt + completion)))
    memory = -(-tokens // BLOCK_SIZE) * BLOCK_SIZE
    spec = replace(size.engine, kv_tokens=memory, max_model_len=min(size.engine.max_model_len, memory))
    return replace(played, engines=(spec,))


def _rows(observations: Sequence[Observation]) -> list[Row]:
    full = figures.tokens_per_s(observations[0])
    return [_row(seen, full) for seen in observations]


def _row(seen: Observation, full: float) -> Row:
    written = figures.tokens_per_s(seen)
    return Row(
        seen.trial.label,
        {
            "p50": figures.first_token_s(seen, flood.QUIET, 50),
            "p99": figures.first_token_s(seen, flood.QUIET, 99),
            "engine_queue": seen.inside.queue_max,
            "preemptions": seen.inside.preemptions,
            "written": written,
            "kept": words.ratio(written, full),
        },
    )


def _find(table: Table) -> Finding:
    fewer = words.ratio(table.value(NONE, "preemptions"), table.value(ALL, "preemptions")) >= words.NOTABLE
    sooner = words.ratio(table.value(NONE, "p99"), table.value(ALL, "p99")) >= words.NOTABLE
    kept = table.value(ALL, "kept") >= words.ENOUGH
    without = (
        f"Where memory runs out first, an engine without reservation throws running answers out "
        f"{table.text(NONE, 'preemptions')} times, and the quiet tenant's p99 time to the first token is "
        f"{table.text(NONE, 'p99')}"
    )
    whole = (
        f"reserving up to 100 % of it {'brings that down to' if fewer and sooner else 'leaves'} "
        f"{table.text(ALL, 'preemptions')} and {table.text(ALL, 'p99')} "
        f"{'with' if kept else 'but with only'} {table.text(ALL, 'kept')} of the throughput"
    )
    most = (
        f"up to 90 % it is {table.text(MOST, 'preemptions')} and {table.text(MOST, 'p99')} with "
        f"{table.text(MOST, 'kept')}"
    )
    return Finding(f"{without}; {whole}, {most}.", fewer and sooner)


KV = Experiment(
    name="kv",
    part="5.1",
    title="KV memory reserved before sending",
    question="What does it help to count the engine's memory, where it runs out before seats do?",
    console="/backends/",
    trials=_trials,
    rows=_rows,
    columns=(
        words.P50,
        words.P99,
        words.ENGINE_QUEUE,
        Column("preemptions", "preemptions", words.whole),
        words.WRITTEN,
        words.KEPT,
    ),
    bars=Bars("The quiet tenant's time to the first token", "p99", log=True),
    find=_find,
    least_live_seconds=6,  # the memory must fill up
    samples=flood.quiet_samples,
)
