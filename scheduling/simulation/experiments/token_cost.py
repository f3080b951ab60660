"""Part 3.1: a turn is counted in tokens, not in requests."""

from __future__ import annotations

from collections.abc import Sequence

from scheduling.simulation.experiments import sizes, words
from scheduling.simulation.experiments.experiment import Bars, Column, Experiment, Finding, Row, Table
from scheduling.simulation.experiments.trial import Observation, Size, Trial
from scheduling.simulation.scenario import Scenario

BY_REQUESTS = "round robin: a turn is a request"
BY_TOKENS = "token fair: a turn is what it costs"


def _trials(size: Size, seed: int) -> Sequence[Trial]:
    unequal = sizes.unequal(size, seed)
    return [
        Trial(BY_REQUESTS, Scenario(unequal, "round_robin")),
        Trial(BY_TOKENS, Scenario(unequal, "token_fair")),
    ]


def _rows(observations: Sequence[Observation]) -> list[Row]:
    return [sizes.share_row(seen) for seen in observations]


def _find(table: Table) -> Finding:
    jain = {label: table.value(label, "jain") for label in (BY_REQUESTS, BY_TOKENS)}
    gap = {label: table.value(label, "gap") for label in (BY_REQUESTS, BY_TOKENS)}
    better = jain[BY_TOKENS] > jain[BY_REQUESTS] and gap[BY_TOKENS] < gap[BY_REQUESTS]
    sentence = (
        f"Of two tenants that ask for too much, the one with requests {sizes.TIMES_LONGER} times longer gets "
        f"{_told(table, BY_REQUESTS)} where each turn is a request, and {_told(table, BY_TOKENS)} where "
        f"tokens are counted: counting tokens {'is fairer' if better else 'is not fairer here'}."
    )
    return Finding(sentence, better)


def _told(table: Table, label: str) -> str:
    share, jain, gap = (table.text(label, key) for key in ("long", "jain", "gap"))
    return f"{share} of the tokens (Jain {jain}, widest gap {gap} cost tokens)"


TOKEN_COST = Experiment(
    name="token-cost",
    part="3.1",
    title="Requests cost what they cost",
    question="Who is served more, when one tenant's requests are much longer than the other's?",
    console="/policies/",
    trials=_trials,
    rows=_rows,
    columns=(
        Column("short", "share of the shorter one", words.share),
        Column("long", "share of the longer one", words.share),
        words.JAIN,
        Column("gap", "widest gap, cost tokens", words.whole),
        words.WRITTEN,
    ),
    bars=Bars("The longer one's share of the tokens", "long"),
    find=_find,
)
