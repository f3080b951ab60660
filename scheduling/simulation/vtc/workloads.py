"""The workloads of the VTC artifact by name, for one A10G with Llama-7B.

Rates, lengths, durations and phases are those of fair_bench/exp_suite.py and
trace.py of Ying1123/VTC-artifact (Sheng et al., OSDI 2024), drawn in the same
order from the same generator: seed 42 gives the very arrivals of its runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from scheduling.simulation.engine.profiles import PROFILES
from scheduling.simulation.scenario import Arrival, EngineSpec, Workload
from scheduling.simulation.vtc.arena import arena_arrivals
from scheduling.simulation.vtc.dice import Dice

PROFILE = "a10g-7b"
WARM_UP_MS = 30_000  # nothing is measured before
PHASE_S = 60  # an on/off client is silent in every second minute
Lengths = tuple[int, int]  # prompt and completion tokens
MIDDLE: Lengths = (256, 256)
MIXED = (16, 512)  # lengths from the first to one less than the last


@dataclass(frozen=True, slots=True)
class Client:
    """One tenant that asks ``per_s`` times a second, from ``from_s`` until ``to_s``."""

    name: str
    per_s: float
    to_s: int
    from_s: int = 0
    on_off: bool = False
    lengths: Lengths = MIDDLE


def overload(seed: int, *, seconds: int = 360) -> Workload:
    """Two tenants ask for more than there is, one twice as often as the other."""
    return _even("overload", seed, {"calm": 1.5, "greedy": 3.0}, seconds)


def overload_multi(seed: int, *, seconds: int = 360) -> Workload:
    """Eight tenants in overload: three ask 0.4 times a second, five 0.6 times."""
    rates = {f"client-{n}": 0.4 if n <= 3 else 0.6 for n in range(1, 9)}
    return _even("overload-multi", seed, rates, seconds)


def overload_weighted(seed: int, *, seconds: int = 360) -> Workload:
    """Four tenants of weights 1 to 4 in overload."""
    rates = {"weight-1": 0.8, "weight-2": 0.8, "weight-3": 1.2, "weight-4": 1.6}
    weights = {f"weight-{n}": n for n in range(1, 5)}
    return _even("overload-weighted", seed, rates, seconds, weights)


def proportional(seed: int) -> Workload:
    """Two tenants below their share; the third takes what they leave and wants more."""
    return _even("proportional", seed, {"quarter": 0.25, "half": 0.5, "greedy": 1.5}, 600)


def on_off_less(seed: int) -> Workload:
    """A tenant below its share that is silent every other minute, beside a greedy one."""
    clients = [Client("calm", 0.5, 600, on_off=True), Client("greedy", 2.0, 600)]
    return _workload("on_off_less", _spaced(Dice(seed), clients), 600)


def on_off_overload(seed: int) -> Workload:
    """As on_off_less, but when it is not silent, the one asks for more than its share as well."""
    clients = [Client("calm", 2.0, 600, on_off=True), Client("greedy", 3.0, 600)]
    return _workload("on_off_overload", _spaced(Dice(seed), clients), 600)


def poisson_on_off(seed: int) -> Workload:
    """As on_off_less, arriving at random, of lengths between 16 and 511."""
    calm, greedy = Client("calm", 0.5, 600, on_off=True), Client("greedy", 2.0, 600)
    return _workload("poisson_on_off", _poisson(Dice(seed), calm, greedy, MIXED), 600)


def poisson_short_long(seed: int) -> Workload:
    """One tenant sends many short requests, the other few of four times their length."""
    short, long = Client("short", 8.0, 600, lengths=(64, 64)), Client("long", 1.5, 600)
    return _workload("poisson_short_long", _poisson(Dice(seed), short, long), 600)


def poisson_short_long_2(seed: int) -> Workload:
    """One tenant sends long prompts for short answers, the other short prompts for long answers."""
    prompts, answers = (
        Client("prompts", 8.0, 600, lengths=(512, 32)),
        Client("answers", 1.5, 600, lengths=(32, 512)),
    )
    return _workload("poisson_short_long_2", _poisson(Dice(seed), prompts, answers), 600)


def increase(seed: int) -> Workload:
    """A steady tenant beside one whose rate grows from 0.2 to 2 a second: nothing in it is by chance."""
    steady = [Arrival(at_s * 1000, "steady", *MIDDLE) for at_s in range(2, 602, 2)]
    return _workload("increase", [*steady, *_growing(0.2, 2.0, 600)], 600)


def dist_shift(seed: int) -> Workload:
    """Three phases of five minutes: on and off, both in overload, one below its share."""
    clients = [
        Client("first", 0.5, 300, on_off=True),
        Client("second", 2.0, 300),
        Client("first", 1.0, 600, 300),
        Client("second", 1.0, 600, 300),
        Client("first", 0.5, 900, 600),
        Client("second", 1.5, 900, 600),
    ]
    return _workload("dist_shift", _spaced(Dice(seed), clients), 900)


def arena(seed: int, trace: Path | None = None) -> Workload:
    """27 clients of a chat arena for ten minutes, from the file, or drawn in its shape.

    Raises OSError and ValueError for a file that is not the trace.
    """
    return _workload("arena", arena_arrivals(seed, trace), 600)


WORKLOADS: Mapping[str, Callable[[int], Workload]] = MappingProxyType(
    {
        "overload": overload,
        "overload-600s": partial(overload, seconds=600),  # the artifact's FCFS file is of this length
        "overload-multi": overload_multi,
        "overload-weighted": overload_weighted,
        "proportional": proportional,
        "on_off_less": on_off_less,
        "on_off_overload": on_off_overload,
        "poisson_on_off": poisson_on_off,
        "poisson_short_long": poisson_short_long,
        "poisson_short_long_2": poisson_short_long_2,
        "increase": increase,
        "dist_shift": dist_shift,
        "arena": arena,
    }
)


def _even(
    name: str, seed: int, rates: Mapping[str, float], seconds: int, weights: Mapping[str, int] | None = None
) -> Workload:
    clients = [Client(tenant, per_s, seconds) for tenant, per_s in rates.items()]
    return _workload(name, _spaced(Dice(seed), clients), seconds, weights)


def _workload(
    name: str, arrivals: Iterable[Arrival], seconds: int, weights: Mapping[str, int] | None = None
) -> Workload:
    ordered = tuple(sorted(arrivals, key=lambda one: (one.at_ms, one.tenant)))
    return Workload(
        name,
        ordered,
        WARM_UP_MS,
        seconds * 1000,
        weights or {},
        (EngineSpec(PROFILE, max_num_seqs=_seats(ordered)),),
    )


def _seats(arrivals: tuple[Arrival, ...]) -> int:
    """How many sequences a vLLM-like engine runs at once: as many of mean length as its KV memory holds.

    Such an engine takes in whatever fits now and preempts later; with more
    seats than these it computes much of its work twice. Only the gateway
    version has this limit: the other admits by future memory.
    """
    tokens = sum(one.prompt_tokens + one.completion_tokens for one in arrivals)
    return max(1, PROFILES[PROFILE].kv_tokens * len(arrivals) // tokens)


def _silent(client: Client, at_s: float) -> bool:
    return client.on_off and int(at_s // PHASE_S) % 2 == 1


def _spaced(dice: Dice, clients: Iterable[Client]) -> Iterator[Arrival]:
    """Evenly spaced from a phase by chance; the first request comes one space later still."""
    for client in clients:
        phase = dice.unit()
        for n in range(int(client.per_s * (client.to_s - client.from_s))):
            at_s = client.from_s + (n + 1 + phase) / client.per_s
            if not _silent(client, at_s):
                yield Arrival(round(at_s * 1000), client.name, *client.lengths)


def _poisson(dice: Dice, one: Client, other: Client, mixed: Lengths | None = None) -> Iterator[Arrival]:
    """One Poisson stream of both, as many as expected, each given to one of them by chance.

    ``mixed`` draws both lengths from that range instead of the clients' own.
    """
    rate = one.per_s + other.per_s
    count = int(rate * one.to_s)
    clients = [one if dice.unit() <= one.per_s / rate else other for _ in range(count)]
    prompts = [dice.below(*mixed) for _ in range(count)] if mixed else []
    completions = [dice.below(*mixed) for _ in range(count)] if mixed else []
    at_s = 0.0
    for n, client in enumerate(clients):
        at_s += dice.gap(rate)
        lengths = (prompts[n], completions[n]) if mixed else client.lengths
        if not _silent(client, at_s):
            yield Arrival(round(at_s * 1000), client.name, *lengths)


def _growing(from_per_s: float, to_per_s: float, seconds: int) -> Iterator[Arrival]:
    at_s = 0.0
    for _ in range(int((from_per_s + to_per_s) / 2 * seconds)):
        at_s += 1 / (from_per_s + (to_per_s - from_per_s) * at_s / seconds)
        yield Arrival(round(at_s * 1000), "growing", *MIDDLE)
