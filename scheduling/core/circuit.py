"""Whether a backend can be reached at all, learnt from what became of its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduling.core.timers import NEVER_MS

if TYPE_CHECKING:
    from scheduling.core.entry import Entry

FAILURES_TO_OPEN = 3  # in a row: one broken connection is no outage
FIRST_BACK_OFF_MS = 1000
LONGEST_BACK_OFF_MS = 30_000


class Circuit:
    """Closed: all may go. Open: nobody, for a while. Half-open: one request at a time tries.

    Three failures in a row open it, or a probe that says that nobody answers
    there. It is left alone for 1 s, and after every try that fails for twice
    as long, up to 30 s. Then one request tries: if it is served the circuit
    closes. A probe that finds the backend again lets one try at once.

    A probe is obeyed when it changes its mind. While it repeats itself the
    requests know better: one that is served closes the circuit whatever the
    probe says, and where requests fail an answer to the probe shortens no
    back-off. So it is never open for ever.

    Source: Nygard, "Release It!", 2007, chapter 5.
    """

    __slots__ = ("_back_off_ms", "_trial", "_until_ms", "failures", "is_closed")

    # As it opened last.
    _back_off_ms: int
    _until_ms: int

    def __init__(self) -> None:
        self.is_closed = True
        self.failures = 0  # in a row, as long as it is closed
        self._trial: Entry | None = None

    @property
    def shut_until_ms(self) -> int:
        """When it next lets somebody in; ``NEVER_MS`` while a try is under way."""
        if self.is_closed:
            return 0
        return NEVER_MS if self._trial else self._until_ms

    def state(self, now_ms: int) -> str:
        """``closed``, ``open`` or ``half_open``."""
        if self.is_closed:
            return "closed"
        return "half_open" if now_ms >= self._until_ms else "open"

    def retry_in_ms(self, now_ms: int) -> int | None:
        """How much longer it is left alone; None when it is not open."""
        return self._until_ms - now_ms if self.state(now_ms) == "open" else None

    def fail(self, now_ms: int, entry: Entry | None = None) -> None:
        """A request could not reach the backend. Who failed late, sent before it opened, says nothing new.

        While one tries, a failure of which nobody says whose it is is its own.
        """
        if self.is_closed:
            self.failures += 1
            if self.failures >= FAILURES_TO_OPEN:
                self.open(now_ms)
        elif self._trial and (entry is None or entry is self._trial):
            self._open_for(min(2 * self._back_off_ms, LONGEST_BACK_OFF_MS), now_ms)

    def open(self, now_ms: int) -> None:
        """Nobody answers there. It stays as it is unless it was closed."""
        if self.is_closed:
            self._open_for(FIRST_BACK_OFF_MS, now_ms)

    def half_open(self, now_ms: int) -> None:
        """Somebody answers there again: one may try now."""
        self._until_ms = now_ms

    def seat(self, entry: Entry) -> None:
        """A request goes in; unless it is closed, to try."""
        if not self.is_closed:
            self._trial = entry

    def succeed(self, entry: Entry) -> bool:
        """A request was served. Whether that closed the circuit."""
        self.failures = 0
        if entry is not self._trial:
            return False
        self.is_closed = True
        self._trial = None
        return True

    def leave(self, entry: Entry) -> None:
        """A request ended. If it was the try and nothing came of it, the next one tries."""
        if entry is self._trial:
            self._trial = None

    def _open_for(self, back_off_ms: int, now_ms: int) -> None:
        self.is_closed = False
        self._trial = None
        self._back_off_ms = back_off_ms
        self._until_ms = now_ms + back_off_ms
