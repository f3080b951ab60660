"""What Fairlane wants to reach, and whether one run reached it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.outcome import DIRECT, Outcome

OURS = "fairlane"
AI_GATEWAYS = ("vllm-router", "sglang-router", "tensorzero", "portkey", "litellm")

Measure = Callable[[Outcome], float | None]


@dataclass(frozen=True, slots=True)
class Bar:
    """One aim. ``measure`` finds the figure; None: this run cannot say."""

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

    def measure(outcome: Outcome) -> float | None:
        return outcome.ratio(scenario, to, of, figure)

    return measure


def cost(scenario: str, of: str, to: str, figure: str = "cpu_us") -> Measure:
    """How many times the other one's figure."""

    def measure(outcome: Outcome) -> float | None:
        return outcome.ratio(scenario, of, to, figure)

    return measure


def ours(scenario: str, figure: str) -> Measure:
    """The figure itself. What was not measured is zero, and says nothing."""

    def measure(outcome: Outcome) -> float | None:
        return outcome.median(scenario, OURS, figure) or None

    return measure


def best_ai_gateway(outcome: Outcome) -> float | None:
    """Chunks back to back, beside the fastest of the other gateways for language models."""
    ratios = [outcome.ratio("sse0_64", name, OURS, "cpu_us_chunk") for name in AI_GATEWAYS]
    return min((ratio for ratio in ratios if ratio), default=None)


def carried(outcome: Outcome) -> float | None:
    """The part of the chunks that arrived, of those that arrive without a gateway."""
    return outcome.ratio("sse50_3000", OURS, DIRECT, "chunks_s")


def four_times_the_prompt(outcome: Outcome) -> float | None:
    """CPU time of 1.6 MB beside 400 KB: 4 if every byte costs the same, 16 if copies are quadratic."""
    long, short = (outcome.median(name, OURS, "cpu_us") for name in ("plain1600k", "plain400k"))
    return long / short if long and short else None


def added_first_token(outcome: Outcome) -> float | None:
    """To the first token's arrival, beside no gateway at all."""
    return outcome.added("sse10_100", OURS, "first_token_p50_ms")


def least(text: str, limit: float, measure: Measure, unit: str = "x") -> Bar:
    """A bar to be at or above."""
    return Bar(text, measure, limit, at_least=True, unit=unit)


def most(text: str, limit: float, measure: Measure, unit: str = "x") -> Bar:
    """A bar to be at or below."""
    return Bar(text, measure, limit, at_least=False, unit=unit)


PLAIN = "requests per CPU second, plain64, beside"
CHUNK = "cpu_us_chunk"
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
    most("added time to the first token, p50, sse10_100", 0.5, added_first_token, "ms"),
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
    """One bar in one run."""

    bar: Bar
    found: float | None

    @property
    def word(self) -> str:
        """met, missed, or not measured."""
        if self.found is None:
            return "not measured"
        return "met" if self.bar.holds(self.found) else "missed"


def judge(outcome: Outcome) -> list[Verdict]:
    """All bars."""
    return [Verdict(bar, bar.measure(outcome)) for bar in BARS]
