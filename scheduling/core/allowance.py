"""A minute's allowance of one quota: what may come now, and when the rest may.

The generic cell rate algorithm (ITU-T I.371): one number, the time at which
the allowance would be whole again, in integer microseconds. A whole minute's
worth may come at once. Pure: ``now_us`` comes in.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from itertools import accumulate, pairwise

MINUTE_US = 60_000_000
SPARE_MARKS = 64  # marks that no place in use needs are dropped when there are so many more than needed


def width_us(amount: int, per_minute: int) -> int:
    """How long ``amount`` takes to come back: at least a microsecond, so nothing is for free."""
    return amount * MINUTE_US // per_minute or 1


class Allowance:
    """What is left of a minute, with refunds that leave no trace.

    What is taken is taken at a place, under which a part can be returned
    while the place is in use; who makes the places says which are. A return
    is worth what is still felt of the taking: idle time since then has
    brought it back already, and nobody may have it twice. What is still felt
    is the smallest backlog that later takes have met. Those are kept as a
    stack of marks, rising from bottom to top, and only as many as there are
    places in use that can tell them apart. A mark says by how much it is
    above the one below, so that a return changes one and not all above it.
    """

    __slots__ = ("_in_use", "_places", "_rises_us", "_top_us", "_whole_at_place", "whole_at_us")

    def __init__(self, in_use: Collection[int]) -> None:
        self.whole_at_us = 0
        self._in_use = in_use  # places
        self._whole_at_place = 0  # the latest that met no backlog at all
        self._places: list[int] = []
        self._rises_us: list[int] = []
        self._top_us = 0  # the sum of all rises

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

    def take(self, place: int, need_us: int, now_us: int) -> int:
        """Book so much, also ahead of its time: how long until the allowance is whole with it.

        Places rise from one to the next.
        """
        backlog_us = self.whole_at_us - now_us
        if backlog_us <= 0:
            self.whole_at_us = now_us + need_us
            self._whole_at_place = place
            if self._places:
                self._places.clear()
                self._rises_us.clear()
                self._top_us = 0
            return need_us
        places = self._places
        self.whole_at_us += need_us
        if places and backlog_us <= self._top_us:
            self._drop_from(backlog_us)
        places.append(place)
        self._rises_us.append(backlog_us - self._top_us)
        self._top_us = backlog_us
        if len(places) > SPARE_MARKS and len(places) > 2 * len(self._in_use) + SPARE_MARKS:
            self._tidy()
        return backlog_us + need_us

    def give_back(self, place: int, part_us: int) -> None:
        """Return a part of what was taken at ``place``, as if it had never been taken."""
        if place < self._whole_at_place:
            return
        places, rises_us = self._places, self._rises_us
        if not places or places[-1] <= place:
            self.whole_at_us -= part_us
            return
        first = bisect_right(places, place)
        part_us = min(part_us, sum(rises_us[: first + 1]))
        self.whole_at_us -= part_us
        self._top_us -= part_us
        rises_us[first] -= part_us
        while first and rises_us[first] <= 0:  # the one below is no lower, so it says nothing
            first -= 1
            rises_us[first] += rises_us.pop(first + 1)
            del places[first]

    def seed(self, used_us: int, now_us: int) -> None:
        """So much at least was taken within the last minute."""
        self.whole_at_us = max(self.whole_at_us, now_us + min(used_us, MINUTE_US))

    def _tidy(self) -> None:
        """Of the marks between two places in use, the lowest is the one that counts."""
        firsts = {bisect_right(self._places, place) for place in self._in_use}
        kept = sorted(firsts - {len(self._places)})
        lows_us = list(accumulate(self._rises_us))
        self._top_us = lows_us[kept[-1]] if kept else 0
        self._rises_us = [above - below for below, above in pairwise([0, *(lows_us[n] for n in kept)])]
        self._places = [self._places[n] for n in kept]

    def _drop_from(self, low_us: int) -> None:
        places, rises_us, top_us = self._places, self._rises_us, self._top_us
        while places and top_us >= low_us:
            top_us -= rises_us.pop()
            places.pop()
        self._top_us = top_us
