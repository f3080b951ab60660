"""A retry budget for each tenant: when much fails, retries must not become most of what is asked.

Source: Beyer, Jones, Petoff, Murphy (editors), "Site Reliability Engineering",
O'Reilly 2016, chapter 21, "Handling Overload": a budget of retries per client,
as a ratio of its requests. SDKs say with ``x-stainless-retry-count`` that a
request is a retry; one that says nothing counts as a first try.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from time import monotonic

from gateway.own.errors import RetryBudgetExhausted

HEADER = b"x-stainless-retry-count"
MAX_DIGITS = 9  # of a count that is read
SLOTS = 6  # that a window is moved on by
WINDOW_S = 60.0
SLOT_S = WINDOW_S / SLOTS
STEP_MS = 20_000  # of the wait that is asked for, by how often the request was tried again
LONGEST_MS = 48_000  # with its jitter a minute: longer waits are ignored by SDKs, which then come at once


class _Window:
    """One tenant's first tries and retries of the last minute, by slots of ten seconds."""

    __slots__ = ("_firsts", "_retries", "_slot", "ends_s", "firsts", "retries")

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self._firsts = [0] * SLOTS  # of the slots that have ended
        self._retries = [0] * SLOTS
        self.firsts = self.retries = 0  # of all, the one that goes on too
        self.ends_s = (slot + 1) * SLOT_S  # that one

    def move_to(self, slot: int) -> None:
        """Forget what is older than a minute. Slots are numbered on and on."""
        place = self._slot % SLOTS
        self._firsts[place] = self.firsts - sum(self._firsts)
        self._retries[place] = self.retries - sum(self._retries)
        for each in range(max(self._slot, slot - SLOTS) + 1, slot + 1):
            place = each % SLOTS
            self.firsts -= self._firsts[place]
            self.retries -= self._retries[place]
            self._firsts[place] = self._retries[place] = 0
        self._slot = slot
        self.ends_s = (slot + 1) * SLOT_S


class Retries:
    """Lets a tenant's retries of a minute be ``ratio`` of its first tries, and ``floor`` besides.

    Refused ones do not count, so who waits is let in again. In the first
    minute of a process every retry is let in: clients whose requests ended
    with the process before come back then, and nothing is known of them.
    """

    def __init__(self, ratio: float, floor: int, now_s: Callable[[], float] = monotonic) -> None:
        self._ratio = ratio
        self._floor = floor
        self._now_s = now_s
        self._began_s = now_s()
        self._windows: dict[str, _Window] = {}
        self.verdicts: Counter[str] = Counter()  # "admitted" and "refused", of retries

    def check(self, tenant: str, tries: int) -> None:
        """Count a request that was tried so often before.

        Raises RetryBudgetExhausted when it is one retry too many.
        """
        clock = self._now_s  # called as a method it would be looked for in the class first
        now_s = clock()
        window = self._windows.get(tenant)
        if window is None:
            window = self._windows[tenant] = _Window(int(now_s / SLOT_S))
        elif now_s >= window.ends_s:
            window.move_to(int(now_s / SLOT_S))
        if not tries:
            window.firsts += 1
            return
        allowed = self._floor + self._ratio * window.firsts
        if window.retries + 1 > allowed and now_s - self._began_s >= WINDOW_S:
            self.verdicts["refused"] += 1
            raise RetryBudgetExhausted(retry_after_ms=min(LONGEST_MS, STEP_MS * tries))
        self.verdicts["admitted"] += 1
        window.retries += 1


def retry_count(headers: Mapping[bytes, bytes]) -> int:
    """How often the client has tried before: 0 for a first try, and for what is no number."""
    text = headers.get(HEADER, b"")
    return int(text) if text.isdigit() and len(text) < MAX_DIGITS else 0
