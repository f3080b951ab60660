"""Parts 6 and 6.1: our order as the engine's own priority, and whether it can replace the gateway's queue."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from scheduling.simulation.experiments import figures, flood, words
from scheduling.simulation.experiments.experiment import Bars, Column, Experiment, Finding, Row, Table
from scheduling.simulation.experiments.traffic import Crowd, power, workload
from scheduling.simulation.experiments.trial import Observation, Size, Trial
from scheduling.simulation.scenario import UNLIMITED, Scenario, WeightChange, Workload

BARE = "fifo engine, nothing held back"
ALONE = "engine priority alone"
GATEWAY = "gateway's queue alone"
BOTH = "gateway's queue and engine priority"
STEADY, RAISED = "steady", "raised"
NEW_WEIGHT = 3
DUE = {STEADY: 0.25, RAISED: 0.75}
CHANGED = 0.5  # of the trial, when the weight changes
WINDOWS = 9  # a trial has so many windows in which a share is looked at: 10 s of 90
NO_QUOTAS: Mapping[str, int] = MappingProxyType({})
PATIENCE = 1 / 3  # of a trial: within it a client of the third trial leaves


@dataclass(frozen=True, slots=True)
class Design:
    """Who orders requests. An engine keeps no quota: one holds only where requests are held."""

    label: str
    fairness: str = "token_fair"
    admission: str = "first_token_window"
    engine_priority: str = "off"
    holds: bool = True


DESIGNS = (
    Design(BARE, "fifo", UNLIMITED, holds=False),
    Design(ALONE, engine_priority="alone", holds=False),
    Design(GATEWAY),
    Design(BOTH, engine_priority="with_window"),
)


def _trials(size: Size, seed: int) -> Sequence[Trial]:
    quotas = {flood.POWER: _quota(size)}
    return [
        trial
        for design in DESIGNS
        for trial in (
            Trial(f"{design.label}, beside a power user", _scenario(design, flood.flooded(size, seed))),
            Trial(f"{design.label}, a new weight", _scenario(design, _reweighted(size, seed))),
            Trial(
                f"{design.label}, clients leave",
                replace(
                    _scenario(design, _leaving(size, seed)),
                    in_flight_quotas=quotas if design.holds else NO_QUOTAS,
                ),
            ),
        )
    ]


def _scenario(design: Design, played: Workload) -> Scenario:
    policy = "fcfs" if design.engine_priority == "off" else "priority"
    engines = tuple(replace(spec, scheduling_policy=policy) for spec in played.engines)
    return Scenario(
        replace(played, engines=engines),
        design.fairness,
        design.admission,
        engine_priority=design.engine_priority,
    )


def _reweighted(size: Size, seed: int) -> Workload:
    """Two tenants that each ask for all there is; in the middle one gets three times the weight."""
    prompt, completion = size.prompt_tokens, size.completion_tokens
    per_s = size.capacity_per_s(prompt, completion)
    crowds = [Crowd(tenant, per_s, prompt, completion) for tenant in (STEADY, RAISED)]
    played = workload(size, seed, crowds, measured_from=flood.WARM, weights=dict.fromkeys(DUE, 1))
    at_ms = round(CHANGED * size.seconds * 1000)
    return replace(played, weight_changes=(WeightChange(at_ms, RAISED, NEW_WEIGHT),))


def _leaving(size: Size, seed: int) -> Workload:
    """A power user alone, whose clients leave at some time within a third of the trial."""
    played = workload(size, seed, [power(size, flood.TIMES)], measured_from=flood.WARM)
    dice = random.Random(f"{seed} patience")  # noqa: S311 the same arrivals for the same seed, no secret
    most_ms = PATIENCE * size.seconds * 1000
    arrivals = (replace(one, leaves_after_ms=1 + round(dice.random() * most_ms)) for one in played.arrivals)
    return replace(played, arrivals=tuple(arrivals))


def _quota(size: Size) -> int:
    return max(1, size.seats // 2)


def _rows(observations: Sequence[Observation]) -> list[Row]:
    return [
        _row(design, observations[3 * n : 3 * n + 3])  # its trials
        for n, design in enumerate(DESIGNS)
    ]


def _row(design: Design, seen: Sequence[Observation]) -> Row:
    beside, reweighted, leaving = seen
    played = reweighted.trial.workload
    at_ms = played.weight_changes[0].at_ms
    left = figures.left_waiting(leaving)
    return Row(
        design.label,
        {
            "p99": figures.first_token_s(beside, flood.QUIET, 99),
            "engine_queue": beside.inside.queue_max,
            "written": figures.tokens_per_s(beside),
            "raised": figures.shares(reweighted, (at_ms, played.to_ms)).get(RAISED, 0.0),
            "arrived": figures.arrived_s(reweighted, DUE, at_ms, played.to_ms // WINDOWS),
            "reached": leaving.inside.aborted / left if left else 0.0,
            "quota": next(iter(leaving.trial.scenario.in_flight_quotas.values()), None),
            "held": leaving.inside.held_max,
        },
    )


def _find(table: Table) -> Finding:
    isolates = words.ratio(table.value(BARE, "p99"), table.value(ALONE, "p99")) >= words.NOTABLE
    beside = (
        f"Engine priority alone {'shields' if isolates else 'does not shield'} the quiet tenant (p99 "
        f"{table.text(ALONE, 'p99')} where a fifo engine gives {table.text(BARE, 'p99')}, the gateway's "
        f"queue {table.text(GATEWAY, 'p99')} and both {table.text(BOTH, 'p99')})"
    )
    frozen = not table.has(ALONE, "arrived")
    moves = table.has(GATEWAY, "arrived")
    weight = (
        f"a raised weight acts on those who wait "
        f"{_after(table, GATEWAY)} in the gateway's queue and {_after(table, ALONE)} in the engine's"
    )
    late = table.value(ALONE, "reached") - table.value(GATEWAY, "reached") >= words.GAIN
    cancelled = (
        f"of the requests cancelled while they waited {table.text(ALONE, 'reached')} were in the engine "
        f"({table.text(GATEWAY, 'reached')} with the gateway's queue)"
    )
    over = table.value(ALONE, "held") > table.value(GATEWAY, "quota") >= table.value(GATEWAY, "held")
    quota = (
        f"it held {table.text(ALONE, 'held')} requests at once of a tenant whose quota the gateway "
        f"{'keeps' if over else 'has'} at {table.text(GATEWAY, 'quota')}"
    )
    partly = isolates and frozen and moves and late and over
    end = "it can take the place of isolation alone" if partly else "this does not tell them apart"
    return Finding(f"{beside}, but {weight}, {cancelled}, and {quota}: {end}.", partly)


def _after(table: Table, label: str) -> str:
    return f"after {table.text(label, 'arrived')}" if table.has(label, "arrived") else "never"


ENGINE_PRIORITY = Experiment(
    name="engine-priority",
    part="6, 6.1",
    title="Engine priority, and what it cannot replace",
    question="Can the engine's own priority replace the gateway's queue?",
    console="/queues/",
    trials=_trials,
    rows=_rows,
    columns=(
        words.P99,
        words.ENGINE_QUEUE,
        words.WRITTEN,
        Column("raised", "share at weight 3 of 4", words.share),
        Column("arrived", "new shares after", words.seconds),
        Column("reached", "cancelled inside the engine", words.share),
        Column("quota", "quota in flight", words.whole),
        Column("held", "held at once", words.whole),
    ),
    bars=Bars("The quiet tenant's time to the first token", "p99", log=True),
    find=_find,
)
