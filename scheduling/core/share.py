"""One name's account: what an order knows of it, and who of its tickets waits."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Container
from typing import TYPE_CHECKING

from scheduling.core.entry import Entry, Lane

if TYPE_CHECKING:
    from scheduling.core.levels import Level

Index = list[tuple[int, str, "Share"]]  # names that wait in one lane, by key
_NO_LINES: dict[Lane, OrderedDict[int, Entry]] = {}  # of names with others inside


class Share:
    """One name's account. ``key`` orders it: the waiting name with the smallest is next.

    ``lanes`` are those in which it has tickets waiting, each with the index
    that it stands in there, None where it has been alone; ``indexes`` are
    these once more, for who changes its key. ``aside`` has the
    lanes in which it waits but must not be served (``shut`` says for which
    models). ``held`` counts tickets that wait or run. ``wakes`` counts how
    often the name began to wait, and ``lead`` is how far ahead it then was.
    ``path`` are the accounts from the outermost in to its own.
    ``tally`` is what an order counts besides the key: requests in flight, or
    a deficit.
    """

    __slots__ = (
        "aside",
        "held",
        "indexes",
        "inner",
        "key",
        "lanes",
        "lead",
        "left",
        "level",
        "lines",
        "name",
        "path",
        "shut",
        "tally",
        "waiting",
        "waiting_cost",
        "wakes",
        "weight",
    )

    path: tuple[Share, ...]  # its tree says so
    weight: int  # this and the next, as it began last
    key: int

    def __init__(self, level: Level, name: str) -> None:
        self.level = level
        self.name = name
        self.wakes = 0
        self.held = 0
        self.shut: Container[str] | None = None
        self.aside: set[Lane] | None = None
        self.lanes: dict[Lane, Index | None] = {}
        self.indexes: list[Index] = []
        self.inner: Level | None = None  # the names inside this one; None for the last level
        self.lines: dict[Lane, OrderedDict[int, Entry]] = _NO_LINES  # of the last level: tickets by place
        self.waiting = 0
        self.waiting_cost = 0  # of the last level
        self.left = 0  # of the last level: tickets that ever left the line for a seat

    def begin_anew(self, weight: int, key: int) -> None:
        """Nothing is remembered of it: as a new account, with what it had inside."""
        self.weight = weight
        self.key = key
        self.lead = self.tally = 0

    def stand(self, lane: Lane, index: Index | None) -> None:
        """It waits in this lane, alone or in an index that has it."""
        self.lanes[lane] = index
        if index is not None:
            self.indexes.append(index)

    def step_out(self, lane: Lane) -> Index | None:
        """It waits in this lane no more; the index that it stood in."""
        index = self.lanes.pop(lane)
        if index is not None:
            del index[bisect_left(index, (self.key, self.name))]
            self.indexes = [other for other in self.lanes.values() if other is not None]
        return index

    def move(self, key: int) -> None:
        """Another key: to its new place wherever it waits."""
        old, self.key, name = self.key, key, self.name
        for index in self.indexes:
            del index[bisect_left(index, (old, name))]
            insort(index, (key, name, self))

    @property
    def mean_cost(self) -> int:
        """The same for one of them, on average; summed up when somebody asks."""
        return self.cost_in_line() // max(1, self.waiting)

    def cost_in_line(self) -> int:
        """Of the tickets that wait, in cost tokens."""
        inner = self.inner
        return (
            self.waiting_cost if inner is None else sum(each.cost_in_line() for each in inner.shares.values())
        )
