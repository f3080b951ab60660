"""The shapes of public traces: lengths and arrivals drawn from fits, so that no trace has to be shipped.

Lognormal parameters, rates and coefficients of variation are fits to the
published files; the counts at which draws are cut are chosen so that the mean
comes near the file's, since a lognormal's tail is heavier. BurstGPT is not
here: the parameters of its Zipf and Gamma fits are not known to us.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from scheduling.simulation.scenario import EngineSpec, Workload
from scheduling.simulation.workloads.generate import (
    Pace,
    Spread,
    by_popularity,
    dice,
    lognormal,
    paced,
    workload,
)

TENANTS, ZIPF = 10, 1.0  # the traces do not tell whose a request is
LONG_CONTEXT = 131_072
WARM_UP_S = 20


@dataclass(frozen=True, slots=True)
class Trace:
    """What is known of a trace, and the engines that it is played on."""

    name: str
    about: str
    prompt: Spread
    completion: Spread
    requests_per_s: float
    cv: float = 1.0
    engines: tuple[EngineSpec, ...] = (EngineSpec(),)

    def workload(self, seed: int, seconds: int, requests_per_s: float) -> Workload:
        """Arrivals of this shape, from ten tenants by Zipf's law."""
        rng = dice(seed)
        lengths = lognormal(rng, self.prompt, self.completion)
        pace = Pace(requests_per_s or self.requests_per_s, 0, seconds, self.cv)
        arrivals = by_popularity(rng, paced(rng, "", pace, lengths), TENANTS, ZIPF)
        begun_s = min(WARM_UP_S, seconds // 4)
        return replace(workload(self.name, arrivals, begun_s, seconds), engines=self.engines)


TRACES = (
    # Azure/AzurePublicDataset, LLM inference trace 2023, conversation: 19,366 requests, 5.53/s, CV 1.09.
    Trace(
        "azure-conversation",
        "Azure's LLM inference trace of 2023, conversations",
        Spread(6.633, 0.985, 5_000),
        Spread(5.019, 0.859, 900),
        5.53,
        1.09,
    ),
    # The same, code: 8,819 requests, 2.57/s, CV 13.15; the fit's mean answer is 23 tokens, the file's 28.
    Trace(
        "azure-code",
        "Azure's LLM inference trace of 2023, code: it comes in bursts",
        Spread(6.999, 1.360, 7_436),
        Spread(2.788, 0.847, 251),
        2.57,
        13.15,
    ),
    # kvcache-ai/Mooncake (FAST 2025), conversation: 12,031 requests, 3.40/s. Arrivals assumed Poisson.
    Trace(
        "mooncake-conversation",
        "Mooncake's conversations: prompts of 12,000 tokens on the mean, four engines",
        Spread(8.737, 1.199, 85_400),
        Spread(5.336, 1.358, 1_119),
        3.40,
        engines=(EngineSpec(max_model_len=LONG_CONTEXT),) * 4,
    ),
    # The same, synthetic: 3,993 requests, 3.91/s. Arrivals assumed Poisson.
    Trace(
        "mooncake-synthetic",
        "Mooncake's synthetic trace: prompts of 15,000 tokens on the mean, five engines",
        Spread(7.982, 2.700, 66_456),
        Spread(3.916, 1.768, 768),
        3.91,
        engines=(EngineSpec(max_model_len=LONG_CONTEXT),) * 5,
    ),
    # arXiv summaries as in microsoft/vidur: 28,257 requests. The rate is assumed, and Poisson.
    Trace(
        "arxiv",
        "Summaries of arXiv papers: long prompts",
        Spread(7.717, 0.755, 5_000),
        Spread(5.187, 0.796, 3_000),
        4.0,
    ),
    # ShareGPT and Alpaca: the vLLM paper says prompts 8.4 times and answers 5.8 times longer in the first.
    # Means of 161 and 338 against 19 and 58 tokens, a sigma of 1 and the rates are assumed; Poisson.
    Trace(
        "sharegpt",
        "Shared chats: long prompts and answers",
        Spread(4.58, 1.0, 4_000),
        Spread(5.32, 1.0, 4_000),
        6.0,
    ),
    Trace(
        "alpaca",
        "Instructions: short prompts and answers",
        Spread(2.44, 1.0, 1_000),
        Spread(3.56, 1.0, 1_000),
        20.0,
    ),
)


def azure(seed: int, *, seconds: int = 120, requests_per_s: float = 10.0) -> Workload:
    """Lengths of Azure's conversations, ten tenants by Zipf's law, and faster than one engine serves."""
    return replace(TRACES[0].workload(seed, seconds, requests_per_s), name="azure")


def maker(trace: Trace) -> Callable[..., Workload]:
    """The trace's workload as a function of seed, seconds and rate."""

    def make(seed: int, *, seconds: int = 300, requests_per_s: float = trace.requests_per_s) -> Workload:
        return trace.workload(seed, seconds, requests_per_s)

    make.__doc__ = f"{trace.about}; {trace.requests_per_s} requests a second."
    return make
