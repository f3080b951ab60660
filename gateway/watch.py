"""One timer that guards all answers under way."""

from __future__ import annotations

import asyncio
from typing import Protocol

CHECKS = 16  # per shortest patience, so a silent engine is noticed at most an eighth late
MAX_EVERY_S = 1.0
MIN_EVERY_S = 0.01


class Guarded(Protocol):
    """What is looked in on."""

    def check(self, now_s: float) -> None:
        """Give up what has been silent for too long."""


class Watch:
    """Looks in on every connection a few times within the shortest patience.

    A timer for each answer, moved at each chunk, would cost more than the
    chunk. It runs only while there are connections.
    """

    def __init__(self, patience_s: float) -> None:
        self._every_s = min(MAX_EVERY_S, max(MIN_EVERY_S, patience_s / CHECKS))
        self._guarded: set[Guarded] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, guarded: Guarded) -> None:
        """Look in on it from now on."""
        self._guarded.add(guarded)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self._look)

    def forget(self, guarded: Guarded) -> None:
        """It is gone."""
        self._guarded.discard(guarded)

    def stop(self) -> None:
        """Guard nothing any more."""
        self._guarded.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        for each in tuple(self._guarded):
            each.check(loop.time())
        if self._guarded:
            self._timer = loop.call_later(self._every_s, self._look)
