"""The way between the gateway and the engines, and how long things are on it."""

from __future__ import annotations

from collections.abc import Callable

Arrived = Callable[[float], None]  # called with the time, in milliseconds


class Wire:
    """What is sent arrives ``delay_ms`` later, in the order of sending; at once when that is 0."""

    def __init__(self, delay_ms: float, note: Callable[[float, Arrived], None]) -> None:
        self.delay_ms = delay_ms
        self._note = note

    def send(self, arrived: Arrived, now_ms: float) -> None:
        """Call ``arrived`` at the other end."""
        if self.delay_ms:
            self._note(now_ms + self.delay_ms, arrived)
        else:
            arrived(now_ms)
