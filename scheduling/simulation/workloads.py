"""Who asks for what and when: arrivals made from a seed, or read from a trace."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType

MAX_PROMPT_TOKENS = 6_000  # longer prompts of a trace are cut: the engine model holds 8,192 tokens
MAX_COMPLETION_TOKENS = 2_000
AZURE_TENANTS = 10
AZURE_MEAN_GAP_S = 0.1  # half as fast again as one a100-8b engine serves: there must be contention
# Lognormal fits (mu, sigma) of the Azure LLM inference trace 2023, conversation: 19,366 requests.
AZURE_PROMPT = (6.633, 0.985)
AZURE_COMPLETION = (5.019, 0.859)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request as it will turn out to be."""

    at_ms: int
    tenant: str
    prompt_tokens: int
    completion_tokens: int
    priority_class: str = "standard"
    user: str = "user"
    streams: bool = True  # False: its answer comes whole, at the end


@dataclass(frozen=True, slots=True)
class Workload:
    """Arrivals in order of time, and the installation that meets them.

    Shares are measured from ``from_ms`` to ``to_ms``, while tenants contend.
    """

    name: str
    arrivals: tuple[Arrival, ...]
    from_ms: int
    to_ms: int
    weights: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    profile: str = "a100-8b"
    max_num_seqs: int = 64


def flood(seed: int, *, seconds: int = 90) -> Workload:
    """A power user sends 40 requests a second for a while; a quiet tenant one every two seconds."""
    rng = _dice(seed)
    began, ends = 20, 20 + seconds
    quiet = _poisson(rng, "quiet", 0.5, (0, ends + 20), _lognormal(rng, (5.0, 0.6), (4.6, 0.5)))
    power = _poisson(rng, "power", 40.0, (began, ends), _lognormal(rng, (5.5, 0.9), (5.0, 0.86)))
    return _workload("flood", [*quiet, *power], began, ends)


def overload(seed: int, *, seconds: int = 180) -> Workload:
    """Two tenants ask for more than there is, one for twice as much as the other (VTC's overload)."""
    rng = _dice(seed)
    shape = _fixed(256, 256)
    arrivals = [
        *_uniform(rng, "calm", 1.5, seconds, shape),
        *_uniform(rng, "greedy", 3.0, seconds, shape),
    ]
    return replace(_workload("overload", arrivals, 30, seconds), profile="a10g-7b")


def weighted(seed: int, *, seconds: int = 120) -> Workload:
    """Weights 3:1, both ask for more than their share; one with many short requests, one with few long."""
    rng = _dice(seed)
    arrivals = [
        *_uniform(rng, "short", 100.0, seconds, _fixed(80, 40)),
        *_uniform(rng, "long", 3.0, seconds, _fixed(1500, 600)),
    ]
    return replace(_workload("weighted", arrivals, 20, seconds), weights={"short": 3, "long": 1})


def azure(seed: int, trace: Path | None = None, *, seconds: int = 120) -> Workload:
    """Lengths of the Azure trace, spread over ten tenants by Zipf's law, faster than one engine serves.

    Without the file, lengths are drawn from its published fit.
    """
    rng = _dice(seed)
    lengths = _trace_lengths(trace) if trace else _fit_lengths(rng)
    popularity = list(accumulate(1 / rank for rank in range(1, AZURE_TENANTS + 1)))
    arrivals: list[Arrival] = []
    at_s = rng.expovariate(1 / AZURE_MEAN_GAP_S)
    while at_s < seconds:
        tenant = rng.choices(range(1, AZURE_TENANTS + 1), cum_weights=popularity)[0]
        prompt, completion = next(lengths, (0, 0))
        if not prompt:
            break
        arrivals.append(Arrival(round(at_s * 1000), f"tenant-{tenant:02}", prompt, completion))
        at_s += rng.expovariate(1 / AZURE_MEAN_GAP_S)
    return _workload("azure", arrivals, 20, seconds)


WORKLOADS: Mapping[str, Callable[[int], Workload]] = MappingProxyType(
    {"flood": flood, "overload": overload, "weighted": weighted, "azure": azure}
)

Lengths = Callable[[], tuple[int, int]]


def _workload(name: str, arrivals: list[Arrival], from_s: int, to_s: int) -> Workload:
    return Workload(name, tuple(sorted(arrivals, key=_order)), from_s * 1000, to_s * 1000)


def _dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 the same arrivals for the same seed, no secret


def _order(arrival: Arrival) -> tuple[int, str]:
    return (arrival.at_ms, arrival.tenant)


def _poisson(
    rng: random.Random, tenant: str, per_s: float, span_s: tuple[int, int], lengths: Lengths
) -> Iterator[Arrival]:
    at_s = span_s[0] + rng.expovariate(per_s)
    while at_s < span_s[1]:
        yield Arrival(round(at_s * 1000), tenant, *lengths())
        at_s += rng.expovariate(per_s)


def _uniform(
    rng: random.Random, tenant: str, per_s: float, seconds: int, lengths: Lengths
) -> Iterator[Arrival]:
    phase = rng.random()
    for n in range(int(per_s * seconds)):
        yield Arrival(round((n + phase) / per_s * 1000), tenant, *lengths())


def _fixed(prompt_tokens: int, completion_tokens: int) -> Lengths:
    return lambda: (prompt_tokens, completion_tokens)


def _lognormal(rng: random.Random, prompt: tuple[float, float], completion: tuple[float, float]) -> Lengths:
    return lambda: _cut(rng.lognormvariate(*prompt), rng.lognormvariate(*completion))


def _fit_lengths(rng: random.Random) -> Iterator[tuple[int, int]]:
    draw = _lognormal(rng, AZURE_PROMPT, AZURE_COMPLETION)
    while True:
        yield draw()


def _trace_lengths(trace: Path) -> Iterator[tuple[int, int]]:
    """Prompt and completion tokens of each row. Raises ValueError for a file of another shape."""
    with trace.open(newline="") as file:
        for row in csv.DictReader(file):
            try:
                yield _cut(float(row["prompt_tokens"]), float(row["completion_tokens"]))
            except (KeyError, ValueError) as error:
                raise ValueError(
                    f"{trace}: a row has no number in prompt_tokens or completion_tokens ({error}); "
                    "the first line must name the columns arrival_s, prompt_tokens, completion_tokens"
                ) from None


def _cut(prompt: float, completion: float) -> tuple[int, int]:
    return (
        min(MAX_PROMPT_TOKENS, max(1, round(prompt))),
        min(MAX_COMPLETION_TOKENS, max(1, round(completion))),
    )
