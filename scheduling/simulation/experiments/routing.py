"""Part 5.1: which of several engines: dealt beforehand, sent at once, or pulled by the engine with room."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from scheduling.simulation.experiments import figures, words
from scheduling.simulation.experiments.experiment import Bars, Experiment, Finding, Row, Table
from scheduling.simulation.experiments.traffic import Crowd, workload
from scheduling.simulation.experiments.trial import Observation, Size, Trial
from scheduling.simulation.scenario import UNLIMITED, Scenario, Workload

CHAT = "chat"
EQUAL, UNEQUAL = "equal engines", "two at a quarter of the speed"
RANDOM, IN_TURN, PUSH, PULL = "dealt at random", "dealt in turn", "sent at once, least pending", "pulled"
RULES = (PULL, PUSH, IN_TURN, RANDOM)
SPEEDS = {EQUAL: (1.0, 1.0, 1.0, 1.0), UNEQUAL: (1.0, 1.0, 0.25, 0.25)}
ASKS = 0.75  # of what all engines serve together
WARM = 0.1


def _trials(size: Size, seed: int) -> Sequence[Trial]:
    trials = []
    for kind, speeds in SPEEDS.items():
        played = _workload(size, seed, speeds)
        dice = random.Random(f"{seed} dealt")  # noqa: S311 the same deal for the same seed, no secret
        count, engines = len(played.arrivals), len(speeds)
        sent = Scenario(played, admission=UNLIMITED, reads_engines=True)
        trials += [
            Trial(f"{kind}, {RANDOM}", sent, tuple(dice.randrange(engines) for _ in range(count))),
            Trial(f"{kind}, {IN_TURN}", sent, tuple(n % engines for n in range(count))),
            Trial(f"{kind}, {PUSH}", sent),
            Trial(f"{kind}, {PULL}", Scenario(played, reads_engines=True)),
        ]
    return trials


def _workload(size: Size, seed: int, speeds: Sequence[float]) -> Workload:
    """One tenant's everyday requests, for less than the engines serve together."""
    prompt, completion = size.prompt_tokens, size.completion_tokens
    per_s = ASKS * sum(speeds) * size.capacity_per_s(prompt, completion)
    played = workload(size, seed, [Crowd(CHAT, per_s, prompt, completion)], measured_from=WARM)
    engines = tuple(replace(size.engine, speed=speed * size.time_scale) for speed in speeds)
    return replace(played, engines=engines)


def _rows(observations: Sequence[Observation]) -> list[Row]:
    return [
        Row(
            seen.trial.label,
            {
                "p50": figures.first_token_s(seen, CHAT, 50),
                "p99": figures.first_token_s(seen, CHAT, 99),
                "engine_queue": seen.inside.queue_max,
                "written": figures.tokens_per_s(seen),
            },
        )
        for seen in observations
    ]


def _find(table: Table) -> Finding:
    equal, unequal = ({rule: table.value(f"{kind}, {rule}", "p99") for rule in RULES} for kind in SPEEDS)
    as_good = words.ratio(equal[PULL], equal[IN_TURN]) < words.NOTABLE
    better = all(words.ratio(unequal[rule], unequal[PULL]) >= words.NOTABLE for rule in (RANDOM, IN_TURN))
    end = "pulling is not better here"
    if as_good and better:
        end = "who has room takes the next, and speeds need not be known"
    sentence = (
        f"With equal engines the p99 time to the first token is {_told(table, EQUAL)}; with two of them at a "
        f"quarter of the speed it is {_told(table, UNEQUAL)}: {end}."
    )
    return Finding(sentence, as_good and better)


def _told(table: Table, kind: str) -> str:
    pulled, pushed, in_turn, at_random = (table.text(f"{kind}, {rule}", "p99") for rule in RULES)
    return (
        f"{pulled} pulled by the engine with room, {pushed} sent at once to the one with least pending, "
        f"{in_turn} dealt in turn and {at_random} dealt at random"
    )


ROUTING = Experiment(
    name="routing",
    part="5.1",
    title="Which engine takes the next request",
    question="What is the wait for a first token worth, by who decides where a request goes?",
    console="/backends/",
    trials=_trials,
    rows=_rows,
    columns=(words.P50, words.P99, words.ENGINE_QUEUE, words.WRITTEN),
    bars=Bars("Time to the first token", "p99", log=True),
    find=_find,
    engines="four engines",
)
