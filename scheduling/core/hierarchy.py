"""Tenants in an order, and the users inside each tenant in the same order, to any depth."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Container, Iterable, Sequence
from zlib import crc32

from scheduling.core.entry import Charges, Entry, Lane
from scheduling.core.fairness import arrival, head, index_of
from scheduling.core.levels import MILLI, Level
from scheduling.core.share import Share

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
        self.lanes = self._tenants.lanes
        self._shut: dict[str, Container[str]] = {}

    def join(self, entry: Entry) -> None:
        """Open the accounts of the names on the ticket's path, or hold the ones that are open."""
        self._enrol(entry, 0)

    def push(self, entry: Entry) -> None:
        """Stand in the line of the last name; names that had none in this lane begin to wait."""
        for share in entry.shares:
            share.waiting += 1
        self._stand(entry)

    def stand(self, entry: Entry) -> None:
        """It joins and stands in line."""
        self._enrol(entry, 1)
        self._stand(entry)

    def pick(self, lanes: Collection[Lane]) -> Entry | None:
        """The first name of every level, then that name's oldest ticket."""
        if len(lanes) == 1:  # most pools serve one model
            return self.first(*lanes)
        share = self._tenants.earliest(lanes)
        if share and share.shut is not None:
            lanes = [lane for lane in lanes if lane in share.lanes]
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
            if found is None:
                return None
            share = found[0][2] if isinstance(found, list) else found
            if share.inner is None:
                return head(share.lines[lane])
            level = share.inner

    def serve(self, entry: Entry) -> None:
        """It has a seat: charge every name on its path."""
        path = entry.shares
        price = (entry.cost if self._price is None else self._price(entry)) * MILLI
        path[-1].left += 1
        self._out_of_line(entry, path)
        entry.charges = self._charged(path, price)

    def pass_through(self, entry: Entry) -> None:
        """It has a seat at once: all names on its path begin to wait, and are charged in the same instant."""
        self.join(entry)
        price = (entry.cost if self._price is None else self._price(entry)) * MILLI
        charges: Charges | None = None
        for share in entry.shares:
            charges = (share, *share.level.pass_through(share, entry.place, price), charges)
        entry.charges = charges

    def step_out(self, entry: Entry) -> None:
        """It leaves the line; its accounts stay open."""
        path = entry.shares
        for share in path:
            share.waiting -= 1
        self._out_of_line(entry, path)

    def leave(self, entry: Entry) -> None:
        """It is gone for good, unserved and out of line: nothing was charged."""
        for share in entry.shares:
            share.held -= 1
            if not share.held:
                share.level.rest(share)

    def adopt(self, entry: Entry) -> None:
        """It runs out of turn, or was served under other rules: charged, but time does not move."""
        price = (entry.cost if self._price is None else self._price(entry)) * MILLI
        charges: Charges | None = None
        for share in entry.shares:
            charges = (share, *share.level.adopt(share, price), charges)
        entry.charges = charges

    def progress(self, entry: Entry, cost: int) -> None:
        """A ticket that runs has cost so much so far."""
        charged = entry.charges
        charges: Charges | None = None
        while charged is not None:
            share, charge, weight, wakes, charged = charged
            stamp = share.level.progress(share, (charge, weight, wakes), cost * MILLI)
            charges = (share, *stamp, charges)
        entry.charges = charges

    def settle(self, entry: Entry, cost: int) -> None:
        """Put the real cost in the place of what was charged."""
        charges = entry.charges
        while charges is not None:
            share, charge, weight, wakes, charges = charges
            share.level.settle(share, (charge, weight, wakes), cost * MILLI)
            share.held -= 1
            if not share.held:
                share.level.rest(share)

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

    def in_line(self, tenant: str) -> int:
        """How many of the tenant's, whoever asked for them."""
        share = self._tenants.shares.get(tenant)
        return share.waiting if share else 0

    def ahead(self, entry: Entry, now_ms: int) -> int:
        """Where it stands among its own, and that place among the names of every level above."""
        last = entry.shares[-1]
        before = index_of(entry, last.left, last.waiting)
        for share in reversed(entry.shares):
            level = share.level
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

    def _charged(self, path: Sequence[Share], price: int) -> Charges | None:
        charges: Charges | None = None
        for share in path:
            share.waiting -= 1
            charges = (share, *share.level.charge(share, price), charges)
        return charges

    def _enrol(self, entry: Entry, waits: int) -> None:
        level, names = self._tenants, entry.ticket.path
        share: Share | None = None
        for name in names:
            share = level.shares.get(name) or self._open(level, name, share, names)
            held = share.held
            if not held:
                level.idle -= 1
            share.held = held + 1
            share.waiting += waits
            level = share.inner  # type: ignore[assignment] # None after the last name
        entry.shares = share.path  # type: ignore[union-attr] # no path is empty

    def _open(self, level: Level, name: str, outer: Share | None, names: tuple[str, ...]) -> Share:
        if outer is None:
            share = level.add(name, self._weight_of(name))
            share.shut = self._shut.get(name)
            share.path = (share,)
        else:
            if len(level.shares) >= NAMES_TRACKED:
                line = crc32(name.encode(errors="surrogatepass")) % SHARED_LINES
                name = f"{SHARED_PREFIX}{line}"
            share = level.shares.get(name) or level.add(name, 1)
            share.path = (*outer.path, share)
        if share.inner is None and len(share.path) < len(names):
            share.inner = self._order()
        return share

    def _stand(self, entry: Entry) -> None:
        last, lane, place = entry.shares[-1], entry.lane, entry.place
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
        self._enter(entry.shares, lane, place)

    def _out_of_line(self, entry: Entry, path: Sequence[Share]) -> None:
        last, lane = path[-1], entry.lane
        last.waiting_cost -= entry.cost
        line = last.lines[lane]
        del line[entry.place]
        if not line:
            del last.lines[lane]
            self._leave(path, lane)

    def _enter(self, path: Sequence[Share], lane: Lane, place: int) -> None:
        for share in reversed(path):
            others = share.level.serves(lane)
            share.level.enter(share, lane, place)
            if others:
                return

    def _leave(self, path: Sequence[Share], lane: Lane) -> None:
        for share in reversed(path):
            share.level.leave(share, lane)
            if share.level.serves(lane):
                return
