"""Part 5.1: send a conversation where its beginning is in the cache already, within a slack."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from scheduling.simulation.experiments import figures, words
from scheduling.simulation.experiments.experiment import Bars, Column, Experiment, Finding, Row, Table
from scheduling.simulation.experiments.trial import Observation, Size, Trial
from scheduling.simulation.scenario import Arrival, EngineSpec, Scenario, Workload

OFF = "no affinity"
NEVER = "affinity, to no engine with more pending"
ONE = "affinity, up to one more pending"
FOUR = "affinity, up to four more pending"
SLACK = {OFF: None, NEVER: 0, ONE: 1, FOUR: 4}
CHAT = "chat"
ENGINES = 4
BLOCK_TOKENS = 512  # of the prefix hashes, as in Mooncake's traces (FAST 2025)
SYSTEM_BLOCKS = 2  # the beginning that all conversations have
TURNS = 8  # of a conversation, each with one block more than the last
TAIL_TOKENS = 64  # of each prompt, new to everybody
TURNS_A_TRIAL = 16  # of one conversation, if it went on: 5.6 s between two turns of a trial of 90 s
ASKS = 0.9  # times what the engines would serve if they had no caches
WARM = 0.3  # of a trial, until the first conversations have had all their turns
MEMORIES = 48  # prompts of the mean length that an engine's memory holds


def _trials(size: Size, seed: int) -> Sequence[Trial]:
    chats = _conversations(size, seed)
    return [
        Trial(label, Scenario(chats, reads_engines=True, prefix_slack_requests=slack))
        for label, slack in SLACK.items()
    ]


def _conversations(size: Size, seed: int) -> Workload:
    """Conversations that begin by chance; each turn's prompt is all that was said before, and some more."""
    dice = random.Random(f"{seed} {CHAT}")  # noqa: S311 the same arrivals for the same seed, no secret
    mean_tokens = TAIL_TOKENS + BLOCK_TOKENS * (SYSTEM_BLOCKS + (TURNS - 1) // 2)
    turns_per_s = ASKS * ENGINES * size.capacity_per_s(mean_tokens, size.completion_tokens)
    arrivals = sorted(_turns(dice, size, turns_per_s / TURNS), key=_time_of)
    memory = MEMORIES * mean_tokens
    spec = EngineSpec(
        size.profile,
        size.seats,
        size.time_scale,
        kv_tokens=memory,
        max_in_flight=size.seats,
        prefix_cache=True,
    )
    return Workload(
        name="conversations",
        arrivals=tuple(arrivals),
        from_ms=round(WARM * size.seconds * 1000),
        to_ms=size.seconds * 1000,
        engines=(spec,) * ENGINES,
    )


def _turns(dice: random.Random, size: Size, begun_per_s: float) -> Iterator[Arrival]:
    # Some began before the trial, so that it sees as many late turns as early ones.
    at_s = -TURNS * size.seconds / TURNS_A_TRIAL
    conversation = 0
    while (at_s := at_s + dice.expovariate(begun_per_s)) < size.seconds:
        conversation += 1
        turn_s = at_s
        for turn in range(TURNS):
            if 0 <= turn_s < size.seconds:
                yield _turn(size, conversation, turn, turn_s)
            turn_s += dice.expovariate(TURNS_A_TRIAL / size.seconds)


def _turn(size: Size, conversation: int, turn: int, at_s: float) -> Arrival:
    system = range(1, SYSTEM_BLOCKS + 1)
    said = (conversation * 1000 + block for block in range(turn))
    prefixes = (*system, *said)
    return Arrival(
        round(at_s * 1000),
        CHAT,
        BLOCK_TOKENS * len(prefixes) + TAIL_TOKENS,
        size.completion_tokens,
        max_tokens=size.completion_tokens,
        prefixes=prefixes,
    )


def _rows(observations: Sequence[Observation]) -> list[Row]:
    return [_row(seen) for seen in observations]


def _row(seen: Observation) -> Row:
    prompts = sum(one.arrival.prompt_tokens for one in seen.served if one.first_token_ms is not None)
    return Row(
        seen.trial.label,
        {
            "slack": seen.trial.scenario.prefix_slack_requests,
            "cached": seen.inside.cached_tokens / prompts if prompts else 0.0,
            "p50": figures.first_token_s(seen, CHAT, 50),
            "p99": figures.first_token_s(seen, CHAT, 99),
            "engine_queue": seen.inside.queue_max,
            "written": figures.tokens_per_s(seen),
        },
    )


def _find(table: Table) -> Finding:
    with_slack = [label for label, slack in SLACK.items() if slack is not None]
    best = min(with_slack, key=lambda label: table.value(label, "p99"))
    found = table.value(best, "cached") - table.value(OFF, "cached") >= words.GAIN
    sooner = words.ratio(table.value(OFF, "p99"), table.value(best, "p99")) >= words.NOTABLE
    cached = ", ".join(table.text(label, "cached") for label in with_slack)
    hits = (
        "Sent to whichever engine has least to begin, conversations find "
        f"{table.text(OFF, 'cached')} of their prompts in a cache; sent first where their beginning is known "
        f"{'they find' if found else 'only'} "
        f"{cached} with a slack of {', '.join(str(SLACK[label]) for label in with_slack)}"
    )
    p99 = (
        f"the p99 time to the first token {'falls' if sooner else 'goes'} from {table.text(OFF, 'p99')} to "
        f"{table.text(best, 'p99')} with {best.removeprefix('affinity, ')}"
    )
    return Finding(f"{hits}: {p99}.", found and sooner)


def _time_of(arrival: Arrival) -> int:
    return arrival.at_ms


PREFIX = Experiment(
    name="prefix",
    part="5.1",
    title="Conversations go where their beginning is cached",
    question="How much of the prompts is found in caches, and what is it worth, by how far affinity may go?",
    console="/backends/",
    trials=_trials,
    rows=_rows,
    columns=(
        Column("slack", "slack", words.whole),
        Column("cached", "prompt tokens from a cache", words.share),
        words.P50,
        words.P99,
        words.ENGINE_QUEUE,
        words.WRITTEN,
    ),
    bars=Bars("Prompt tokens found in a cache", "cached"),
    find=_find,
    engines=f"{ENGINES} engines with prefix caches",
)
