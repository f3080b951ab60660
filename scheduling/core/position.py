"""About how many dispatches until it is this ticket's turn: a view, never a decision."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple


class Drain(NamedTuple):
    """A flow's line: its first ticket leaves at ``start``, one more every ``step``, ``size`` in all.

    Times are virtual: whatever unit the order of flows is kept in.
    """

    start: int
    step: int
    size: int


class Curve:
    """How many tickets of all lines have left by a given virtual time.

    Built in O(flows log flows), read in O(log flows). Between a line's start
    and its end it drains evenly, so the answer is about right, not exact.
    """

    __slots__ = ("_counts", "_rates", "_times")

    def __init__(self, drains: Iterable[Drain]) -> None:
        turns: dict[int, float] = {}
        for start, step, size in drains:
            rate = 1 / max(1, step)
            end = start + max(1, step) * size
            turns[start] = turns.get(start, 0.0) + rate
            turns[end] = turns.get(end, 0.0) - rate
        self._times = sorted(turns)
        self._counts: list[float] = []
        self._rates: list[float] = []
        count_so_far, rate_now, before = 0.0, 0.0, 0
        for at in self._times:
            count_so_far += rate_now * (at - before)
            rate_now += turns[at]
            before = at
            self._counts.append(count_so_far)
            self._rates.append(rate_now)

    def before(self, at: int) -> int:
        """How many tickets leave before this time."""
        i = bisect_right(self._times, at) - 1
        if i < 0:
            return 0
        return round(self._counts[i] + self._rates[i] * (at - self._times[i]))
