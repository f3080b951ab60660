"""What Fairlane wants to reach, and whether one run reached it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.outcome import DIRECT, Outcome, median

OURS = "fairlane"
FEW = 3  # turns: fewer have no middle
AI_GATEWAYS = ("vllm-router", "sglang-router", "tensorzero", "portkey", "litellm")

CHUNK = "cpu_us_chunk"

Measure = Callable[[Outcome], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Bar:
    """One aim. ``measure`` finds the figure in each turn; none: this run cannot say."""

    text: str
    measure: Measure
    limit: float
    at_least: bool  # else at most
    unit: str = ""

    def holds(self, found: float) -> bool:
        """Whether the figure is on the right side of the limit."""
        return found >= self.limit if self.at_least else found <= self.limit


def speed(scenario: str, of: str, to: str, figure: str = "cpu_us") -> Measure:
    """How many times faster: the other one's CPU time by ours, which is the ratio on one full core."""
    return lambda outcome: outcome.ratios(scenario, to, of, figure)


def cost(scenario: str, of: str, to: str, figure: str = "cpu_us") -> Measure:
    """How many times the other one's figure."""
    return lambda outcome: outcome.ratios(scenario, of, to, figure)


def ours(scenario: str, figure: str) -> Measure:
    """The figure itself. What was not measured is zero, and says nothing."""
    return lambda outcome: [each for each in outcome.values(scenario, OURS, figure) if each]


def best_ai_gateway(outcome: Outcome) -> Sequence[float]:
    """Chunks back to back, beside the fastest of the other gateways for language models."""
    found = [outcome.ratios("sse0_64", name, OURS, CHUNK) for name in AI_GATEWAYS]
    return min(filter(None, found), key=statistics.median, default=())


def carried(outcome: Outcome) -> Sequence[float]:
    """The part of the chunks that arrived, of those that arrive without a gateway."""
    return outcome.ratios("sse50_3000", OURS, DIRECT, "chunks_s")


def four_times_the_prompt(outcome: Outcome) -> Sequence[float]:
    """CPU time of 1.6 MB beside 400 KB: 4 if every byte costs the same, 16 if copies are quadratic."""
    long, short = (outcome.values(name, OURS, "cpu_us") for name in ("plain1600k", "plain400k"))
    return [a / b for a, b in zip(long, short, strict=False)] if all(long) and all(short) else ()


def added_first_token(outcome: Outcome) -> Sequence[float]:
    """To the first token's arrival, beside no gateway at all."""
    return outcome.differences("sse@100", OURS, "first_token_p50_ms")


def least(text: str, limit: float, measure: Measure, unit: str = "x") -> Bar:
    """A bar to be at or above."""
    return Bar(text, measure, limit, at_least=True, unit=unit)


def most(text: str, limit: float, measure: Measure, unit: str = "x") -> Bar:
    """A bar to be at or below."""
    return Bar(text, measure, limit, at_least=False, unit=unit)


PLAIN = "requests per CPU second, plain64, beside"
BARS: Sequence[Bar] = (
    least(f"{PLAIN} Envoy", 0.8, speed("plain64", OURS, "envoy")),
    least(f"{PLAIN} vllm-router", 1, speed("plain64", OURS, "vllm-router")),
    least(f"{PLAIN} sglang-router", 1, speed("plain64", OURS, "sglang-router")),
    least(f"{PLAIN} LiteLLM", 100, speed("plain64", OURS, "litellm")),
    most("CPU time per request, plain64", 65, ours("plain64", "cpu_us"), "µs"),
    least("chunks per CPU second, sse0_64, beside nginx", 0.9, speed("sse0_64", OURS, "nginx", CHUNK)),
    least("the same beside the best AI gateway", 2, best_ai_gateway),
    most("CPU time per chunk, sse10_100, beside nginx", 1.3, cost("sse10_100", OURS, "nginx", CHUNK)),
    most("CPU time per chunk, sse50_1500, beside nginx", 1.8, cost("sse50_1500", OURS, "nginx", CHUNK)),
    most("added time to the first token, p50, sse@100", 0.5, added_first_token, "ms"),
    most("memory per live stream, idle1000", 48, ours("idle1000", "kib_per_stream"), "KiB"),
    least("chunks carried of 3,000 streams at 20 tokens/s", 0.95, carried),
    most("CPU time of four times the prompt (1.6 MB, 400 KB)", 5, four_times_the_prompt),
    most("CPU time with 56 of 64 in the queue, beside none", 1.05, cost("capped", "fairlane-narrow", OURS)),
    least(
        "req per CPU second, records in PostgreSQL or not",
        0.85,
        speed("records", OURS, "fairlane-no-records"),
    ),
    most("CPU time with 10,000 tenants, beside 16", 1.05, cost("tenants10k", "fairlane-10k", OURS)),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bar in one run: by the median of its turns, of which half lie in ``middle``."""

    bar: Bar
    found: float | None
    middle: tuple[float, float] | None  # None: too few turns

    @property
    def word(self) -> str:
        """met, missed, or not measured."""
        if self.found is None:
            return "not measured"
        return "met" if self.bar.holds(self.found) else "missed"


def judge(outcome: Outcome) -> list[Verdict]:
    """All bars."""
    return [_judged(bar, bar.measure(outcome)) for bar in BARS]


def _judged(bar: Bar, turns: Sequence[float]) -> Verdict:
    if len(turns) < FEW:
        return Verdict(bar, median(turns), None)
    lower, _, upper = statistics.quantiles(turns, n=4, method="inclusive")
    return Verdict(bar, median(turns), (lower, upper))
