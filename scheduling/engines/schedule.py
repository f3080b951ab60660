"""When each engine is read: at its own period, spread over time, and by one of several readers.

The n-th reading of a backend is due at

    (n + phase + jitter) * period        0 <= phase < 1, -0.1 <= jitter < 0.1

in Unix time. Phase and jitter come from a checksum of names, so that every
process knows the same readings without asking, no two backends keep step,
and each reading has a name (its slot) that only one process can take.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from scheduling.engines.endpoint import Endpoint

JITTER = 0.1  # of the period, to either side
GRID = 10  # instants a beat: readings of one instant move their limits together
SHORTEST_S = 0.1  # no engine is read more often


@dataclass(frozen=True, slots=True)
class Slot:
    """One reading that is to be made: the n-th of its backend, due at ``at_s`` (Unix time)."""

    at_s: float
    endpoint: Endpoint
    period_s: float
    n: int

    @property
    def name(self) -> str:
        """The same in every process, and no other reading's."""
        return f"{self.endpoint.backend}:{self.period_s:g}:{self.n}"


def period_s(endpoint: Endpoint, usual_s: float) -> float:
    """How often this engine is read, in seconds."""
    own_ms = endpoint.poll_every_ms
    return max(SHORTEST_S, usual_s if own_ms is None else own_ms / 1000)


def latest(endpoint: Endpoint, now_s: float, usual_s: float, salt: str = "") -> Slot:
    """The newest slot that is due by now. ``salt`` gives a reader slots of its own."""
    period = period_s(endpoint, usual_s)
    n = math.floor(now_s / period) + 1  # later than now at any phase
    while (at_s := _due_s(endpoint.backend + salt, n, period)) > now_s:
        n -= 1
    return Slot(at_s, endpoint, period, n)


def plan(endpoints: Iterable[Endpoint], now_s: float, beat_s: float) -> list[Slot]:
    """The slots of the beat that begins now, the first due first.

    The newest slot of each backend that is due already is among them: it was
    taken at the beat before, unless that came late or never. Slots of the
    same tenth of a beat are due together.
    """
    slots: list[Slot] = []
    for endpoint in endpoints:
        slot = latest(endpoint, now_s, beat_s)
        while slot.at_s < now_s + beat_s:
            slots.append(slot)
            n = slot.n + 1
            at_s = _due_s(endpoint.backend, n, slot.period_s)
            slot = Slot(_on_grid(at_s, beat_s / GRID), endpoint, slot.period_s, n)
    return sorted(slots, key=lambda slot: slot.at_s)


def _due_s(name: str, n: int, period: float) -> float:
    phase = _fraction(name)
    jitter = JITTER * (2 * _fraction(f"{name}/{n}") - 1)
    return (n + phase + jitter) * period


def _on_grid(at_s: float, grid_s: float) -> float:
    return math.ceil(at_s / grid_s) * grid_s


def _fraction(text: str) -> float:
    return zlib.crc32(text.encode()) / 2**32
