"""How often one API token may look at its own: polling must not hurt those who work."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from gateway.own.errors import AskedTooOften

BURST_S = 1.0  # a second's worth may come at once
TIDY_AT = 4096  # API tokens


class StatusRate:
    """A bucket for each API token that asked lately. A refused look costs the API token nothing."""

    def __init__(self, per_s: float, now_s: Callable[[], float] = monotonic) -> None:
        self._every_s = 1 / per_s
        self._burst_s = max(BURST_S, self._every_s)
        self._now_s = now_s
        self._whole_at_s: dict[int, float] = {}
        self._tidy_at = TIDY_AT

    def ask(self, token_id: int) -> None:
        """Take one look. Raises AskedTooOften."""
        now_s = self._now_s()
        whole_at_s = max(now_s, self._whole_at_s.get(token_id, 0.0)) + self._every_s
        over_s = whole_at_s - now_s - self._burst_s
        if over_s > 1e-9:  # of adding up
            raise AskedTooOften(
                f"An API token may ask for its queue, requests, limits and usage {1 / self._every_s:g} times"
                " a second.",
                retry_after_ms=int(over_s * 1000) + 1,
            )
        self._whole_at_s[token_id] = whole_at_s
        if len(self._whole_at_s) > self._tidy_at:
            self._whole_at_s = {each: at_s for each, at_s in self._whole_at_s.items() if at_s > now_s}
            self._tidy_at = 2 * len(self._whole_at_s) + TIDY_AT
