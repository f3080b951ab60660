"""Part 1: one engine alone: its batching, its two phases, and its queue."""

from __future__ import annotations

from collections.abc import Sequence

from scheduling.simulation.experiments import figures, words
from scheduling.simulation.experiments.experiment import Bars, Column, Experiment, Finding, Row, Table
from scheduling.simulation.experiments.traffic import burst
from scheduling.simulation.experiments.trial import Observation, Size, Trial
from scheduling.simulation.scenario import UNLIMITED, Scenario

CLIENT = "client"
PREFILL = "one long prompt, one token"
ONE, SOME, FULL, TWICE, FOUR_TIMES = (
    "one request",
    "an eighth of its seats",
    "as many as it has seats",
    "twice as many",
    "four times as many",
)
LONG_PROMPT = 8  # times the usual one


def _trials(size: Size, seed: int) -> Sequence[Trial]:
    del seed  # nothing here is left to chance
    prompt, completion = size.prompt_tokens, size.completion_tokens
    counts = {
        ONE: 1,
        SOME: max(2, size.seats // 8),
        FULL: size.seats,
        TWICE: 2 * size.seats,
        FOUR_TIMES: 4 * size.seats,
    }
    played = {PREFILL: burst(size, 1, LONG_PROMPT * prompt, 1)} | {
        label: burst(size, count, prompt, completion) for label, count in counts.items()
    }
    return [Trial(label, Scenario(workload, "fifo", UNLIMITED)) for label, workload in played.items()]


def _rows(observations: Sequence[Observation]) -> list[Row]:
    return [_prefill(observations[0]), *map(_row, observations[1:])]


def _prefill(seen: Observation) -> Row:
    first_s = figures.first_token_s(seen, CLIENT, 50)
    prompt = seen.served[0].arrival.prompt_tokens
    return Row(seen.trial.label, {"requests": 1, "p50": first_s, "p99": first_s, "read": prompt / first_s})


def _row(seen: Observation) -> Row:
    return Row(
        seen.trial.label,
        {
            "requests": len(seen.served),
            "p50": figures.first_token_s(seen, CLIENT, 50),
            "p99": figures.first_token_s(seen, CLIENT, 99),
            "per_token": figures.per_token_ms(seen, CLIENT),
            "written": figures.tokens_per_s(seen),
            "engine_queue": seen.inside.queue_max,
        },
    )


def _find(table: Table) -> Finding:
    grows = words.ratio(table.value(FULL, "written"), table.value(ONE, "written")) >= words.NOTABLE
    flat = words.ratio(table.value(FOUR_TIMES, "written"), table.value(FULL, "written")) < words.NOTABLE
    waits = words.ratio(table.value(FOUR_TIMES, "p99"), table.value(FULL, "p99")) >= words.NOTABLE
    alone = (
        f"One engine reads a prompt at {table.text(PREFILL, 'read')} tokens/s and writes to one client at "
        f"{table.text(ONE, 'written')}"
    )
    batch = (
        f"{table.text(FULL, 'requests')} at once {'raise' if grows else 'leave'} that "
        f"{'to' if grows else 'at'} {table.text(FULL, 'written')} in all, with "
        f"{table.text(FULL, 'per_token')} per token and client where it was {table.text(ONE, 'per_token')}"
    )
    queue = (
        f"{table.text(FOUR_TIMES, 'requests')} at once get {'hardly more' if flat else 'more'} "
        f"({table.text(FOUR_TIMES, 'written')}), "
        f"{'but wait' if waits else 'and do not wait longer'} in its own queue of up to "
        f"{table.text(FOUR_TIMES, 'engine_queue')}: p99 time to the first token "
        f"{table.text(FOUR_TIMES, 'p99')} where it was {table.text(FULL, 'p99')}"
    )
    return Finding(f"{alone}; {batch}; {queue}.", grows and flat and waits)


BARE_ENGINE = Experiment(
    name="bare-engine",
    part="1",
    title="A bare engine: worker, queue, scheduler",
    question="What does one engine do with one request, with many, and with more than it takes?",
    console="/backends/",
    trials=_trials,
    rows=_rows,
    columns=(
        words.REQUESTS,
        Column("read", "prompt tokens/s read", words.whole),
        words.WRITTEN,
        Column("per_token", "between tokens p50", words.milliseconds),
        words.P50,
        words.P99,
        words.ENGINE_QUEUE,
    ),
    bars=Bars("Tokens a second, all clients together", "written"),
    find=_find,
)
