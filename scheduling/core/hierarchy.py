"""Tenants by weight, and inside a tenant its users equally, over token cost."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from zlib import crc32

from scheduling.core.entry import Entry, Lane
from scheduling.core.fairness import TABLE_FOR_MS, arrival, head, index_of, stand_in
from scheduling.core.policy import DEFAULT_WEIGHT, TenantRule
from scheduling.core.position import Curve, Drain
from scheduling.core.shares import MILLI, Level, Share

USERS_TRACKED = 10_000  # per tenant: about 20 MB at most, whatever names a client makes up
SHARED_LINES = 128  # lines for all further users, by hash of the name
SHARED_PREFIX = "\x00"  # no user's name begins with NUL, so a shared line never meets a user


class TokenFair:
    """Serve the waiting tenant, then its user, that has had least service for its weight.

    Service is tokens, not requests: a tenant with long prompts cannot take
    more than its share by sending few of them. The estimate is charged at
    dispatch and replaced by the real usage at the end. A tenant that was
    idle starts level with the one now being served; when nobody holds a
    ticket any more, all accounts are forgotten.

    Unit of fairness: milli-tokens per unit of weight. Bound: two tenants
    that both wait all the time, with tickets in the same lane, are charged
    amounts that differ by at most one largest charge of each, divided by its
    weight, plus what open estimates are wrong by. Cost: O(log flows).
    Source: Goyal, Vin, Cheng, SIGCOMM 1996 (start tags); Sheng et al.,
    OSDI 2024 (tokens as the unit).
    """

    def __init__(self, tenants: Mapping[str, TenantRule]) -> None:
        self._rules = tenants
        self._tenants = Level()
        self._full: set[str] = set()

    def push(self, entry: Entry) -> None:
        """Stand in the line of this tenant and user; who had none starts level."""
        self._hold(entry)
        lane, user, tenant = entry.lane, entry.user, entry.tenant
        users = tenant.inner
        line = user.lines.get(lane)
        if line is None:
            line = user.lines[lane] = OrderedDict()
            users.enter(user, lane)
            if lane not in tenant.keys:
                self._tenants.enter(tenant, lane)
        stand_in(line, entry)
        entry.ordinal = user.left + user.waiting
        for share in (tenant, user):
            share.waiting += 1
            share.waiting_cost += entry.cost

    def pick(self, lanes: Collection[Lane]) -> Entry | None:
        """The tenant with the earliest start, then its user, then that user's oldest ticket."""
        if len(lanes) == 1:  # most pools serve one model
            (lane,) = lanes
            tenant = self._tenants.first(lane)
            user = tenant.inner.first(lane) if tenant else None
            return head(user.lines[lane]) if user else None
        tenant = _earliest(self._tenants, lanes)
        user = _earliest(tenant.inner, lanes) if tenant else None
        if user is None:
            return None
        return min((head(user.lines[lane]) for lane in lanes if lane in user.lines), key=arrival)

    def serve(self, entry: Entry) -> None:
        """It has a seat: charge the estimate to tenant and user."""
        self._step_out(entry)
        entry.tenant.left += 1
        entry.user.left += 1
        self._price(entry)
        self._tenants.charge(entry.tenant, entry.charge)
        entry.tenant.inner.charge(entry.user, entry.user_charge)

    def remove(self, entry: Entry) -> None:
        """It gave up: nothing was charged."""
        self._step_out(entry)
        self._release(entry)

    def adopt(self, entry: Entry) -> None:
        """Charge the estimate of a ticket that runs already; time does not move."""
        self._hold(entry)
        self._price(entry)
        self._tenants.move(entry.tenant, entry.charge, entry.tenant_wake)
        entry.tenant.inner.move(entry.user, entry.user_charge, entry.user_wake)

    def settle(self, entry: Entry, cost: int) -> None:
        """Put the real cost in the place of the estimate."""
        tenant = entry.tenant
        # The lead was scaled when the weight changed, so what is undone is scaled alike.
        undo = entry.charge * entry.weight // tenant.weight
        self._tenants.move(tenant, cost * MILLI // tenant.weight - undo, entry.tenant_wake)
        tenant.inner.move(entry.user, cost * MILLI - entry.user_charge, entry.user_wake)
        self._release(entry)

    def set_weights(self, tenants: Mapping[str, TenantRule]) -> None:
        """Scale the lead of every tenant whose weight changed."""
        self._rules = tenants
        for share in self._tenants.shares.values():
            weight = self._weight_of(share.name)
            if weight != share.weight:
                self._tenants.reweigh(share, weight)

    def pass_over(self, tenant: str) -> None:
        """Take the tenant out of the order; its account stays."""
        self._full.add(tenant)
        if share := self._tenants.shares.get(tenant):
            self._tenants.pass_over(share)

    def let_in(self, tenant: str) -> None:
        """Back into the order, level with the one served last: to wait for oneself earns no credit."""
        self._full.discard(tenant)
        if share := self._tenants.shares.get(tenant):
            self._tenants.let_in(share)

    def ahead(self, entry: Entry, now_ms: int) -> int:
        """Where its user stands in the tenant, and that place among the tenants."""
        tenant, user = entry.tenant, entry.user
        index = index_of(entry, user.left, user.waiting)
        mine = _drain(user)
        among_users = _curve(tenant.inner, now_ms).before(mine.start + index * mine.step)
        mine = _drain(tenant)
        return _curve(self._tenants, now_ms).before(mine.start + among_users * mine.step)

    def _weight_of(self, tenant: str) -> int:
        rule = self._rules.get(tenant)
        return rule.weight if rule else DEFAULT_WEIGHT

    def _hold(self, entry: Entry) -> None:
        tenants = self._tenants
        name = entry.ticket.tenant
        tenant = tenants.shares.get(name)
        if tenant is None:
            tenant = tenants.add(name, self._weight_of(name))
            tenant.inner = Level()
            if name in self._full:
                tenants.pass_over(tenant)
        users = tenant.inner
        user = users.shares.get(entry.ticket.user)
        if user is None:
            user = _line_for(users, entry.ticket.user)
        entry.tenant, entry.user = tenant, user
        tenants.hold(tenant)
        users.hold(user)

    def _release(self, entry: Entry) -> None:
        entry.tenant.inner.release(entry.user)
        self._tenants.release(entry.tenant)

    def _price(self, entry: Entry) -> None:
        entry.weight = entry.tenant.weight
        entry.charge = entry.cost * MILLI // entry.weight
        entry.user_charge = entry.cost * MILLI
        entry.tenant_wake = entry.tenant.wakes
        entry.user_wake = entry.user.wakes

    def _step_out(self, entry: Entry) -> None:
        lane, user, tenant = entry.lane, entry.user, entry.tenant
        for share in (tenant, user):
            share.waiting -= 1
            share.waiting_cost -= entry.cost
        line = user.lines[lane]
        del line[entry.place]
        if line:
            return
        del user.lines[lane]
        users = tenant.inner
        users.leave(user, lane)
        if not users.serves(lane):
            self._tenants.leave(tenant, lane)


def _line_for(users: Level, name: str) -> Share:
    """An account for a user who has none: their own, or a shared one when there are too many."""
    if len(users.shares) >= USERS_TRACKED:
        line = crc32(name.encode(errors="surrogatepass")) % SHARED_LINES
        name = f"{SHARED_PREFIX}{line}"
    return users.shares.get(name) or users.add(name, 1)


def _earliest(level: Level, lanes: Collection[Lane]) -> Share | None:
    best: Share | None = None
    for lane in lanes:
        share = level.first(lane)
        if share and (best is None or (share.finish, share.name) < (best.finish, best.name)):
            best = share
    return best


def _drain(share: Share) -> Drain:
    mean = share.waiting_cost // max(1, share.waiting)
    return Drain(share.finish, max(1, mean * MILLI // share.weight), share.waiting)


def _curve(level: Level, now_ms: int) -> Curve:
    if level.table is None or now_ms - level.table[0] >= TABLE_FOR_MS:
        level.table = (now_ms, Curve(_drain(share) for share in level.shares.values() if share.waiting))
    return level.table[1]
