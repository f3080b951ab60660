"""Weighted start-time fair queueing among the names of one level."""

from __future__ import annotations

from collections import OrderedDict
from heapq import heapify, heappop, heappush, heapreplace

from scheduling.core.entry import Entry, Lane
from scheduling.core.position import Curve

MILLI = 1000  # milli-tokens per cost token: weight 1000 still moves the counter by whole steps
LAG_LIMIT = 500_000 * MILLI  # how much service a name may catch up after its model was shut
SLACK = 64  # stale index entries a heap may hold before it is worth sweeping


class Share:
    """One name's account: ``finish`` is where its next ticket starts.

    ``wakes`` counts how often the name began to wait, and ``lead`` is how
    far ahead of the level it then was: all that a ticket served before may
    still give back, because the rest was forgotten. ``keys`` holds
    the key under which each lane's heap knows the name; being there means
    that it has tickets waiting in that lane. ``aside`` has those lanes
    instead while the name is passed over, and is None otherwise. ``held``
    counts tickets that wait or run.
    """

    __slots__ = (
        "aside",
        "finish",
        "held",
        "inner",
        "keys",
        "lead",
        "left",
        "lines",
        "name",
        "parked",
        "waiting",
        "waiting_cost",
        "wakes",
        "weight",
    )

    inner: Level  # a tenant's users

    def __init__(self, name: str, weight: int, now: int) -> None:
        self.name = name
        self.weight = weight
        self.finish = now
        self.lead = 0
        self.wakes = 0
        self.held = 0
        self.parked: int | None = None
        self.aside: set[Lane] | None = None
        self.keys: dict[Lane, int] = {}
        self.lines: dict[Lane, OrderedDict[int, Entry]] = {}  # a user's tickets, by place
        self.waiting = 0
        self.waiting_cost = 0
        self.left = 0  # tickets that ever left the line for a seat


class _Index:
    """The names with work in one lane, by key; entries that no longer hold are swept lazily."""

    __slots__ = ("active", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[int, str]] = []
        self.active = 0


class Level:
    """Serve the waiting name whose next ticket starts earliest.

    ``now`` is the level's virtual time: the start of the latest ticket
    served. A name that comes back starts there: it neither banks credit
    while away nor, when its lead has passed, pays for it. A name is forgotten
    when it holds no ticket and its lead has passed; when nobody holds one,
    all are, and time starts again at zero.

    Unit: milli-tokens per unit of weight. Cost: O(log n) per step.
    Source: Goyal, Vin, Cheng, "Start-time Fair Queueing", SIGCOMM 1996.
    """

    __slots__ = ("_held", "_idle", "_lanes", "now", "shares", "table")

    def __init__(self) -> None:
        self.now = 0
        self.table: tuple[int, Curve] | None = None  # places in line, and when they were reckoned
        self.shares: dict[str, Share] = {}
        self._lanes: dict[Lane, _Index] = {}
        self._idle: list[tuple[int, str]] = []
        self._held = 0

    def add(self, name: str, weight: int) -> Share:
        """Begin an account: its first ticket starts level with the one served last."""
        share = self.shares[name] = Share(name, weight, self.now)
        return share

    def hold(self, share: Share) -> None:
        """Count one more ticket for the name."""
        share.held += 1
        self._held += 1

    def release(self, share: Share) -> None:
        """Count one ticket less; forget what need not be known any more."""
        share.held -= 1
        self._held -= 1
        if not self._held:
            self.shares.clear()  # nobody waits either, so no lane is left
            self._idle.clear()
            self.now = 0
            self.table = None
        elif not share.held:
            if share.finish <= self.now:
                del self.shares[share.name]
            elif share.parked != share.finish:
                share.parked = share.finish
                heappush(self._idle, (share.finish, share.name))

    def enter(self, share: Share, lane: Lane) -> None:
        """The name has its first waiting ticket in this lane."""
        if share.aside is not None:
            share.aside.add(lane)
            return
        if not share.keys:
            share.wakes += 1
            if share.finish < self.now:
                share.finish = self.now
            share.lead = share.finish - self.now
        index = self._lanes.get(lane)
        if index is None:
            index = self._lanes[lane] = _Index()
        index.active += 1
        self._push(index, share, lane)

    def leave(self, share: Share, lane: Lane) -> None:
        """The name has no waiting ticket in this lane any more."""
        if share.aside is not None:
            share.aside.discard(lane)
            return
        del share.keys[lane]
        index = self._lanes[lane]
        index.active -= 1
        if not index.active:
            del self._lanes[lane]

    def pass_over(self, share: Share) -> None:
        """Serve the name no more until ``let_in``, as if it waited for nothing."""
        if share.aside is None:
            lanes = set(share.keys)
            for lane in lanes:
                self.leave(share, lane)
            share.aside = lanes

    def let_in(self, share: Share) -> None:
        """The name waits again, in every lane in which it still has tickets."""
        lanes, share.aside = share.aside, None
        for lane in lanes or ():
            self.enter(share, lane)

    def serves(self, lane: Lane) -> bool:
        """Whether anybody waits in this lane."""
        return lane in self._lanes

    def first(self, lane: Lane) -> Share | None:
        """The name to serve next in this lane; ties go by name."""
        index = self._lanes.get(lane)
        if index is None:
            return None
        heap, shares = index.heap, self.shares
        while True:
            key, name = heap[0]
            share = shares.get(name)
            if share is None or share.keys.get(lane) != key:
                heappop(heap)
            elif share.finish > key:
                share.keys[lane] = share.finish
                heapreplace(heap, (share.finish, name))
            else:
                return share

    def charge(self, share: Share, milli: int) -> None:
        """The name's ticket is served: time moves to its start, its lead grows."""
        start = share.finish
        if start > self.now:
            self.now = start
            self._forget_passed()
        else:
            start = max(start, self.now - LAG_LIMIT)
        share.finish = start + milli

    def move(self, share: Share, milli: int, wakes: int) -> None:
        """Correct the account for a ticket that was served at the given wake.

        What an idle name was forgiven when it came back cannot be given back
        as well: that would be credit.
        """
        if milli < 0 and wakes != share.wakes:
            milli = -min(-milli, share.lead)
            share.lead += milli
        self._set(share, share.finish + milli)

    def reweigh(self, share: Share, weight: int) -> None:
        """Scale the lead, so that the next pick already obeys the new weight."""
        old, share.weight = share.weight, weight
        share.lead = share.lead * old // weight
        self._set(share, self.now + (share.finish - self.now) * old // weight)

    def _set(self, share: Share, finish: int) -> None:
        share.finish = finish
        for lane, key in share.keys.items():
            if finish < key:
                self._push(self._lanes[lane], share, lane)

    def _push(self, index: _Index, share: Share, lane: Lane) -> None:
        share.keys[lane] = share.finish
        heappush(index.heap, (share.finish, share.name))
        if len(index.heap) > 2 * index.active + SLACK:
            shares = self.shares
            index.heap = list(
                {
                    (key, name)
                    for key, name in index.heap
                    if (known := shares.get(name)) and known.keys.get(lane) == key
                }
            )
            heapify(index.heap)

    def _forget_passed(self) -> None:
        idle, now = self._idle, self.now
        while idle and idle[0][0] <= now:
            share = self.shares.get(heappop(idle)[1])
            if not share or share.held:
                continue
            if share.finish <= now:
                del self.shares[share.name]
            elif share.parked != share.finish:  # a smaller weight has stretched its lead
                share.parked = share.finish
                heappush(idle, (share.finish, share.name))
