"""Tenants in an order, and the users inside each tenant in the same order, to any depth."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Container, Iterable
from zlib import crc32

from scheduling.core.entry import Entry, Lane, Stamp
from scheduling.core.fairness import arrival, head, index_of
from scheduling.core.levels import MILLI, Level, Share

NAMES_TRACKED = 10_000  # inside one name: about 20 MB at most, whatever names a client makes up
SHARED_LINES = 128  # lines for all further names, by hash of the name
SHARED_PREFIX = "\x00"  # no user's name begins with NUL, so a shared line never meets a user

Price = Callable[[Entry], int]


class Tree:
    """Serve the tenant whose turn it is, then the user inside it, by one order on every level.

    Weights hold between tenants; the names inside one share its turn
    equally, so a tenant with a thousand users gets no more than its share.
    The levels are the names of ``Ticket.path``: two today, and one more is
    one more name. ``price`` is what an entry is charged at dispatch, in cost
    tokens (None: its estimated cost); whether tokens or turns count is the
    order's own affair.

    Cost: O(depth x log names) per step. Source: hierarchical packet fair
    queueing, Bennett, Zhang, SIGCOMM 1996.
    """

    def __init__(self, order: type[Level], price: Price | None, weight_of: Callable[[str], int]) -> None:
        self._order = order
        self._price = price
        self._weight_of = weight_of
        self._tenants = order()
        self._shut: dict[str, Container[str]] = {}

    def join(self, entry: Entry) -> None:
        """Open the accounts of the names on the ticket's path, or hold the ones that are open."""
        level: Level | None = self._tenants
        path: list[Share] = []
        entry.shares = path
        for name in entry.ticket.path:
            if level is None:
                level = path[-1].inner = self._order()
            share = level.shares.get(name)
            if share is None:
                share = self._open(level, name, len(path))
            if not share.held:
                level.idle -= 1
            share.held += 1
            path.append(share)
            level = share.inner

    def push(self, entry: Entry) -> None:
        """Stand in the line of the last name; names that had none in this lane begin to wait."""
        path = entry.shares
        for share in path:
            share.waiting += 1
        self._stand(entry, path)

    def stand(self, entry: Entry) -> None:
        """It joins and stands in line."""
        self.join(entry)
        self.push(entry)

    def pick(self, lanes: Collection[Lane]) -> Entry | None:
        """The first name of every level, then that name's oldest ticket."""
        if len(lanes) == 1:  # most pools serve one model
            return self.first(*lanes)
        share = self._tenants.earliest(lanes)
        if share and share.shut is not None:
            lanes = [lane for lane in lanes if lane in share.keys]
        while share and share.inner:
            share = share.inner.earliest(lanes)
        if share is None:
            return None
        lines = share.lines
        return min((head(line) for lane in lanes if (line := lines.get(lane))), key=arrival)

    def first(self, lane: Lane) -> Entry | None:
        """The same of one lane."""
        level = self._tenants
        while True:
            found = level.lanes.get(lane)
            share = found if type(found) is Share else level.first(lane)
            if share is None:
                return None
            if share.inner is None:
                return head(share.lines[lane])
            level = share.inner

    def serve(self, entry: Entry) -> None:
        """It has a seat: charge every name on its path."""
        path, cost = entry.shares, entry.cost
        price = (cost if self._price is None else self._price(entry)) * MILLI
        last = path[-1]
        last.left += 1
        last.waiting_cost -= cost
        line = last.lines[entry.lane]
        if len(line) > 1:
            del line[entry.place]
        else:
            self._out_of_line(entry, path)
        level: Level | None = self._tenants
        entry.stamps = stamps = []
        for share in path:
            share.waiting -= 1
            if level is not None:
                stamps.append(level.charge(share, price))
            level = share.inner

    def pass_through(self, entry: Entry) -> None:
        """It has a seat at once: all names on its path begin to wait, and are charged in the same instant."""
        price = (entry.cost if self._price is None else self._price(entry)) * MILLI
        place = entry.place
        level: Level | None = self._tenants
        path: list[Share] = []
        stamps: list[Stamp] = []
        entry.shares, entry.stamps = path, stamps
        for name in entry.ticket.path:
            if level is None:
                level = path[-1].inner = self._order()
            share = level.shares.get(name)
            if share is None:
                share = self._open(level, name, len(path))
            held = share.held
            if not held:
                level.idle -= 1
            share.held = held + 1
            path.append(share)
            stamps.append(level.pass_through(share, place, price))
            level = share.inner
        path[-1].left += 1

    def step_out(self, entry: Entry) -> None:
        """It leaves the line; its accounts stay open."""
        path = entry.shares
        for share in path:
            share.waiting -= 1
        path[-1].waiting_cost -= entry.cost
        self._out_of_line(entry, path)

    def leave(self, entry: Entry) -> None:
        """It is gone for good, unserved and out of line: nothing was charged."""
        for level, share in self._levels(entry):
            share.held -= 1
            if not share.held:
                level.rest(share)

    def adopt(self, entry: Entry) -> None:
        """It runs out of turn, or was served under other rules: charged, but time does not move."""
        price = (entry.cost if self._price is None else self._price(entry)) * MILLI
        entry.stamps = [level.adopt(share, price) for level, share in self._levels(entry)]

    def progress(self, entry: Entry, cost: int) -> None:
        """A ticket that runs has cost so much so far."""
        entry.stamps = [
            level.progress(share, stamp, cost * MILLI)
            for (level, share), stamp in zip(self._levels(entry), entry.stamps, strict=True)
        ]

    def settle(self, entry: Entry, cost: int) -> None:
        """Put the real cost in the place of what was charged."""
        price = cost * MILLI
        level: Level | None = self._tenants
        for share, stamp in zip(entry.shares, entry.stamps):  # noqa: B905 - as long; asked in every request
            inner = share.inner
            if level is not None:
                level.settle(share, stamp, price)
                share.held = held = share.held - 1
                if not held:
                    level.rest(share)
            level = inner

    def reweigh(self, tenants: Iterable[str] | None = None) -> None:
        """Obey the weights in force, of these tenants or of all."""
        known = self._tenants.shares
        for name in list(known) if tenants is None else tenants:
            if (share := known.get(name)) and (weight := self._weight_of(name)) != share.weight:
                self._tenants.reweigh(share, weight)

    def close(self, tenant: str, models: Container[str] | None) -> None:
        """Pick none of the tenant's tickets for these models; its accounts stay.

        Who is let in again starts level with the one served last: to wait
        for oneself earns no credit.
        """
        if models is None:
            self._shut.pop(tenant, None)
        else:
            self._shut[tenant] = models
        if share := self._tenants.shares.get(tenant):
            self._tenants.set_shut(share, models)

    def ahead(self, entry: Entry, now_ms: int) -> int:
        """Where it stands among its own, and that place among the names of every level above."""
        last = entry.shares[-1]
        before = index_of(entry, last.left, last.waiting)
        for level, share in reversed(list(self._levels(entry))):
            mine = level.drain(share)
            before = level.curve(now_ms).before(mine.start + before * mine.step)
        return before

    def newcomer(self, tenant: str, now_ms: int) -> int:
        """Behind the tenant's own line, or one ticket of each who has one, or more when it owes more."""
        level = self._tenants
        mine = level.shares.get(tenant)
        least = mine.waiting if mine and mine.waiting else len(level.waiting_shares())
        if mine is None:
            return least
        line = level.drain(mine)
        return max(least, level.curve(now_ms).before(line.start + line.step * mine.waiting))

    def rivals(self, entry: Entry) -> int:
        """How many other tenants have tickets in line."""
        mine = entry.shares[0]
        return sum(1 for share in self._tenants.shares.values() if share.waiting and share is not mine)

    def _levels(self, entry: Entry) -> Iterable[tuple[Level, Share]]:
        level: Level | None = self._tenants
        for share in entry.shares:
            if level:
                yield level, share
            level = share.inner

    def _open(self, level: Level, name: str, depth: int) -> Share:
        if depth == 0:
            share = level.add(name, self._weight_of(name))
            share.shut = self._shut.get(name)
            return share
        if len(level.shares) >= NAMES_TRACKED:
            line = crc32(name.encode(errors="surrogatepass")) % SHARED_LINES
            name = f"{SHARED_PREFIX}{line}"
        return level.shares.get(name) or level.add(name, 1)

    def _stand(self, entry: Entry, path: list[Share]) -> None:
        last, lane, place = path[-1], entry.lane, entry.place
        entry.ordinal = last.left + last.waiting - 1
        last.waiting_cost += entry.cost
        line = last.lines.get(lane)
        if line is not None:
            line[place] = entry
            if place < 0:  # a retry: it has waited already
                line.move_to_end(place, last=False)
            return
        line = OrderedDict({place: entry})
        if last.lines:
            last.lines[lane] = line
        else:
            last.lines = {lane: line}
        self._enter(path, lane, place)

    def _out_of_line(self, entry: Entry, path: list[Share]) -> None:
        lines, lane = path[-1].lines, entry.lane
        line = lines[lane]
        del line[entry.place]
        if not line:
            del lines[lane]
            self._leave(path, lane)

    def _enter(self, path: list[Share], lane: Lane, place: int) -> None:
        for depth in range(len(path) - 1, 0, -1):
            inner = path[depth - 1].inner
            if inner:
                others = inner.serves(lane)
                inner.enter(path[depth], lane, place)
                if others:
                    return
        self._tenants.enter(path[0], lane, place)

    def _leave(self, path: list[Share], lane: Lane) -> None:
        for depth in range(len(path) - 1, 0, -1):
            inner = path[depth - 1].inner
            if inner:
                inner.leave(path[depth], lane)
                if inner.serves(lane):
                    return
        self._tenants.leave(path[0], lane)
