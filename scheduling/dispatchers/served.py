"""Who was served how much lately: cost tokens settled over sliding windows."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

MINUTE_S = 60
FIVE_MINUTES_S = 300

Key = tuple[str, str]  # pool, tenant


class _Window:
    """Sums by key over the last ``seconds``, in buckets of one second.

    Adding and ageing cost O(1) per settled request; reading costs nothing.
    """

    __slots__ = ("_buckets", "_seconds", "totals")

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._buckets: deque[tuple[int, dict[Key, int]]] = deque()
        self.totals: dict[Key, int] = {}

    def add(self, key: Key, tokens: int, now_s: int) -> None:
        buckets = self._buckets
        if not buckets or buckets[-1][0] != now_s:
            self.age(now_s)
            buckets.append((now_s, {}))
        bucket = buckets[-1][1]
        bucket[key] = bucket.get(key, 0) + tokens
        self.totals[key] = self.totals.get(key, 0) + tokens

    def age(self, now_s: int) -> None:
        while self._buckets and self._buckets[0][0] <= now_s - self._seconds:
            for key, tokens in self._buckets.popleft()[1].items():
                left = self.totals[key] - tokens
                if left:
                    self.totals[key] = left
                else:
                    del self.totals[key]


class Served:
    """Cost tokens per pool and tenant over the last minute and the last five."""

    def __init__(self) -> None:
        self._minute = _Window(MINUTE_S)
        self._five_minutes = _Window(FIVE_MINUTES_S)

    def add(self, pool: str, tenant: str, tokens: int, now_ms: int) -> None:
        """A request ended that cost so much."""
        if tokens:
            self._minute.add((pool, tenant), tokens, now_ms // 1000)
            self._five_minutes.add((pool, tenant), tokens, now_ms // 1000)

    def totals(self, now_ms: int) -> Mapping[Key, tuple[int, int]]:
        """(pool, tenant) to tokens of the last minute and of the last five."""
        self._minute.age(now_ms // 1000)
        self._five_minutes.age(now_ms // 1000)
        minute = self._minute.totals
        return {key: (minute.get(key, 0), tokens) for key, tokens in self._five_minutes.totals.items()}
