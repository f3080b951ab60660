"""The engine's own waiting queue."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Generic, TypeVar

from scheduling.simulation.engine.request import Placed

S = TypeVar("S", bound=Placed)


class WaitingLine(Generic[S]):
    """Sequences in the order in which they will be admitted.

    Ordered by (rank, order). Under fcfs every rank is 0 and a preempted
    sequence gets an order before all others; under priority the rank is the
    request's priority and the order its arrival, kept through preemption.
    A sorted list: removal from the middle is exact, and moving some
    thousands of pointers costs about a microsecond.
    """

    def __init__(self) -> None:
        self.line: list[tuple[int, int, S]] = []  # open to a look in passing, at each step
        self._front = 0

    def __len__(self) -> int:
        return len(self.line)

    def __iter__(self) -> Iterator[S]:
        return (sequence for _, _, sequence in self.line)

    @property
    def head(self) -> S:
        """Who is admitted next. The line must not be empty."""
        return self.line[0][2]

    def remove_head(self) -> None:
        """Take it out."""
        del self.line[0]

    def add(self, sequence: S) -> None:
        """Put a sequence in its place."""
        insort(self.line, (sequence.rank, sequence.order, sequence))

    def add_first(self, sequence: S) -> None:
        """Put a preempted sequence before everybody else of its rank."""
        self._front -= 1
        sequence.order = self._front
        self.add(sequence)

    def remove(self, sequence: S) -> None:
        """Take a sequence out from wherever it stands."""
        place: tuple[int, ...] = (sequence.rank, sequence.order)
        del self.line[bisect_left(self.line, place)]
