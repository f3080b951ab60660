"""Interactive before standard before batch: strict bands, reserved seats, and ageing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Container, Iterable, Iterator

from scheduling.core.admission import PROMOTED_ONE_IN, Gate
from scheduling.core.band import Band, Choice
from scheduling.core.entry import Aside, Entry, Lane
from scheduling.core.orders import make
from scheduling.core.policy import DEFAULT_CLASS, ClassRule, Policy, PoolRule
from scheduling.core.routing import choose, choose_for
from scheduling.core.usage import CostRule

UNRANKED = ClassRule(DEFAULT_CLASS, rank=0)  # the one class of a policy that names none


class Bands:
    """All classes of a pool, best first, and before them whom an admin moved to the front.

    A class is served when no better one has a ticket that could go, and only
    on seats that no better one has reserved. One whose ticket has waited
    longer than ``max_wait_ms`` is promoted: its next ticket, in the class's
    own order, goes first and onto any seat, at most one seat in four of a
    backend, aged classes in turn.

    Bound: with A classes overdue, at least one of any 4 x A seats in a row
    that a backend gives goes to each of them that has an overdue ticket for it
    all that time. So no class starves, and none of them takes over.
    """

    lends: bool
    """Whether a class lends reserved seats, so that who waits in it opens and shuts gates to others."""
    by_name: dict[str, Band]
    """The classes of the policy."""
    _bands: list[Band]  # these three are as ``obey`` made them last

    def __init__(self) -> None:
        self.paused = False
        """Nothing is seated while the pool is paused."""
        self._shape: tuple[str, CostRule, tuple[tuple[int, str], ...]] | None = None
        self._promotions = 0
        self.shut: dict[str, Container[str]] = {}
        """Tenants that are passed over, and for which models."""
        self._front: dict[Lane, OrderedDict[int, Entry]] = {}
        self._kept: set[Gate] = set()  # in this pick: for whoever is next there and finds no memory

    def __iter__(self) -> Iterator[Band]:
        return iter(self._bands)

    def obey(
        self, policy: Policy, pool: PoolRule, weight_of: Callable[[str], int], entries: Iterable[Entry]
    ) -> None:
        """Follow the policy. Other classes or another fairness put all tickets in line anew."""
        rules = dict(policy.classes) or {DEFAULT_CLASS: UNRANKED}
        ranked = sorted(rules.values(), key=_rank)
        shape = (pool.fairness, pool.cost, tuple((rule.rank, rule.name) for rule in ranked))
        if shape != self._shape:
            self._bands = [Band(rule, make(pool.fairness, pool.cost, weight_of)) for rule in ranked]
            self.by_name = {band.rule.name: band for band in self._bands}
            self._shape = shape
            for band in self._bands:
                for tenant, models in self.shut.items():
                    band.fairness.close(tenant, models)
            self._stand_anew(entries)
        hold = 0
        for band, rule in zip(self._bands, ranked, strict=True):
            band.rule, band.hold = rule, hold
            hold += max(0, rule.reserved_seats - rule.lent_seats)
        self.lends = any(rule.lent_seats for rule in ranked)

    def of(self, priority_class: str) -> Band:
        """The class's band; an unknown class stands with the default one, or last."""
        return self.by_name.get(priority_class) or self.by_name.get(DEFAULT_CLASS) or self._bands[-1]

    def next(self, now_ms: int) -> Choice | None:
        """The ticket to seat now, and where; None when nobody who waits could go."""
        if self.paused:
            return None
        if self._kept:
            self._kept.clear()
        if self._front and (choice := self._first_moved(now_ms)):
            return choice
        return self._in_turn(now_ms)

    def reweigh(self, tenants: Collection[str] | None = None) -> None:
        """The weights of these tenants, or of all, may have changed."""
        for band in self._bands:
            band.fairness.reweigh(tenants)

    def close(self, tenant: str, models: Container[str] | None) -> None:
        """Seat none of the tenant's tickets for ``models`` in any class; None lets it in again."""
        if models is None:
            self.shut.pop(tenant, None)
        else:
            self.shut[tenant] = models
        for band in self._bands:
            band.fairness.close(tenant, models)

    def put_first(self, entry: Entry) -> None:
        """The ticket, which stands in no line, goes before all others from now on."""
        self._front.setdefault(entry.lane, OrderedDict())[entry.place] = entry

    def not_first(self, entry: Entry) -> None:
        """The ticket is out of the front line."""
        line = self._front[entry.lane]
        del line[entry.place]
        if not line:
            del self._front[entry.lane]

    def ahead(self, entry: Entry, now_ms: int) -> int:
        """About how many waiting tickets go before this one."""
        if entry.aside is Aside.FRONT:
            return list(self._front[entry.lane]).index(entry.place)
        better = sum(map(len, self._front.values()))
        for band in self._bands:
            if band is entry.band:
                break
            better += band.waiting
        return better + entry.band.fairness.ahead(entry, now_ms)

    def newcomer(self, priority_class: str, tenant: str, now_ms: int) -> int:
        """About how many waiting tickets would go before one that came now."""
        band = self.of(priority_class)
        better = sum(each.waiting for each in self._better_than(band))
        peers = min(band.waiting, band.fairness.newcomer(tenant, now_ms))  # its table may be of a while ago
        return sum(map(len, self._front.values())) + better + peers

    def wait_in(self, lane: Lane) -> bool:
        """Whether a ticket of this lane waits for nothing but a backend."""
        shut, moved = self.shut, self._front.get(lane)
        if moved and any(lane.model not in shut.get(entry.ticket.tenant, ()) for entry in moved.values()):
            return True
        return any(band.fairness.first(lane) for band in self._bands)

    @property
    def in_line(self) -> int:
        """How many tickets stand in line."""
        return sum(band.waiting for band in self._bands)

    def in_line_of(self, tenant: str) -> int:
        """How many of the tenant's do."""
        return sum(band.fairness.in_line(tenant) for band in self._bands)

    def held_back_from(self, entry: Entry) -> int:
        """Seats of every backend that the ticket's class must leave free now."""
        return (
            0 if entry.aside is Aside.FRONT else sum(band.held_back for band in self._better_than(entry.band))
        )

    def held_back_for(self, priority_class: str) -> int:
        """Seats of every backend that a ticket of the class would have to leave free now."""
        return sum(band.held_back for band in self._better_than(self.of(priority_class)))

    def better_waiting(self, entry: Entry) -> int:
        """How many tickets of better classes stand in line."""
        return sum(band.waiting for band in self._better_than(entry.band))

    def _better_than(self, band: Band) -> list[Band]:
        return self._bands[: self._bands.index(band)]

    def _in_turn(self, now_ms: int) -> Choice | None:
        kept = self._kept
        hold = overdue = 0
        choice = None
        for band in self._bands:
            if band.waiting:
                overdue += len(band.overdue)
                if choice is None:
                    choice = band.next(band.fairness.lanes, hold, now_ms, kept)
            if band.rule.reserved_seats:
                hold += band.held_back
        if overdue and (aged := self._aged(choice, now_ms)):
            return aged
        if choice is None:
            return None
        if kept and choice[1] in kept:
            return self._in_turn(now_ms)  # an aged ticket has its turn there, and waits for memory
        choice[1].since_promoted += 1
        return choice

    def _first_moved(self, now_ms: int) -> Choice | None:
        for lane, line in self._front.items():
            if gate := choose(lane, 0, now_ms, 0, self._kept):
                for entry in line.values():
                    if lane.model not in self.shut.get(entry.ticket.tenant, ()):
                        if not gate.is_choosy or (gate := choose_for(entry, 0, now_ms, 0, self._kept)):
                            return entry, gate
                        self._kept.update(lane.gates)
                        break
        return None

    def _aged(self, ordinary: Choice | None, now_ms: int) -> Choice | None:
        """A promoted ticket, on any seat of a backend that gave the last three in the usual order.

        Where nobody could go in the usual order, only reserved seats are left.
        """
        best: tuple[int, Band, Choice] | None = None
        for band in self._bands:
            choice = None
            if band.overdue:
                choice = band.next(band.overdue, 0, now_ms, self._kept, PROMOTED_ONE_IN - 1)
            if choice is None or (ordinary and choice[0] is ordinary[0]):
                continue  # it would go anyway, and needs no promotion
            turn = band.promoted.get(choice[1].name, 0)
            if best is None or turn < best[0]:
                best = (turn, band, choice)
        if best is None:
            return None
        _, band, choice = best
        self._promotions += 1
        band.promoted[choice[1].name] = self._promotions
        choice[1].since_promoted = 0
        return choice

    def _stand_anew(self, entries: Iterable[Entry]) -> None:
        for entry in sorted(entries, key=_place):
            entry.band = band = self.of(entry.ticket.priority_class)
            band.fairness.join(entry)
            if not entry.waiting:
                band.fairness.adopt(entry)
            elif not entry.aside:
                band.push(entry)


def _rank(rule: ClassRule) -> tuple[int, str]:
    return (rule.rank, rule.name)


def _place(entry: Entry) -> int:
    return entry.place
