"""Arrivals from a seed: when they come, how long they are, and whose they are."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from scheduling.simulation.scenario import Arrival, Workload

Lengths = Callable[[], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Spread:
    """Token counts: lognormal with this mu and sigma, cut at ``most``."""

    mu: float
    sigma: float
    most: int

    def draw(self, rng: random.Random) -> int:
        """One count, at least 1."""
        return min(self.most, max(1, round(rng.lognormvariate(self.mu, self.sigma))))


def dice(seed: int) -> random.Random:
    """The same throws for the same seed."""
    return random.Random(seed)  # noqa: S311 the same arrivals for the same seed, no secret


def lognormal(rng: random.Random, prompt: Spread, completion: Spread) -> Lengths:
    """Prompt and completion tokens, drawn apart from each other."""
    return lambda: (prompt.draw(rng), completion.draw(rng))


def fixed(prompt_tokens: int, completion_tokens: int) -> Lengths:
    """Always the same."""
    return lambda: (prompt_tokens, completion_tokens)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often requests come, from one time to another.

    The gaps are Gamma with shape 1/cv²: a ``cv`` of 1 is Poisson, a greater
    one comes in bursts.
    """

    per_s: float
    from_s: float
    to_s: float
    cv: float = 1.0

    def times_ms(self, rng: random.Random) -> Iterator[int]:
        """When they come."""
        shape = 1 / self.cv**2
        scale_s = 1 / (self.per_s * shape)
        at_s = self.from_s + rng.gammavariate(shape, scale_s)
        while at_s < self.to_s:
            yield round(at_s * 1000)
            at_s += rng.gammavariate(shape, scale_s)


def paced(rng: random.Random, tenant: str, pace: Pace, lengths: Lengths) -> Iterator[Arrival]:
    """One tenant's arrivals."""
    for at_ms in pace.times_ms(rng):
        yield Arrival(at_ms, tenant, *lengths())


def uniform(
    rng: random.Random, tenant: str, per_s: float, seconds: float, lengths: Lengths
) -> Iterator[Arrival]:
    """Arrivals at even distances, the first within one distance of the beginning."""
    phase = rng.random()
    for n in range(int(per_s * seconds)):
        yield Arrival(round((n + phase) / per_s * 1000), tenant, *lengths())


def by_popularity(
    rng: random.Random, arrivals: Iterable[Arrival], tenants: int, exponent: float
) -> Iterator[Arrival]:
    """The same arrivals from this many tenants: the n-th has a part of them that goes with 1/n**exponent.

    Prompts that begin alike are one tenant's.
    """
    width = len(str(tenants))
    names = [f"tenant-{rank:0{width}}" for rank in range(1, tenants + 1)]
    weights = list(accumulate(1 / rank**exponent for rank in range(1, tenants + 1)))
    owners: dict[int, str] = {}  # by the first of the prefixes
    for arrival in arrivals:
        name = rng.choices(names, cum_weights=weights)[0]
        if arrival.prefixes:
            name = owners.setdefault(arrival.prefixes[0], name)
        yield replace(arrival, tenant=name)


def workload(name: str, arrivals: Iterable[Arrival], from_s: float, to_s: float) -> Workload:
    """A workload of these arrivals on one engine."""
    return Workload(name, in_order(arrivals), round(from_s * 1000), round(to_s * 1000))


def in_order(arrivals: Iterable[Arrival]) -> tuple[Arrival, ...]:
    """By time, then by tenant, so that a seed gives one order."""
    return tuple(sorted(arrivals, key=_order))


def _order(arrival: Arrival) -> tuple[int, str]:
    return (arrival.at_ms, arrival.tenant)


def at_pace(workload: Workload, stretch: float) -> Workload:
    """The same requests, ``stretch`` times as far apart."""
    arrivals = tuple(replace(one, at_ms=round(one.at_ms * stretch)) for one in workload.arrivals)
    return replace(
        workload,
        arrivals=arrivals,
        from_ms=round(workload.from_ms * stretch),
        to_ms=round(workload.to_ms * stretch),
    )


def until(workload: Workload, to_ms: int) -> Workload:
    """The same, cut off there; a short one is measured from a third of its time on."""
    arrivals = tuple(one for one in workload.arrivals if one.at_ms < to_ms)
    end_ms = min(to_ms, workload.to_ms)
    return replace(workload, arrivals=arrivals, from_ms=min(workload.from_ms, end_ms // 3), to_ms=end_ms)
