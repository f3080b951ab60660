"""One name's account: what an order knows of it, and who of its tickets waits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container
from typing import TYPE_CHECKING

from scheduling.core.entry import Entry, Lane

if TYPE_CHECKING:
    from scheduling.core.levels import Level

_NO_LINES: dict[Lane, OrderedDict[int, Entry]] = {}  # of names with others inside


class Share:
    """One name's account. ``key`` orders it: the waiting name with the smallest is next.

    ``keys`` holds the key under which each lane's heap knows the name; being
    there means that it has tickets waiting in that lane. ``aside`` has the
    lanes in which it waits but must not be served (``shut`` says for which
    models). ``held`` counts tickets that wait or run. ``wakes`` counts how
    often the name began to wait, and ``lead`` is how far ahead it then was.
    ``tally`` is what an order counts besides the key: requests in flight, or
    a deficit.
    """

    __slots__ = (
        "aside",
        "depth",
        "held",
        "inner",
        "key",
        "keys",
        "lead",
        "left",
        "level",
        "lines",
        "name",
        "shut",
        "tally",
        "waiting",
        "waiting_cost",
        "wakes",
        "weight",
    )

    depth: int  # how many it is inside of: its tree says so
    weight: int  # this and the next, as it began last
    key: int

    def __init__(self, level: Level, name: str) -> None:
        self.level = level
        self.name = name
        self.wakes = 0
        self.held = 0
        self.shut: Container[str] | None = None
        self.aside: set[Lane] | None = None
        self.keys: dict[Lane, int] = {}
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
