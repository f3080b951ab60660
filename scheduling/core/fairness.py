"""Which waiting ticket is next: arrival order, or one turn per user and model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Protocol

from scheduling.core.entry import Entry, Lane
from scheduling.core.policy import TenantRule
from scheduling.core.position import Curve, Drain

TABLE_FOR_MS = 500  # how long a table of places is good enough for people


class Fairness(Protocol):
    """The order of one class in one pool."""

    def push(self, entry: Entry) -> None:
        """A ticket joins the line."""

    def pick(self, lanes: Collection[Lane]) -> Entry | None:
        """The next ticket among those whose lane is open."""

    def serve(self, entry: Entry) -> None:
        """The ticket leaves the line for a seat, and its flow pays for it."""

    def remove(self, entry: Entry) -> None:
        """The ticket leaves the line unserved: nothing was charged."""

    def adopt(self, entry: Entry) -> None:
        """A ticket runs that was served under other rules."""

    def settle(self, entry: Entry, cost: int) -> None:
        """A served ticket ended, and this is what it really cost."""

    def set_weights(self, tenants: Mapping[str, TenantRule]) -> None:
        """Obey these weights from the next pick on."""

    def pass_over(self, tenant: str) -> None:
        """The tenant holds all the seats that it may: pick none of its tickets until ``let_in``."""

    def let_in(self, tenant: str) -> None:
        """The tenant may be picked again."""

    def ahead(self, entry: Entry, now_ms: int) -> int:
        """About how many waiting tickets of this class go before this one."""


class NoAccounts:
    """An order that does not look at what was used, or by whom."""

    def __init__(self) -> None:
        self._full: set[str] = set()

    def adopt(self, entry: Entry) -> None:
        """Nothing to remember of a ticket that runs."""

    def settle(self, entry: Entry, cost: int) -> None:
        """Nothing to charge."""

    def set_weights(self, tenants: Mapping[str, TenantRule]) -> None:
        """Weights change nothing."""

    def pass_over(self, tenant: str) -> None:
        """Its tickets keep their places; the pick steps over them."""
        self._full.add(tenant)

    def let_in(self, tenant: str) -> None:
        """Its tickets are where they were."""
        self._full.discard(tenant)


class Fifo(NoAccounts):
    """Serve in order of arrival, whoever asks. The control: one heavy user delays all.

    Unit of fairness: none. Bound: none. Cost: O(1).
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: dict[Lane, OrderedDict[int, Entry]] = {}
        self._pushed = 0
        self._left = 0
        self._waiting = 0

    def push(self, entry: Entry) -> None:
        """Stand at the end; a retry at the head."""
        line = self._lines.get(entry.lane)
        if line is None:
            line = self._lines[entry.lane] = OrderedDict()
        stand_in(line, entry)
        self._waiting += 1
        if entry.place > 0:
            entry.ordinal = self._pushed
            self._pushed += 1

    def pick(self, lanes: Collection[Lane]) -> Entry | None:
        """The oldest."""
        lines = [line for lane in lanes if (line := self._lines.get(lane))]
        heads = [entry for line in lines if (entry := self._first(line))]
        return min(heads, key=arrival) if heads else None

    def serve(self, entry: Entry) -> None:
        """It has a seat."""
        self._left += 1
        self.remove(entry)

    def remove(self, entry: Entry) -> None:
        """It gave up."""
        self._waiting -= 1
        line = self._lines[entry.lane]
        del line[entry.place]
        if not line:
            del self._lines[entry.lane]
        if not self._waiting:
            self._pushed = self._left = 0

    def ahead(self, entry: Entry, now_ms: int) -> int:
        """How many came before it."""
        return index_of(entry, self._left, self._waiting)

    def _first(self, line: OrderedDict[int, Entry]) -> Entry | None:
        if not self._full:
            return head(line)
        return next((entry for entry in line.values() if entry.ticket.tenant not in self._full), None)


class RoundRobin(NoAccounts):
    """One queue per user and model, served in turn.

    A queue that was empty joins at the end of the ring. Weights are not
    looked at, nor how long a request is.

    Unit of fairness: requests. Bound: between two turns of a waiting queue
    every other queue has at most one. Cost: O(1).
    Source: "Efficient Request Queueing", TNG, 2025, part 3.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rings: dict[Lane, OrderedDict[tuple[str, str], _Turn]] = {}
        self._turns = 0
        self._table: tuple[int, Curve] | None = None

    def push(self, entry: Entry) -> None:
        """Stand in the queue of this user and model; an empty queue joins the ring."""
        ring = self._rings.get(entry.lane)
        if ring is None:
            ring = self._rings[entry.lane] = OrderedDict()
        key = (entry.ticket.tenant, entry.ticket.user)
        turn = ring.get(key)
        if turn is None:
            self._turns += 1
            # A retry has had its turn already and lost it to a broken backend.
            turn = ring[key] = _Turn(self._turns if entry.place > 0 else -self._turns)
            if entry.place < 0:
                ring.move_to_end(key, last=False)
        stand_in(turn.line, entry)
        if entry.place > 0:
            entry.ordinal = turn.pushed
            turn.pushed += 1

    def pick(self, lanes: Collection[Lane]) -> Entry | None:
        """The head of the queue whose turn it is."""
        rings = [ring for lane in lanes if (ring := self._rings.get(lane))]
        turns = [turn for ring in rings if (turn := self._first(ring))]
        return head(min(turns, key=_order).line) if turns else None

    def serve(self, entry: Entry) -> None:
        """It has a seat, and its queue goes to the end of the ring."""
        key = (entry.ticket.tenant, entry.ticket.user)
        ring = self._rings[entry.lane]
        turn = ring[key]
        self._turns += 1
        turn.order = self._turns
        turn.left += 1
        ring.move_to_end(key)
        self.remove(entry)

    def remove(self, entry: Entry) -> None:
        """It is out of line; an empty queue leaves the ring."""
        key = (entry.ticket.tenant, entry.ticket.user)
        ring = self._rings[entry.lane]
        line = ring[key].line
        del line[entry.place]
        if not line:
            del ring[key]
            if not ring:
                del self._rings[entry.lane]
                self._table = None

    def ahead(self, entry: Entry, now_ms: int) -> int:
        """One round serves every queue once, so its index in its queue is its round."""
        if self._table is None or now_ms - self._table[0] >= TABLE_FOR_MS:
            self._table = (now_ms, Curve(self._drains()))
        turn = self._rings[entry.lane][(entry.ticket.tenant, entry.ticket.user)]
        return self._table[1].before(index_of(entry, turn.left, len(turn.line)))

    def _first(self, ring: OrderedDict[tuple[str, str], _Turn]) -> _Turn | None:
        return next((turn for (tenant, _), turn in ring.items() if tenant not in self._full), None)

    def _drains(self) -> list[Drain]:
        return [Drain(0, 1, len(turn.line)) for ring in self._rings.values() for turn in ring.values()]


class _Turn:
    """One queue of the ring, and where in the order of turns it stands."""

    __slots__ = ("left", "line", "order", "pushed")

    def __init__(self, order: int) -> None:
        self.order = order
        self.line: OrderedDict[int, Entry] = OrderedDict()
        self.pushed = 0
        self.left = 0


def _order(turn: _Turn) -> int:
    return turn.order


def arrival(entry: Entry) -> int:
    """The key that orders tickets by arrival, retries first."""
    return entry.place


def head(line: OrderedDict[int, Entry]) -> Entry:
    """The ticket that leaves this line first."""
    return next(iter(line.values()))


def stand_in(line: OrderedDict[int, Entry], entry: Entry) -> None:
    """Join at the end; a retry at the head, because it has waited already."""
    line[entry.place] = entry
    if entry.place < 0:
        line.move_to_end(entry.place, last=False)


def index_of(entry: Entry, left: int, waiting: int) -> int:
    """About how many stand before the ticket in its own line."""
    if entry.place < 0:
        return 0
    return max(0, min(entry.ordinal - left, waiting - 1))
