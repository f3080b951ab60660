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

Item = tuple[int, int, Due, Entry | None]


class Timers:
    """A heap of instants. A ticket that has left keeps its entry until it is swept."""

    __slots__ = ("_heap", "_new", "_sweep_at", "_sweep_new_at", "due_ms")

    def __init__(self) -> None:
        self.due_ms = NEVER_MS  # when something may fall due: asked at every input
        self._heap: list[Item] = []
        self._sweep_at = SLACK
        self._new: list[tuple[Entry, int | None]] = []  # watched, and not in the heap yet: most leave before
        self._sweep_new_at = SLACK

    def watch(self, entry: Entry, max_wait_ms: int | None) -> None:
        """Remember when the ticket expires and when it is promoted."""
        ticket = entry.ticket
        deadline_ms = ticket.deadline_ms
        if max_wait_ms is not None:
            self.due_ms = min(self.due_ms, ticket.queued_ms + max_wait_ms)
        elif deadline_ms is None:
            return
        if deadline_ms is not None and deadline_ms < self.due_ms:
            self.due_ms = deadline_ms
        new = self._new
        new.append((entry, max_wait_ms))
        if len(new) > self._sweep_new_at:
            self._new = new = [kept for kept in new if kept[0].waiting]
            self._sweep_new_at = 2 * len(new) + SLACK

    def unpark_at(self, entry: Entry, at_ms: int) -> None:
        """Remember when the ticket's allowance comes."""
        self._push((at_ms, entry.place, Due.UNPARK, entry))

    def look_at(self, at_ms: int) -> None:
        """Remember that a throttled backend's pause ends then, or a boost."""
        self._push((at_ms, 0, Due.LOOK, None))

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()
        self._new.clear()
        self.due_ms = NEVER_MS

    def next_ms(self) -> int | None:
        """The next instant at which something may fall due."""
        self._take_new()
        return self._heap[0][0] if self._heap else None

    def due(self, now_ms: int) -> Iterator[tuple[Due, Entry]]:
        """Every waiting ticket with something due by now."""
        self._take_new()
        while self.due_ms <= now_ms:
            _, _, what, entry = heappop(self._heap)
            self.due_ms = self._heap[0][0] if self._heap else NEVER_MS
            if entry is not None and entry.waiting:
                yield what, entry

    def _take_new(self) -> None:
        """Into the heap with whom is still there; ``due_ms`` is what is in it from then on."""
        new, self._new = self._new, []
        for entry, max_wait_ms in new:
            if entry.waiting:
                ticket = entry.ticket
                if ticket.deadline_ms is not None:
                    self._push((ticket.deadline_ms, entry.place, EXPIRE, entry))
                if max_wait_ms is not None:
                    self._push((ticket.queued_ms + max_wait_ms, entry.place, PROMOTE, entry))
        self.due_ms = self._heap[0][0] if self._heap else NEVER_MS

    def _push(self, item: Item) -> None:
        heap = self._heap
        heappush(heap, item)
        if item[0] < self.due_ms:
            self.due_ms = item[0]
        if len(heap) > self._sweep_at:
            self._heap = [kept for kept in self._heap if kept[3] is None or kept[3].waiting]
            heapify(self._heap)
            self._sweep_at = 2 * len(self._heap) + SLACK
