"""Which waiting ticket is next: what every order must answer, and the plainest of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Container, Iterable
from heapq import heappop, heappush
from typing import Protocol

from scheduling.core.entry import Entry, Lane


class Fairness(Protocol):
    """The order of one class in one pool.

    A ticket joins, then stands in line as often as it must: ``push`` and
    ``step_out`` come in turns. From the line it leaves by ``serve``, from
    outside by ``leave`` or ``adopt``; who was served or adopted ends by ``settle``.
    """

    @property
    def lanes(self) -> Collection[Lane]:
        """In which somebody stands whom ``pick`` may find."""

    def join(self, entry: Entry) -> None:
        """A ticket is known from now on; it does not stand in line yet."""

    def push(self, entry: Entry) -> None:
        """It stands in line."""

    def stand(self, entry: Entry) -> None:
        """It joins and stands in line: as ``join`` and ``push``."""

    def pick(self, lanes: Collection[Lane]) -> Entry | None:
        """The next ticket among those whose lane is open."""

    def first(self, lane: Lane) -> Entry | None:
        """The next ticket of one lane: as ``pick``."""

    def serve(self, entry: Entry) -> None:
        """It leaves the line for a seat, and its flow pays for it."""

    def pass_through(self, entry: Entry) -> None:
        """It joins and has a seat at once while nobody waits: as ``join``, ``push`` and ``serve``."""

    def step_out(self, entry: Entry) -> None:
        """It leaves the line; its flow stays as it is."""

    def leave(self, entry: Entry) -> None:
        """It is gone unserved, having stepped out: nothing was charged."""

    def adopt(self, entry: Entry) -> None:
        """It has a seat out of turn, or had one under other rules: its flow pays."""

    def progress(self, entry: Entry, cost: int) -> None:
        """It runs and has cost so many cost tokens so far."""

    def settle(self, entry: Entry, cost: int) -> None:
        """It ended, and this is what it really cost: 0 for a refund."""

    def reweigh(self, tenants: Iterable[str] | None = None) -> None:
        """The weights of these tenants, or of all, may have changed."""

    def close(self, tenant: str, models: Container[str] | None) -> None:
        """Pick none of the tenant's tickets for ``models`` from now on; None lets it in again."""

    def in_line(self, tenant: str) -> int:
        """How many tickets of the tenant stand in line."""

    def ahead(self, entry: Entry, now_ms: int) -> int:
        """About how many waiting tickets of this class go before this one."""

    def newcomer(self, tenant: str, now_ms: int) -> int:
        """About how many waiting tickets of this class would go before one of the tenant's that came now."""

    def rivals(self, entry: Entry) -> int:
        """How many other tenants have tickets in line."""


class _Line:
    """The tickets of one lane by arrival. Who left is swept when it comes to the front."""

    __slots__ = ("_heap", "_here")

    def __init__(self) -> None:
        self._heap: list[int] = []
        self._here: dict[int, Entry] = {}

    def __len__(self) -> int:
        return len(self._here)

    def add(self, entry: Entry) -> None:
        self._here[entry.place] = entry
        heappush(self._heap, entry.place)

    def remove(self, entry: Entry) -> None:
        del self._here[entry.place]

    def first(self) -> Entry:
        while (entry := self._here.get(self._heap[0])) is None:
            heappop(self._heap)
        return entry

    def of(self, tenant: str) -> list[Entry]:
        return [entry for entry in self._here.values() if entry.ticket.tenant == tenant]


class Fifo:
    """Serve in order of arrival, whoever asks. The control: one heavy user delays all.

    Unit of fairness: none. Bound: none. Cost: O(log tickets) per step; to
    close a tenant or let it in, O(tickets).
    """

    def __init__(self) -> None:
        self.lanes: dict[Lane, _Line] = {}
        self._shut: dict[str, Container[str]] = {}
        self._aside: dict[str, dict[int, Entry]] = {}
        self._waiting: dict[str, int] = {}
        self._pushed = self._left = 0

    def join(self, entry: Entry) -> None:
        """Nothing to open."""

    def push(self, entry: Entry) -> None:
        """Stand by arrival; a retry before all first attempts."""
        ticket = entry.ticket
        self._waiting[ticket.tenant] = self._waiting.get(ticket.tenant, 0) + 1
        if not entry.retry:
            entry.ordinal = self._pushed
            self._pushed += 1
        if ticket.tenant in self._shut and ticket.model in self._shut[ticket.tenant]:
            self._aside.setdefault(ticket.tenant, {})[entry.place] = entry
        else:
            self._stand(entry)

    def stand(self, entry: Entry) -> None:
        """There is nothing to join but the line."""
        self.push(entry)

    def pick(self, lanes: Collection[Lane]) -> Entry | None:
        """The oldest."""
        heads = [line.first() for lane in lanes if (line := self.lanes.get(lane))]
        return min(heads, key=arrival) if heads else None

    def first(self, lane: Lane) -> Entry | None:
        """The oldest of one lane."""
        line = self.lanes.get(lane)
        return None if line is None else line.first()

    def serve(self, entry: Entry) -> None:
        """It has a seat."""
        self._left += 1
        self.step_out(entry)

    def pass_through(self, entry: Entry) -> None:
        """Nobody waits, so there is no order to keep."""

    def step_out(self, entry: Entry) -> None:
        """Out of line."""
        tenant = entry.ticket.tenant
        self._waiting[tenant] -= 1
        if not self._waiting[tenant]:
            del self._waiting[tenant]
        aside = self._aside.get(tenant)
        if aside and aside.pop(entry.place, None):
            if not aside:
                del self._aside[tenant]
        else:
            self._unstand(entry)
        if not self._waiting:
            self._pushed = self._left = 0

    def leave(self, entry: Entry) -> None:
        """Nothing to close."""

    def adopt(self, entry: Entry) -> None:
        """Nothing to remember of a ticket that runs."""

    def progress(self, entry: Entry, cost: int) -> None:
        """Nothing to charge."""

    def settle(self, entry: Entry, cost: int) -> None:
        """Nothing to charge."""

    def reweigh(self, tenants: Iterable[str] | None = None) -> None:
        """Weights change nothing."""

    def close(self, tenant: str, models: Container[str] | None) -> None:
        """Its tickets keep their places; the pick does not see them."""
        back = self._aside.pop(tenant, {})
        for entry in back.values():
            self._stand(entry)
        self._shut.pop(tenant, None)
        if models is None:
            return
        self._shut[tenant] = models
        out = [
            entry for lane, line in self.lanes.items() if lane.model in models for entry in line.of(tenant)
        ]
        for entry in out:
            self._unstand(entry)
        if out:
            self._aside[tenant] = {entry.place: entry for entry in out}

    def in_line(self, tenant: str) -> int:
        """How many of the tenant's."""
        return self._waiting.get(tenant, 0)

    def ahead(self, entry: Entry, now_ms: int) -> int:
        """How many came before it."""
        return index_of(entry, self._left, sum(self._waiting.values()))

    def newcomer(self, tenant: str, now_ms: int) -> int:
        """All who wait."""
        return sum(self._waiting.values())

    def rivals(self, entry: Entry) -> int:
        """How many other tenants wait."""
        return len(self._waiting) - 1

    def _stand(self, entry: Entry) -> None:
        line = self.lanes.get(entry.lane)
        if line is None:
            line = self.lanes[entry.lane] = _Line()
        line.add(entry)

    def _unstand(self, entry: Entry) -> None:
        line = self.lanes[entry.lane]
        line.remove(entry)
        if not len(line):
            del self.lanes[entry.lane]


def arrival(entry: Entry) -> int:
    """The key that orders tickets by arrival, retries first."""
    return entry.place


def head(line: OrderedDict[int, Entry]) -> Entry:
    """The ticket that leaves this line first."""
    return next(iter(line.values()))


def index_of(entry: Entry, left: int, waiting: int) -> int:
    """About how many stand before the ticket in its own line."""
    if entry.retry:
        return 0
    return max(0, min(entry.ordinal - left, waiting - 1))
