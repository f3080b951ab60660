"""One timer that guards all answers under way."""

from __future__ import annotations

import asyncio

from gateway.failures import TooLong
from gateway.reply import Reply

CHECKS = 8  # per shortest patience, so a silent engine is noticed at most an eighth late
MAX_EVERY_S = 1.0
MIN_EVERY_S = 0.01


class Watch:
    """Looks in on every answer a few times within the shortest patience.

    A timer for each answer, moved at each chunk, would cost more than the
    chunk. It runs only while there are answers. One that takes longer than
    ``answer_s`` is ended at most two looks late; 0: none is.
    """

    def __init__(self, patience_s: float, answer_s: float = 0.0) -> None:
        shortest_s = min(patience_s, answer_s or patience_s)
        self._every_s = min(MAX_EVERY_S, max(MIN_EVERY_S, shortest_s / CHECKS))
        self._answer_s = answer_s
        self._seen_s: dict[Reply, float] = {}  # since when; most answers end before they are seen once
        self.replies: set[Reply] = set()  # that it looks in on
        self._timer: asyncio.TimerHandle | None = None

    def add(self, reply: Reply) -> None:
        """Guard an answer, until it is none of ``replies`` any more."""
        self.replies.add(reply)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self._look)

    def stop(self) -> None:
        """Guard nothing any more."""
        self.replies.clear()
        self._seen_s.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for reply in tuple(self.replies):
            reply.check(now)
        if self._answer_s:
            self._end_long(now)
        if self.replies:
            self._timer = loop.call_later(self._every_s, self._look)

    def _end_long(self, now: float) -> None:
        seen = self._seen_s
        self._seen_s = {reply: seen.get(reply, now) for reply in self.replies}
        for reply, since_s in self._seen_s.items():
            if now - since_s >= self._answer_s:
                reply.give_up(TooLong())
