"""How fast a pool seats requests, and how good the waits are that were foretold from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

REMEMBER = 64  # seats: a few seconds of a busy pool, a minute of a slow one
FORGET_MS = 60_000  # seats longer ago say nothing about now
SMOOTH = 16  # foretold waits that count in the mean error


class Pace:
    """The latest seats of a pool, and the error of what was foretold. O(1) per seat."""

    __slots__ = ("_errors", "_mean_error_ms", "_seats", "seated")

    seated: Callable[[int], None]
    """A request was seated at this time (ms)."""

    def __init__(self) -> None:
        self._seats: deque[int] = deque(maxlen=REMEMBER)
        self.seated = self._seats.append
        self._mean_error_ms = 0
        self._errors = 0

    def wait_ms(self, position: int, now_ms: int) -> int | None:
        """How long until ``position`` requests are seated, at the pace of late; None when none is known."""
        seats = self._seats
        while seats and now_ms - seats[0] > FORGET_MS:
            seats.popleft()
        if len(seats) < 2:
            return None
        return position * max(1, now_ms - seats[0]) // len(seats)

    def learn(self, foretold_ms: int, waited_ms: int) -> None:
        """A wait that was foretold has ended."""
        error = abs(waited_ms - foretold_ms)
        self._errors = min(SMOOTH, self._errors + 1)
        self._mean_error_ms += (error - self._mean_error_ms) // self._errors

    @property
    def error_ms(self) -> int | None:
        """By how much the latest foretold waits were wrong, on average."""
        return self._mean_error_ms if self._errors else None
