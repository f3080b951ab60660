"""The order among requests that are inside engines, for engines that can keep one."""

from __future__ import annotations

from heapq import heappop, heappush

from scheduling.core.entry import Entry
from scheduling.core.levels import MILLI

RANK = 1 << 50  # a better class goes first whatever the tags are: they stay below this
SLACK = 64  # tenants that owe nothing are swept when they outnumber the others


class EngineOrder:
    """Start-time fair tags over what was dispatched and has no first token yet.

    A request's tag is where its tenant's service begins: the end of the one
    before, or now if that has passed, where now is the least tag of those
    without a first token (while there is none, the largest so far). The
    tenant's next begins later by the cost over the weight. The order is the
    class's rank, then the tag in whole cost tokens per weight; low goes first.

    An order once sent cannot be recalled: another weight holds for later
    requests only, and nothing is settled when the real cost is known. That is
    what an engine's own queue cannot do and the line in front of it can.

    Unit: milli-tokens per unit of weight. Cost: O(log requests) per step.
    Source: Goyal, Vin, Cheng, "Start-time Fair Queueing", SIGCOMM 1996.
    """

    def __init__(self) -> None:
        self._now = 0
        self._ends: dict[str, int] = {}  # by tenant: where its next begins, unless that has passed
        self._inside: set[Entry] = set()
        self._silent: set[Entry] = set()  # of them, who has no first token yet
        self._heap: list[tuple[int, int, Entry]] = []  # the silent by tag; others are dropped at the top
        self._seats = 0
        self._sweep_at = SLACK

    def seat(self, entry: Entry, weight: int) -> int:
        """The request goes to an engine: its order."""
        tenant = entry.ticket.tenant
        tag = max(self._ends.get(tenant, 0), self._now)
        self._ends[tenant] = tag + (entry.cost * MILLI // weight or 1)
        self._inside.add(entry)
        self._silent.add(entry)
        self._seats += 1
        heappush(self._heap, (tag, self._seats, entry))
        self._advance()
        return entry.band.rule.rank * RANK + tag // MILLI

    def started(self, entry: Entry) -> None:
        """Its first token came: it waits in the engine's queue no more."""
        if entry in self._silent:
            self._silent.remove(entry)
            self._advance()

    def finish(self, entry: Entry) -> None:
        """It is over. When nobody is inside any more, all is forgotten."""
        if entry not in self._inside:
            return  # it went in before orders were sent
        self.started(entry)
        self._inside.remove(entry)
        if not self._inside:
            self._ends = {}
            self._now = 0

    def _advance(self) -> None:
        heap = self._heap
        while heap:
            self._now, _, entry = heap[0]
            if entry in self._silent:
                break
            heappop(heap)
        if len(self._ends) > self._sweep_at:
            self._ends = {tenant: end for tenant, end in self._ends.items() if end > self._now}
            self._sweep_at = 2 * len(self._ends) + SLACK
