"""A minute's allowance of one quota: what may come now, and when the rest may.

The generic cell rate algorithm (ITU-T I.371): one number, the time at which
the allowance would be whole again, in integer microseconds. A whole minute's
worth may come at once. Pure: ``now_us`` comes in.
"""

from __future__ import annotations

from bisect import bisect_right

MINUTE_US = 60_000_000
SPARE_MARKS = 64  # marks that no place in use needs are dropped when there are so many more than needed


def width_us(amount: int, per_minute: int) -> int:
    """How long ``amount`` takes to come back: at least a microsecond, so nothing is for free."""
    return max(1, amount * MINUTE_US // per_minute)


class Allowance:
    """What is left of a minute, with refunds that leave no trace.

    ``take`` returns a place, under which a part can be returned until
    ``release``. A return is worth what is still felt of the taking: idle
    time since then has brought it back already, and nobody may have it
    twice. What is still felt is the smallest backlog that later takes have
    met. Those are kept as a stack of marks, rising from bottom to top, and
    only as many as there are places in use that can tell them apart.
    """

    __slots__ = ("_in_use", "_lows_us", "_places", "_taken", "whole_at_us")

    def __init__(self) -> None:
        self.whole_at_us = 0
        self._taken = 0
        self._in_use: dict[int, None] = {}  # places in rising order
        self._places: list[int] = []
        self._lows_us: list[int] = []

    def backlog_us(self, now_us: int) -> int:
        """How long until the allowance is whole."""
        left_us = self.whole_at_us - now_us
        return left_us if left_us > 0 else 0

    def wait_us(self, need_us: int, now_us: int) -> int:
        """How long until there is room for so much; 0: now.

        A request larger than the whole minute gets its turn when the
        allowance is whole, alone; what it took too much is a debt that the
        later ones wait for. It would wait for ever otherwise.
        """
        late_us = self.whole_at_us - now_us + min(need_us, MINUTE_US) - MINUTE_US
        return late_us if late_us > 0 else 0

    def take(self, need_us: int, now_us: int) -> int:
        """Book so much, also ahead of its time, and return its place."""
        self.charge(need_us, now_us)
        self._in_use[self._taken] = None
        return self._taken

    def charge(self, need_us: int, now_us: int) -> None:
        """Book so much for good."""
        backlog_us = self.whole_at_us - now_us
        if backlog_us < 0:
            backlog_us = 0
        self._taken += 1
        if self._lows_us:
            self._drop_from(backlog_us)
        self._places.append(self._taken)
        self._lows_us.append(backlog_us)
        self.whole_at_us = now_us + backlog_us + need_us
        if len(self._places) > 2 * len(self._in_use) + SPARE_MARKS:
            self._tidy()

    def give_back(self, place: int, part_us: int) -> None:
        """Return a part of what was taken at ``place``, as if it had never been taken."""
        first = bisect_right(self._places, place)
        if first == len(self._places):
            self.whole_at_us -= part_us
            return
        part_us = min(part_us, self._lows_us[first])
        self.whole_at_us -= part_us
        later_us = [low_us - part_us for low_us in self._lows_us[first:]]
        del self._lows_us[first:]
        later_places = self._places[first:]
        del self._places[first:]
        self._drop_from(later_us[0])
        self._places += later_places
        self._lows_us += later_us

    def release(self, place: int) -> None:
        """Nothing of this place will be returned any more."""
        self._in_use.pop(place, None)

    def seed(self, used_us: int, now_us: int) -> None:
        """So much at least was taken within the last minute."""
        self.whole_at_us = max(self.whole_at_us, now_us + min(used_us, MINUTE_US))

    def _tidy(self) -> None:
        """Of the marks between two places in use, the lowest is the one that counts."""
        firsts = {bisect_right(self._places, place) for place in self._in_use}
        kept = sorted(firsts - {len(self._places)})
        self._places, self._lows_us = (
            [self._places[n] for n in kept],
            [self._lows_us[n] for n in kept],
        )

    def _drop_from(self, low_us: int) -> None:
        while self._lows_us and self._lows_us[-1] >= low_us:
            self._lows_us.pop()
            self._places.pop()
