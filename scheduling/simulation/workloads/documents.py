"""Prompts that begin alike: many questions about one document, as in Mooncake's synthetic trace."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from scheduling.simulation.scenario import PREFIX_TOKENS, Arrival, EngineSpec, Workload
from scheduling.simulation.workloads.generate import Pace, Spread, by_popularity, dice, workload
from scheduling.simulation.workloads.public import LONG_CONTEXT, TENANTS, WARM_UP_S, ZIPF

# Fitted to kvcache-ai/Mooncake (FAST 2025), synthetic: 3,993 requests at 3.91/s begin in 2,211 ways. 1,803 of
# them come once; the other 408 are documents, with 5.4 questions each, a median of 55 s apart.
ALONE = 0.45  # of all requests
QUESTIONS = 5.4  # on the mean, at least 2
GAP_S = 90.0  # on the mean, exponential
SHORT_ALONE = 0.55  # of those that come once: the others bring a long text too
SHORT, LONG = Spread(4.2, 0.9, 2_000), Spread(9.6, 0.4, LONG_CONTEXT // 2)
DOCUMENT, QUESTION = Spread(9.75, 0.9, 66_456), Spread(5.9, 0.6, 2_000)
ANSWER_ALONE, ANSWER = Spread(5.225, 1.127, 842), Spread(2.839, 1.445, 893)
BEFORE_S = 400.0  # the first documents came before the run: their later questions are in it
# Questions come so late that the GPU's own memory has long forgotten the document: behind it there is the
# host's, 512 GiB at 128 KiB a token.
ENGINE = EngineSpec(max_model_len=LONG_CONTEXT, prefix_cache=True, kv_tokens=4_000_000)
BLOCK_BITS = 20  # of a block's number: its place in the document; above them the document's number


def documents(seed: int, *, seconds: int = 300, requests_per_s: float = 3.91) -> Workload:
    """Questions about long documents from ten tenants, on four engines with a prefix cache."""
    rng = dice(seed)
    single = Pace(requests_per_s * ALONE, 0, seconds)
    opened = Pace(requests_per_s * (1 - ALONE) / QUESTIONS, -BEFORE_S, seconds)
    drawn = [_alone(rng, at_ms) for at_ms in single.times_ms(rng)]
    for number, at_ms in enumerate(opened.times_ms(rng), 1):
        drawn += (one for one in _about(rng, number, at_ms) if 0 <= one.at_ms < seconds * 1000)
    arrivals = by_popularity(rng, drawn, TENANTS, ZIPF)
    made = workload("documents", arrivals, min(WARM_UP_S, seconds // 4), seconds)
    return replace(made, engines=(ENGINE,) * 4)


def _alone(rng: random.Random, at_ms: int) -> Arrival:
    prompt = SHORT if rng.random() < SHORT_ALONE else LONG
    return Arrival(at_ms, "", prompt.draw(rng), ANSWER_ALONE.draw(rng))


def _about(rng: random.Random, number: int, at_ms: int) -> Iterator[Arrival]:
    """The questions about one document, which all begin with it."""
    tokens = DOCUMENT.draw(rng)
    prefixes = tuple((number << BLOCK_BITS) + place for place in range(tokens // PREFIX_TOKENS))
    asked_ms: float = at_ms
    more = 2
    while more:
        yield Arrival(round(asked_ms), "", tokens + QUESTION.draw(rng), ANSWER.draw(rng), prefixes=prefixes)
        asked_ms += 1000 * rng.expovariate(1 / GAP_S)
        more = max(more - 1, int(rng.random() < 1 - 1 / (QUESTIONS - 1)))
