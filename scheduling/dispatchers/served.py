"""Who was served how much lately: cost tokens settled over sliding windows."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

MINUTE_S = 60
FIVE_MINUTES_S = 300

Key = tuple[str, str, str]  # pool, tenant, class


class _Window:
    """Sums by key over the last ``seconds``, in buckets of at most one second."""

    __slots__ = ("_buckets", "_seconds", "totals")

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._buckets: deque[tuple[int, dict[Key, int]]] = deque()
        self.totals: dict[Key, int] = {}

    def add(self, bucket: dict[Key, int], at_s: int) -> None:
        self._buckets.append((at_s, bucket))
        totals = self.totals
        for key, tokens in bucket.items():
            totals[key] = totals.get(key, 0) + tokens

    def age(self, now_s: int) -> None:
        while self._buckets and self._buckets[0][0] <= now_s - self._seconds:
            for key, tokens in self._buckets.popleft()[1].items():
                left = self.totals[key] - tokens
                if left:
                    self.totals[key] = left
                else:
                    del self.totals[key]


class Served:
    """Cost tokens per pool, tenant and class over the last minute and the last five.

    A request is added to the second under way; the windows hear of a second
    when it is over, or when somebody looks.
    """

    def __init__(self) -> None:
        self._windows = self._minute, self._five_minutes = _Window(MINUTE_S), _Window(FIVE_MINUTES_S)
        self._second: dict[Key, int] = {}
        self._second_s = 0

    def add(self, pool: str, tenant: str, priority_class: str, tokens: int, now_ms: int) -> None:
        """A request ended that cost so much."""
        if tokens:
            if now_ms // 1000 != self._second_s:
                self._go_to(now_ms // 1000)
            second, key = self._second, (pool, tenant, priority_class)
            second[key] = second.get(key, 0) + tokens

    def totals(self, now_ms: int) -> Mapping[Key, tuple[int, int]]:
        """(pool, tenant, class) to tokens of the last minute and of the last five."""
        self._go_to(now_ms // 1000)
        minute = self._minute.totals
        return {key: (minute.get(key, 0), tokens) for key, tokens in self._five_minutes.totals.items()}

    def _go_to(self, now_s: int) -> None:
        for window in self._windows:
            if self._second:
                window.add(self._second, self._second_s)
            window.age(now_s)
        self._second, self._second_s = {}, now_s
