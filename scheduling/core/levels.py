"""Names that wait for their turn, and whose turn it is: what every order has in common."""

from __future__ import annotations

from bisect import insort
from collections.abc import Container, Iterable

from scheduling.core.entry import Lane, Stamp
from scheduling.core.position import Curve, Drain
from scheduling.core.share import Index, Share

MILLI = 1000  # milli-tokens per cost token: weight 1000 still moves the key by whole steps
TABLE_FOR_MS = 500  # how long a table of places is good enough for people
SLACK = 64  # idle names that may be there before it is worth sweeping


class Level:
    """Names side by side, each with a key; the waiting one with the smallest goes first, ties by name.

    What the key means, and how it moves, is the order's own (``_woken``,
    ``charge``, ``adopt``, ``settle``, ``reweigh``). A name that holds no
    ticket and whose key is not above ``now`` has nothing worth remembering;
    such names are swept when there are many. When nobody holds a
    ticket, all is forgotten and ``now`` starts again. Cost: O(log names)
    comparisons per step, and to move 8 bytes for each name in a lane.
    """

    __slots__ = ("_shelf", "_sweep_at", "idle", "lanes", "now", "shares", "table")

    START = 0  # what ``now`` starts at

    def __init__(self) -> None:
        self.now = self.START
        self.table: tuple[int, Curve] | None = None  # places in line, and when they were reckoned
        self.shares: dict[str, Share] = {}
        self._shelf: dict[str, Share] = {}  # objects of names that were forgotten, to be used again
        # Who waits where. Alone in its lane a name needs no index: most tenants have one user.
        self.lanes: dict[Lane, Index | Share] = {}
        self._sweep_at = SLACK
        self.idle = 0  # names that hold none

    # What an order decides

    def _woken(self, share: Share, place: int) -> None:
        """The name begins to wait, with a ticket of this place: a negative one is a retry."""
        raise NotImplementedError

    def charge(self, share: Share, price: int) -> Stamp:
        """The name's ticket is served for ``price`` milli-tokens; the stamp undoes it."""
        raise NotImplementedError

    def adopt(self, share: Share, price: int) -> Stamp:
        """The name's ticket runs out of turn: it is charged, but time does not move."""
        raise NotImplementedError

    def progress(self, share: Share, stamp: Stamp, price: int) -> Stamp:
        """A running ticket has cost ``price`` so far. Most orders wait for the end."""
        return stamp

    def settle(self, share: Share, stamp: Stamp, price: int) -> None:
        """A served ticket ended: ``price`` is what it really cost."""
        raise NotImplementedError

    def reweigh(self, share: Share, weight: int) -> None:
        """Obey another weight from the next pick on."""
        share.weight = weight

    def drain(self, share: Share) -> Drain:
        """How the name's line will be served, in the unit of the key: for places in line only."""
        raise NotImplementedError

    # Who holds tickets

    def add(self, name: str, weight: int) -> Share:
        """Begin an account."""
        share = self._shelf.pop(name, None)
        self.shares[name] = share = share or Share(self, name)
        share.begin_anew(weight, self.now)
        self.idle += 1
        return share

    def rest(self, share: Share) -> None:
        """The name's last ticket is gone."""
        self.idle += 1
        if self.idle == len(self.shares):
            self._begin_anew(share)
        elif self.idle > self._sweep_at:
            self._sweep()

    def _begin_anew(self, last: Share) -> None:
        """Nobody waits or runs. An only name stays, as new: it is most likely to come back."""
        if len(self.shares) > 1:
            self._shelf = self.shares if len(self.shares) <= SLACK else {}
            self.shares = {}
        else:
            last.begin_anew(last.weight, self.START)
        self.idle = len(self.shares)
        self._sweep_at = SLACK
        self.now = self.START
        self.table = None

    def _sweep(self) -> None:
        """Forget the idle names whose key was passed; look again when twice as many as stay are idle."""
        now = self.now
        self.shares = {name: share for name, share in self.shares.items() if share.held or share.key > now}
        self.idle = sum(not share.held for share in self.shares.values())
        self._sweep_at = 2 * self.idle + SLACK

    # Who waits where

    def enter(self, share: Share, lane: Lane, place: int = 1) -> None:
        """The name has its first waiting ticket in this lane; ``place`` is the ticket's."""
        if share.shut is not None and lane.model in share.shut:
            share.aside = {lane} if share.aside is None else share.aside | {lane}
            return
        if not share.lanes:
            share.wakes += 1
            self._woken(share, place)
        index = self.lanes.get(lane)
        if index is None:
            self.lanes[lane] = share
        else:
            if isinstance(index, Share):
                sole = index
                index = self.lanes[lane] = [(sole.key, sole.name, sole)]
                sole.stand(lane, index)
            insort(index, (share.key, share.name, share))
        share.stand(lane, index)

    def pass_through(self, share: Share, place: int, price: int) -> Stamp:
        """The name's ticket is served while nobody waits: it begins to wait, and is charged."""
        share.wakes += 1
        self._woken(share, place)
        return self.charge(share, price)

    def leave(self, share: Share, lane: Lane) -> None:
        """The name has no waiting ticket in this lane any more."""
        if lane not in share.lanes:
            share.aside = (share.aside or set()) - {lane}
            return
        if not share.step_out(lane):
            del self.lanes[lane]

    def set_shut(self, share: Share, shut: Container[str] | None) -> None:
        """Serve the name for no model in ``shut``, as if it waited for nothing there."""
        waits_in = [*share.lanes, *(share.aside or ())]
        for lane in waits_in:
            self.leave(share, lane)
        share.shut = shut
        for lane in waits_in:
            self.enter(share, lane)

    def serves(self, lane: Lane) -> bool:
        """Whether anybody waits in this lane."""
        return lane in self.lanes

    def first(self, lane: Lane) -> Share | None:
        """The name to serve next in this lane."""
        index = self.lanes.get(lane)
        return index[0][2] if isinstance(index, list) else index

    def earliest(self, lanes: Iterable[Lane]) -> Share | None:
        """The name to serve next in any of these lanes."""
        best: Share | None = None
        for lane in lanes:
            share = self.first(lane)
            if share and (best is None or (share.key, share.name) < (best.key, best.name)):
                best = share
        return best

    def lowest(self) -> int | None:
        """The smallest key of all names that wait; None when nobody does."""
        keys = [share.key for lane in self.lanes if (share := self.first(lane))]
        return min(keys) if keys else None

    def waiting_shares(self) -> list[Share]:
        """Every name with tickets in line."""
        return [share for share in self.shares.values() if share.waiting]

    def curve(self, now_ms: int) -> Curve:
        """How the lines of all who wait will be served, as of a moment ago."""
        if self.table is None or now_ms - self.table[0] >= TABLE_FOR_MS:
            self.table = (now_ms, Curve(self.drain(share) for share in self.waiting_shares()))
        return self.table[1]
