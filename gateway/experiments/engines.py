"""The engines that some trials need, and what an onlooker reads of them while they are played."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from scheduling.simulation.engine.faults import FaultKind
from scheduling.simulation.experiments.trial import Trial
from scheduling.simulation.scenario import EngineSpec

LOOK_TIMEOUT_S = 10.0  # a laptop that plays engine, gateway and clients at once may be late


@dataclass(frozen=True, slots=True)
class Engine:
    """A simulated engine that runs, at its URL."""

    spec: EngineSpec
    url: str


def process_of(spec: EngineSpec) -> EngineSpec:
    """What of it is its process's; the rest are rules of ours about it. Every process has a prefix cache."""
    return replace(spec, max_in_flight=None, tells_kv=True, prefix_cache=True)


def needed(trials: Iterable[Trial]) -> list[EngineSpec]:
    """The processes with which each of the trials can be played, though not two at once."""
    most: Counter[EngineSpec] = Counter()
    for trial in trials:
        most |= Counter(map(process_of, trial.workload.engines))
    return list(most.elements())


def cast(trial: Trial, engines: Sequence[Engine]) -> list[int]:
    """Which of the engines plays which of the trial's, by their places."""
    free = list(range(len(engines)))
    chosen = []
    for spec in map(process_of, trial.workload.engines):
        place = next(n for n in free if engines[n].spec == spec)
        free.remove(place)
        chosen.append(place)
    return chosen


@dataclass(frozen=True, slots=True)
class State:
    """One look at an engine; the last three only grow."""

    running: int
    waiting: int
    preemptions: int
    cached_tokens: int
    aborted: int


def look(url: str) -> State:
    """What the engine says of itself, also while its metrics are made to fail. Raises OSError."""
    with urllib.request.urlopen(f"{url}/sim/state", timeout=LOOK_TIMEOUT_S) as answer:  # noqa: S310 our own
        return State(**json.load(answer))


def lose_metrics(url: str, *, lost: bool) -> None:
    """From now on the engine's metrics page fails, or no longer does. Raises OSError."""
    failures = [FaultKind.METRICS_500.value] if lost else []
    request = urllib.request.Request(  # noqa: S310 our own
        f"{url}/sim/failures", json.dumps({"failures": failures}).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=LOOK_TIMEOUT_S):  # noqa: S310
        pass
