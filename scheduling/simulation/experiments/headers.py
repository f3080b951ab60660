"""Part 5.1: answers whose headers tell the engine's load, against readings of its metrics alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scheduling.simulation.experiments import figures, flood, words
from scheduling.simulation.experiments.experiment import Bars, Column, Experiment, Finding, Row, Table
from scheduling.simulation.experiments.trial import Observation, Size, Trial
from scheduling.simulation.scenario import Scenario, Workload

FULL = "whole answers, as many as seats at once"
LITERAL = "the literal rule, polled seldom"
LITERAL_TOLD = "the literal rule, and told in headers"
COUNTED = "counting what was sent, polled seldom"
COUNTED_TOLD = "counting what was sent, and told in headers"
WINDOW = "first-token window, polled seldom"

LEAST_SEATS = 32  # with fewer, two readings fill the engine whatever is told


def _trials(size: Size, seed: int) -> Sequence[Trial]:
    every_ms = size.polls_ms[2]
    whole = _whole(flood.capped(flood.flooded(_roomy(size), seed), None))  # its seats are not known
    told = replace(whole, engines=tuple(replace(spec, sends_headers=True) for spec in whole.engines))
    return [
        Trial(FULL, Scenario(whole, admission="static_cap", read_every_ms=every_ms)),
        Trial(LITERAL, Scenario(whole, admission="queue_target", read_every_ms=every_ms)),
        Trial(LITERAL_TOLD, Scenario(told, admission="queue_target", read_every_ms=every_ms)),
        Trial(COUNTED, _counted(whole, every_ms)),
        Trial(COUNTED_TOLD, _counted(told, every_ms)),
        Trial(WINDOW, Scenario(whole, read_every_ms=every_ms)),
    ]


def _counted(workload: Workload, every_ms: int) -> Scenario:
    return Scenario(workload, admission="queue_target", counts_sent=True, read_every_ms=every_ms)


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
    helps = table.value(COUNTED_TOLD, "kept") - table.value(COUNTED, "kept") >= words.GAIN
    shorter = words.ratio(table.value(LITERAL, "engine_queue"), table.value(LITERAL_TOLD, "engine_queue"))
    polled, told = (table.text(label, "engine_queue") for label in (LITERAL, LITERAL_TOLD))
    every = table.text(LITERAL, "polled")
    herd = (
        f"Polled every {every}, the literal rule lets {polled} wait in the engine, and "
        f"{'only ' if shorter >= words.NOTABLE else ''}{told} with the load told in each answer's headers"
    )
    counted = (
        f"counting what was sent keeps {table.text(COUNTED, 'kept')} of what the seats can do, and "
        f"{'' if helps else 'no more than '}{table.text(COUNTED_TOLD, 'kept')} with headers"
    )
    kept, waits = table.text(WINDOW, "kept"), table.text(WINDOW, "engine_queue")
    window = f"the window on first tokens has {kept} and {waits} waiting without either"
    return Finding(f"{herd}; {counted}; {window}.", helps)


HEADERS_TELL = Experiment(
    name="headers",
    part="5.1",
    title="Headers that tell the engine's load",
    question="What do readings in the answers' headers give a rule that goes by the engine's queue?",
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
