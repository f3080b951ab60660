"""Interactive before standard before batch: strict bands, reserved seats, and ageing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from scheduling.core.admission import Gate
from scheduling.core.entry import Entry, Lane
from scheduling.core.fairness import Fairness, Fifo, RoundRobin
from scheduling.core.hierarchy import TokenFair
from scheduling.core.policy import DEFAULT_CLASS, ClassRule, Policy, PoolRule, TenantRule
from scheduling.core.routing import choose

PROMOTED_ONE_IN = 4  # seats: an aged class must not turn the order of classes upside down
UNRANKED = ClassRule(DEFAULT_CLASS, rank=0)  # the one class of a policy that names none


class Band:
    """One class: its order, and how many wait in each lane.

    ``hold`` is how many seats of every backend stay free for better classes.
    ``overdue`` counts, by lane, tickets that waited longer than the class's bound.
    """

    __slots__ = ("fairness", "hold", "lanes", "overdue", "promoted", "rule", "waiting")

    def __init__(self, rule: ClassRule, fairness: Fairness) -> None:
        self.rule = rule
        self.fairness = fairness
        self.hold = 0
        self.waiting = 0
        self.lanes: dict[Lane, int] = {}
        self.overdue: dict[Lane, int] = {}
        self.promoted = 0

    def push(self, entry: Entry) -> None:
        """The ticket joins the class's line."""
        entry.band = self
        self.fairness.push(entry)
        self.waiting += 1
        self.lanes[entry.lane] = self.lanes.get(entry.lane, 0) + 1

    def leave(self, entry: Entry) -> None:
        """The ticket is out of line, served or not."""
        self.waiting -= 1
        _less(self.lanes, entry.lane)
        if entry.overdue:
            self.forgive(entry)

    def forgive(self, entry: Entry) -> None:
        """The ticket is not overdue any more."""
        entry.overdue = False
        _less(self.overdue, entry.lane)

    def age(self, entry: Entry) -> None:
        """The ticket has waited longer than the class's bound."""
        entry.overdue = True
        self.overdue[entry.lane] = self.overdue.get(entry.lane, 0) + 1

    def next(self, lanes: Iterable[Lane], now_ms: int) -> tuple[Entry, Gate] | None:
        """The ticket to seat now, and where; None when no lane is open to this class."""
        seats: dict[Lane, Gate] = {}
        for lane in lanes:
            if gate := choose(lane, self.hold, now_ms):
                seats[lane] = gate
        entry = self.fairness.pick(seats) if seats else None
        return (entry, seats[entry.lane]) if entry else None


class Bands:
    """All classes of a pool, best first.

    A class is served when no better one has a ticket that could go. One whose
    ticket has waited longer than ``max_wait_ms`` is promoted: its next ticket,
    in the class's own order, goes first, at most one seat in four, aged
    classes in turn. So no class starves, and none of them takes over.
    """

    def __init__(self) -> None:
        self._bands: list[Band] = []
        self._by_name: dict[str, Band] = {}
        self._shape: tuple[str, tuple[tuple[int, str], ...]] | None = None
        self._since_promoted = PROMOTED_ONE_IN
        self._promotions = 0
        self.full: set[str] = set()
        """Tenants that hold all the seats that they may: passed over in every class."""

    def __iter__(self) -> Iterator[Band]:
        return iter(self._bands)

    def obey(self, policy: Policy, pool: PoolRule, entries: Iterable[Entry]) -> None:
        """Follow the policy. Other classes or another fairness put all tickets in line anew."""
        rules = dict(policy.classes) or {DEFAULT_CLASS: UNRANKED}
        ranked = sorted(rules.values(), key=_rank)
        shape = (pool.fairness, tuple((rule.rank, rule.name) for rule in ranked))
        if shape != self._shape:
            self._bands = [Band(rule, make(pool.fairness, policy.tenants)) for rule in ranked]
            self._by_name = {band.rule.name: band for band in self._bands}
            self._shape = shape
            self._stand_anew(entries)
            for band in self._bands:
                for tenant in self.full:
                    band.fairness.pass_over(tenant)
        hold = 0
        for band, rule in zip(self._bands, ranked, strict=True):
            band.rule, band.hold = rule, hold
            hold += rule.reserved_seats
            band.fairness.set_weights(policy.tenants)

    def of(self, priority_class: str) -> Band:
        """The class's band; an unknown class stands with the default one, or last."""
        return self._by_name.get(priority_class) or self._by_name.get(DEFAULT_CLASS) or self._bands[-1]

    def next(self, now_ms: int) -> tuple[Entry, Gate] | None:
        """The ticket to seat now, and where; None when nobody who waits could go."""
        for band in self._bands:
            if band.waiting and (choice := band.next(band.lanes, now_ms)):
                return self._promoted(band, now_ms) or self._ordinary(choice)
        return None

    def mark(self, tenant: str, *, full: bool) -> None:
        """Whether the tenant holds all the seats that it may."""
        if full == (tenant in self.full):
            return
        if full:
            self.full.add(tenant)
        else:
            self.full.discard(tenant)
        for band in self._bands:
            (band.fairness.pass_over if full else band.fairness.let_in)(tenant)

    def ahead(self, entry: Entry, now_ms: int) -> int:
        """About how many waiting tickets go before this one."""
        better = 0
        for band in self._bands:
            if band is entry.band:
                break
            better += band.waiting
        return better + entry.band.fairness.ahead(entry, now_ms)

    def _ordinary(self, choice: tuple[Entry, Gate]) -> tuple[Entry, Gate]:
        self._since_promoted += 1
        return choice

    def _promoted(self, ordinary: Band, now_ms: int) -> tuple[Entry, Gate] | None:
        if self._since_promoted < PROMOTED_ONE_IN - 1:
            return None
        aged = [band for band in self._bands if band.overdue and band is not ordinary]
        for band in sorted(aged, key=_last_promoted):
            if choice := band.next(band.overdue, now_ms):
                self._promotions += 1
                band.promoted = self._promotions
                self._since_promoted = 0
                return choice
        return None

    def _stand_anew(self, entries: Iterable[Entry]) -> None:
        for entry in sorted(entries, key=_place):
            band = self.of(entry.ticket.priority_class)
            if entry.waiting:
                band.push(entry)
                if entry.overdue:
                    band.age(entry)
            else:
                entry.band = band
                band.fairness.adopt(entry)


def make(fairness: str, tenants: Mapping[str, TenantRule]) -> Fairness:
    """The order by its name in the policy. Raises ValueError on an unknown one."""
    if fairness == "fifo":
        return Fifo()
    if fairness == "round_robin":
        return RoundRobin()
    if fairness == "token_fair":
        return TokenFair(tenants)
    raise ValueError(f"fairness is {fairness!r}; it must be fifo, round_robin or token_fair")


def _less(counts: dict[Lane, int], lane: Lane) -> None:
    counts[lane] -= 1
    if not counts[lane]:
        del counts[lane]


def _rank(rule: ClassRule) -> tuple[int, str]:
    return (rule.rank, rule.name)


def _last_promoted(band: Band) -> int:
    return band.promoted


def _place(entry: Entry) -> int:
    return entry.place
