"""Part 5.1: answers whose headers tell the engine's load, against readings of its metrics alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scheduling.simulation.experiments import figures, flood, words
from scheduling.simulation.experiments.experiment import Bars, Column, Experiment, Finding, Row, Table
from scheduling.simulation.experiments.trial import Observation, Size, Trial
from scheduling.simulation.scenario import Scenario, Workload

FULL = "whole answers, as many as seats at once"
POLLED = "whole answers, polled"
SELDOM = "whole answers, polled seldom"
HEADERS = "whole answers, polled and told in headers"
SELDOM_HEADERS = "whole answers, polled seldom and told in headers"


LEAST_SEATS = 32  # with fewer, two readings fill the engine whatever is told


def _trials(size: Size, seed: int) -> Sequence[Trial]:
    _, usual_ms, seldom_ms = size.polls_ms
    whole = _whole(flood.flooded(_roomy(size), seed))
    told = replace(whole, engines=tuple(replace(spec, sends_headers=True) for spec in whole.engines))
    return [
        Trial(FULL, Scenario(whole, admission="static_cap", read_every_ms=usual_ms)),
        Trial(POLLED, Scenario(whole, read_every_ms=usual_ms)),
        Trial(SELDOM, Scenario(whole, read_every_ms=seldom_ms)),
        Trial(HEADERS, Scenario(told, read_every_ms=usual_ms)),
        Trial(SELDOM_HEADERS, Scenario(told, read_every_ms=seldom_ms)),
    ]


def _roomy(size: Size) -> Size:
    """More seats and longer answers: nobody carries their tokens one by one, so a laptop can do it."""
    times = max(1, LEAST_SEATS // size.seats)
    return replace(size, seats=times * size.seats, completion_tokens=times * size.completion_tokens)


def _whole(workload: Workload) -> Workload:
    """The same requests, asked for without streaming: nothing is heard of them before their end."""
    return replace(workload, arrivals=tuple(replace(one, streams=False) for one in workload.arrivals))


def _rows(observations: Sequence[Observation]) -> list[Row]:
    full = figures.tokens_per_s(observations[0])
    return [_row(seen, full) for seen in observations]


def _row(seen: Observation, full: float) -> Row:
    written = figures.tokens_per_s(seen)
    return Row(
        seen.trial.label,
        {
            "polled": seen.trial.scenario.read_every_ms / 1000,
            "p50": figures.answer_s(seen, flood.QUIET, 50),
            "p99": figures.answer_s(seen, flood.QUIET, 99),
            "engine_queue": seen.inside.queue_max,
            "written": written,
            "kept": words.ratio(written, full),
        },
    )


def _find(table: Table) -> Finding:
    gained = table.value(SELDOM_HEADERS, "kept") - table.value(SELDOM, "kept")
    helps = gained >= words.GAIN
    late = table.value(SELDOM, "kept") < words.STARVED
    polls = (
        "Of answers that come whole only readings tell how many still wait in the engine: read every "
        f"{table.text(POLLED, 'polled')} it keeps {table.text(POLLED, 'kept')} of what its seats can do, "
        f"{'but only' if late else 'and'} {table.text(SELDOM, 'kept')} read every "
        f"{table.text(SELDOM, 'polled')}"
    )
    headers = (
        f"with the load told in each answer's headers {'it is' if helps else 'it is no more than'} "
        f"{table.text(SELDOM_HEADERS, 'kept')}, the engine's queue no longer than "
        f"{table.text(SELDOM_HEADERS, 'engine_queue')} and the quiet tenant's p99 time to its answer "
        f"{table.text(SELDOM_HEADERS, 'p99')} where it was {table.text(SELDOM, 'p99')}"
    )
    return Finding(f"{polls}; {headers}.", helps)


HEADERS_TELL = Experiment(
    name="headers",
    part="5.1",
    title="Headers that tell the engine's load",
    question="Do readings in the answers' headers replace fast polls, when answers do not stream?",
    console="/backends/",
    trials=_trials,
    rows=_rows,
    columns=(
        words.POLLED,
        Column("p50", "answer p50", words.seconds),
        Column("p99", "answer p99", words.seconds),
        words.ENGINE_QUEUE,
        words.WRITTEN,
        Column("kept", "throughput kept", words.share),
    ),
    bars=Bars("Of what the seats can do", "kept"),
    find=_find,
)
