"""What falls due by itself: deadlines, promotions, allowances, ends of pauses and boosts."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from heapq import heapify, heappop, heappush

from scheduling.core.entry import Entry

SLACK = 64  # entries of tickets that have left are swept when they outnumber the living


NEVER_MS = 1 << 62


class Due(IntEnum):
    """What happens; at the same instant, in this order."""

    EXPIRE = 0
    PROMOTE = 1
    UNPARK = 2
    LOOK = 3  # a throttled backend's pause ends, or a boost


EXPIRE, PROMOTE = Due.EXPIRE, Due.PROMOTE  # looked up once: an enum's members are slow to reach


class Timers:
    """A heap of instants. A ticket that has left keeps its entry until it is swept."""

    __slots__ = ("_heap", "_sweep_at", "due_ms")

    def __init__(self) -> None:
        self.due_ms = NEVER_MS  # when something may fall due: asked at every input
        self._heap: list[tuple[int, int, Due, Entry | None]] = []
        self._sweep_at = SLACK

    def watch(self, entry: Entry, max_wait_ms: int | None) -> None:
        """Remember when the ticket expires and when it is promoted."""
        ticket = entry.ticket
        if ticket.deadline_ms is not None:
            self._push((ticket.deadline_ms, entry.place, EXPIRE, entry))
        if max_wait_ms is not None:
            self._push((ticket.queued_ms + max_wait_ms, entry.place, PROMOTE, entry))

    def unpark_at(self, entry: Entry, at_ms: int) -> None:
        """Remember when the ticket's allowance comes."""
        self._push((at_ms, entry.place, Due.UNPARK, entry))

    def look_at(self, at_ms: int) -> None:
        """Remember that a throttled backend's pause ends then, or a boost."""
        self._push((at_ms, 0, Due.LOOK, None))

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()
        self.due_ms = NEVER_MS

    def next_ms(self) -> int | None:
        """The next instant at which something may fall due."""
        return self._heap[0][0] if self._heap else None

    def due(self, now_ms: int) -> Iterator[tuple[Due, Entry]]:
        """Every waiting ticket with something due by now."""
        while self.due_ms <= now_ms:
            _, _, what, entry = heappop(self._heap)
            self.due_ms = self._heap[0][0] if self._heap else NEVER_MS
            if entry is not None and entry.waiting:
                yield what, entry

    def _push(self, item: tuple[int, int, Due, Entry | None]) -> None:
        heap = self._heap
        heappush(heap, item)
        if item[0] < self.due_ms:
            self.due_ms = item[0]
        if len(heap) > self._sweep_at:
            self._heap = [kept for kept in self._heap if kept[3] is None or kept[3].waiting]
            heapify(self._heap)
            self.due_ms = self._heap[0][0]
            self._sweep_at = 2 * len(self._heap) + SLACK
