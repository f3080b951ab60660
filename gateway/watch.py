"""One timer that guards all answers under way."""

from __future__ import annotations

import asyncio

from gateway.reply import Reply

CHECKS = 8  # per shortest patience, so a silent engine is noticed at most an eighth late
MAX_EVERY_S = 1.0
MIN_EVERY_S = 0.01


class Watch:
    """Looks in on every answer a few times within the shortest patience.

    A timer for each answer, moved at each chunk, would cost more than the
    chunk. It runs only while there are answers.
    """

    def __init__(self, patience_s: float) -> None:
        self._every_s = min(MAX_EVERY_S, max(MIN_EVERY_S, patience_s / CHECKS))
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
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        for reply in tuple(self.replies):
            reply.check(loop.time())
        if self.replies:
            self._timer = loop.call_later(self._every_s, self._look)
