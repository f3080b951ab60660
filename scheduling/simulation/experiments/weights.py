"""Part 3.1: shares follow weights, and a changed weight acts on those who wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scheduling.simulation.experiments import figures, words
from scheduling.simulation.experiments.experiment import (
    Bars,
    Column,
    Curves,
    Experiment,
    Finding,
    Row,
    Table,
)
from scheduling.simulation.experiments.traffic import Crowd, workload
from scheduling.simulation.experiments.trial import Observation, Size, Trial
from scheduling.simulation.scenario import Scenario, WeightChange
from scheduling.simulation.service import CONVERGED

TENANTS = ("a", "b", "c", "d")
BEFORE: Mapping[str, int] = {"a": 1, "b": 2, "c": 3, "d": 4}
PROMOTED, NEW_WEIGHT = "a", 6
AFTER: Mapping[str, int] = {**BEFORE, PROMOTED: NEW_WEIGHT}
ALL = "all"
EACH_ASKS = 0.6  # of what the engine serves: each more than it is due, before and after
WARM = 0.2  # of the trial, until all have a queue
CHANGED = 0.5  # of the trial, when the weight changes
WINDOWS = 9  # a trial has so many windows in which a share is looked at: 10 s of 90


def _trials(size: Size, seed: int) -> Sequence[Trial]:
    prompt, completion = size.prompt_tokens // 2, size.completion_tokens // 2
    per_s = EACH_ASKS * size.capacity_per_s(prompt, completion)
    crowds = [Crowd(tenant, per_s, prompt, completion) for tenant in TENANTS]
    played = workload(size, seed, crowds, measured_from=WARM, weights=BEFORE)
    at_ms = round(CHANGED * size.seconds * 1000)
    change = WeightChange(at_ms, PROMOTED, NEW_WEIGHT)
    return [Trial("weights", Scenario(replace(played, weight_changes=(change,))))]


def _rows(observations: Sequence[Observation]) -> list[Row]:
    (seen,) = observations
    played = seen.trial.workload
    (change,) = played.weight_changes
    window_ms = played.to_ms // WINDOWS
    spans = {
        "before": (BEFORE, (played.from_ms, change.at_ms)),
        "after": (AFTER, (change.at_ms + window_ms, played.to_ms)),
    }
    cells: dict[str, dict[str, float | None]] = {tenant: {} for tenant in (*TENANTS, ALL)}
    for when, (weights, span) in spans.items():
        got = figures.shares(seen, span)
        for tenant in TENANTS:
            cells[tenant][f"weight_{when}"] = weights[tenant]
            cells[tenant][f"due_{when}"] = weights[tenant] / sum(weights.values())
            cells[tenant][f"share_{when}"] = got.get(tenant, 0.0)
        cells[ALL][f"jain_{when}"] = figures.evenness(seen, weights, span)
    due = {tenant: weight / sum(AFTER.values()) for tenant, weight in AFTER.items()}
    cells[ALL]["window"] = window_ms / 1000
    cells[ALL]["arrived"] = figures.arrived_s(seen, due, change.at_ms, window_ms)
    return [Row(label, values) for label, values in cells.items()]


def _curves(observations: Sequence[Observation]) -> Curves:
    (seen,) = observations
    marks = [
        (change.at_ms / 1000, f"{change.tenant}: weight {change.weight}")
        for change in seen.trial.workload.weight_changes
    ]
    course = figures.course(seen, 3 * WINDOWS)
    return Curves("Shares of tokens over time", "seconds", "% of cost tokens", course, marks)


def _find(table: Table) -> Finding:
    furthest = max(
        abs(table.value(tenant, f"share_{when}") - table.value(tenant, f"due_{when}"))
        for tenant in TENANTS
        for when in ("before", "after")
    )
    follows = furthest <= CONVERGED
    shares = " : ".join(table.text(tenant, "share_before") for tenant in TENANTS)
    weights = " : ".join(table.text(tenant, "weight_before") for tenant in TENANTS)
    changed = (
        f"when tenant {PROMOTED}'s weight becomes {table.text(PROMOTED, 'weight_after')}, "
        f"its share goes from {table.text(PROMOTED, 'share_before')} to "
        f"{table.text(PROMOTED, 'share_after')} (due {table.text(PROMOTED, 'due_after')})"
    )
    arrives = table.has(ALL, "arrived")
    speed = (
        f"all have their new shares {table.text(ALL, 'arrived')} after that (looked at over "
        f"{table.text(ALL, 'window')})"
        if arrives
        else "not all reach their new shares in the time looked at"
    )
    verb = "share" if follows else "do not share as they should, but"
    sentence = f"Weights {weights} {verb} {shares} of the tokens; {changed}, and {speed}."
    return Finding(sentence, follows and arrives)


WEIGHTS = Experiment(
    name="weights",
    part="3.1",
    title="Weights that act",
    question="Do shares follow the weights, and how soon does a changed weight act on those who wait?",
    console="/tenants/",
    trials=_trials,
    rows=_rows,
    columns=(
        Column("weight_before", "weight", words.whole),
        Column("due_before", "due", words.share),
        Column("share_before", "share", words.share),
        Column("weight_after", "new weight", words.whole),
        Column("due_after", "due then", words.share),
        Column("share_after", "share then", words.share),
        Column("jain_before", "Jain", words.index),
        Column("jain_after", "Jain then", words.index),
        Column("arrived", "new shares after", words.seconds),
        Column("window", "looked at over", words.seconds),
    ),
    bars=Bars("Shares after the change", "share_after"),
    curves=_curves,
    find=_find,
    least_live_seconds=8,  # a share is looked at over a ninth of it
)
