"""Arrivals for the experiments, as multiples of what the engine can serve."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import exp
from types import MappingProxyType

from scheduling.core.policy import DEFAULT_CLASS
from scheduling.simulation.experiments.trial import Size
from scheduling.simulation.scenario import Arrival, Workload

SPREAD = 0.6  # sigma of the lengths: an answer of twice the usual length is nothing special
SHORTEST, LONGEST = 0.1, 6.0  # lengths are cut at these multiples of their mean
NO_WEIGHTS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Crowd:
    """One tenant's requests: how many a second, how long on average, and in which class."""

    tenant: str
    per_s: float
    prompt_tokens: int
    completion_tokens: int
    priority_class: str = DEFAULT_CLASS
    vary: bool = True  # False: all have the mean length


def quiet(size: Size, priority_class: str = DEFAULT_CLASS) -> Crowd:
    """A tenant that asks now and then, and for little."""
    prompt, completion = size.prompt_tokens // 2, size.completion_tokens // 2
    return Crowd("quiet", size.quiet_per_s, prompt, completion, priority_class)


def power(size: Size, times: float, tenant: str = "power", priority_class: str = DEFAULT_CLASS) -> Crowd:
    """A tenant that alone asks for so many times what the engine serves."""
    prompt, completion = size.prompt_tokens, size.completion_tokens
    return Crowd(tenant, times * size.capacity_per_s(prompt, completion), prompt, completion, priority_class)


def workload(
    size: Size,
    seed: int,
    crowds: Iterable[Crowd],
    *,
    measured_from: float = 0.0,
    weights: Mapping[str, int] = NO_WEIGHTS,
) -> Workload:
    """Poisson arrivals of these crowds for the size's seconds, measured after this part of them.

    A crowd's arrivals depend on the seed and its tenant alone, so a tenant
    asks for the same with and without neighbours.
    """
    arrivals = [arrival for crowd in crowds for arrival in _poisson(size, seed, crowd)]
    return Workload(
        name="experiment",
        arrivals=tuple(sorted(arrivals, key=_order)),
        from_ms=round(measured_from * size.seconds * 1000),
        to_ms=size.seconds * 1000,
        weights=weights,
        engines=(size.engine,),
    )


def burst(size: Size, count: int, prompt_tokens: int, completion_tokens: int) -> Workload:
    """So many equal requests at once."""
    one = Arrival(0, "client", prompt_tokens, completion_tokens, max_tokens=completion_tokens)
    arrivals = (one,) * count
    return Workload(
        name="burst",
        arrivals=arrivals,
        from_ms=0,
        to_ms=size.seconds * 1000,
        engines=(size.engine,),
    )


def _poisson(size: Size, seed: int, crowd: Crowd) -> Iterator[Arrival]:
    dice = random.Random(f"{seed} {crowd.tenant}")  # noqa: S311 the same arrivals for the same seed, no secret
    at_s = dice.expovariate(crowd.per_s)
    while at_s < size.seconds:
        prompt = _length(dice, crowd.prompt_tokens, vary=crowd.vary)
        completion = _length(dice, crowd.completion_tokens, vary=crowd.vary)
        # A client over HTTP has no other way to get an answer of this length than to allow no more.
        yield Arrival(
            round(at_s * 1000), crowd.tenant, prompt, completion, crowd.priority_class, max_tokens=completion
        )
        at_s += dice.expovariate(crowd.per_s)


def _length(dice: random.Random, mean: int, *, vary: bool) -> int:
    if not vary:
        return mean
    times = dice.lognormvariate(0, SPREAD) / exp(SPREAD**2 / 2)  # lognormal of mean 1
    return max(1, round(mean * min(LONGEST, max(SHORTEST, times))))


def _order(arrival: Arrival) -> tuple[int, str]:
    return (arrival.at_ms, arrival.tenant)
