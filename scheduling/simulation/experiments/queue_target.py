"""Part 5: keep the engine's own queue near three, by the article's rule and by a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from scheduling.simulation.experiments import flood, words
from scheduling.simulation.experiments.experiment import Bars, Experiment, Finding, Row, Table
from scheduling.simulation.experiments.trial import Observation, Size, Trial
from scheduling.simulation.scenario import UNLIMITED, Scenario, Span

NOTHING_HELD = "nothing held back"
OFTEN = "send while fewer than three wait, polled often"
LITERAL = "send while fewer than three wait"
SELDOM = "send while fewer than three wait, polled seldom"
COUNTED = "the same, counting what was sent since"
WINDOW = "first-token window"
WINDOW_SELDOM = "first-token window, polled seldom"
BLIND = "first-token window, metrics lost"
HERDS = (OFTEN, LITERAL, SELDOM)
WINDOWS = (WINDOW, WINDOW_SELDOM, BLIND)
LOST = 0.25  # of the trial, after which no metrics are to be had
# In the sentence, so that each law is named in a word.
SHORT: Mapping[str, str] = MappingProxyType(
    {WINDOW: "polled every", WINDOW_SELDOM: "every", BLIND: "without metrics"}
)


def _trials(size: Size, seed: int) -> Sequence[Trial]:
    often_ms, usual_ms, seldom_ms = size.polls_ms
    flooded = flood.capped(flood.flooded(size, seed), None)  # how many it runs at once is not known
    end_ms = flooded.to_ms
    blind = replace(flooded, blackouts=(Span(round(LOST * end_ms), 10 * end_ms),))
    literal = Scenario(flooded, admission="queue_target", reads_engines=True)
    window = Scenario(flooded, reads_engines=True)
    return [
        Trial(NOTHING_HELD, Scenario(flooded, admission=UNLIMITED)),
        Trial(OFTEN, replace(literal, read_every_ms=often_ms)),
        Trial(LITERAL, replace(literal, read_every_ms=usual_ms)),
        Trial(SELDOM, replace(literal, read_every_ms=seldom_ms)),
        Trial(COUNTED, replace(literal, read_every_ms=usual_ms, counts_sent=True)),
        Trial(WINDOW, replace(window, read_every_ms=usual_ms)),
        Trial(WINDOW_SELDOM, replace(window, read_every_ms=seldom_ms)),
        Trial(BLIND, replace(window, read_every_ms=usual_ms, workload=blind)),
    ]


def _rows(observations: Sequence[Observation]) -> list[Row]:
    return flood.held_rows(observations, NOTHING_HELD)


def _find(table: Table) -> Finding:
    herd, herd_text = _herd(table)
    starved = table.value(COUNTED, "kept") < words.STARVED
    counting = (
        f"counting what was sent keeps it at {table.text(COUNTED, 'engine_queue')} and "
        f"{'starves the engine, at' if starved else 'keeps'} {table.text(COUNTED, 'kept')} of the throughput"
    )
    held, held_text = _windows(table)
    return Finding(f"{herd_text}; {counting}; {held_text}.", herd and starved and held)


def _herd(table: Table) -> tuple[bool, str]:
    """Whether every poll of the literal rule lets a herd through, in words."""
    worst_window = max(table.value(label, "p99") for label in WINDOWS)
    played = [label for label in HERDS if table.has(label, "p99")]
    herd = all(words.ratio(table.value(label, "p99"), worst_window) >= words.NOTABLE for label in played)
    times = ", ".join(
        f"{table.text(label, 'p99')} polled every {table.text(label, 'polled')}" for label in played
    )
    deepest = max(played, key=lambda label: table.value(label, "engine_queue"))
    said = (
        "To send while the last reading shows fewer than three waiting "
        f"{'lets a herd through between two polls' if herd else 'is enough here'}: the engine's queue "
        f"reaches {table.text(deepest, 'engine_queue')}, the quiet tenant's p99 is {times}"
    )
    return herd, said


def _windows(table: Table) -> tuple[bool, str]:
    """Whether the window keeps the throughput however it is polled, in words."""
    least = min(WINDOWS, key=lambda label: table.value(label, "kept"))
    full = table.value(least, "kept") >= words.ENOUGH
    polled = {label: "" if label == BLIND else f" {table.text(label, 'polled')}" for label in WINDOWS}
    polls = [f"{table.text(label, 'p99')} {SHORT[label]}{polled[label]}" for label in WINDOWS]
    said = (
        f"a window on first tokens gives {', '.join(polls[:-1])} and {polls[-1]}, "
        f"{'with' if full else 'but with only'} {table.text(least, 'kept')} of the throughput"
    )
    return full, said


QUEUE_TARGET = Experiment(
    name="queue-target",
    part="5",
    title="The engine's queue near three",
    question="Which rule keeps the engine's own queue short without starving it, however it is polled?",
    console="/backends/",
    trials=_trials,
    rows=_rows,
    columns=(words.POLLED, words.P50, words.P99, words.ENGINE_QUEUE, words.WRITTEN, words.KEPT),
    bars=Bars("The quiet tenant's time to the first token", "p99", log=True),
    find=_find,
    samples=flood.quiet_samples,
)
