"""What the scheduler holds and decides between two inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from scheduling.core.admission import Gate
from scheduling.core.band import Band
from scheduling.core.classes import Bands
from scheduling.core.engine_order import RANK, EngineOrder
from scheduling.core.entry import Aside, Entry, Lane, LaneKey
from scheduling.core.events import BoostEnded, Dispatched, Event, Expired, Unparked
from scheduling.core.gates import Gates
from scheduling.core.line import Line
from scheduling.core.pace import Pace
from scheduling.core.policy import Policy, PoolRule
from scheduling.core.roster import Roster, TenantLine
from scheduling.core.routing import route
from scheduling.core.ticket import Ticket
from scheduling.core.timers import Due, Timers
from scheduling.core.usage import CostRule

MOST_WAYS = 10_000  # remembered: tenants x models x classes
NOWHERE = Lane(("", frozenset({""})))  # leads to no backend
NOWHERE.gates = ()

Way = tuple[Lane, Band, TenantLine, Gate | None]  # the gate, where the lane has no other
WayKey = tuple[str, str, str, frozenset[str]]  # tenant, model, class, and what is avoided


class Machine:
    """The tickets, gates and rules of one pool, and the decisions that follow from them.

    After every input ``_settled`` lets time do its part and seats whoever can
    go; nothing else seats anybody, but for the short ways that ``Shortcuts``
    adds.
    """

    _rule: PoolRule  # in force
    _cost: CostRule  # the same, of the rule
    _all_blocked: bool  # every gate of a lane is marked as blocked already
    _sends_order: bool  # on to the engines
    _any_gate: bool  # a freed seat may let whoever was passed over go to any other
    on_seat: Callable[[Entry], None] | None = None
    """Told who has got a seat after all, in the place of a ``Dispatched``."""
    charges_as_it_streams: bool
    """Whether ``progress`` changes anything."""

    def __init__(self, pool: str, policy: Policy) -> None:
        self.pool = pool
        self.policy = policy
        self.bands = Bands()
        self._entries: dict[str, Entry] = {}
        self.roster = Roster(self._entries)
        self.pace = Pace()
        self.waiting = 0
        self._gates = Gates(pool)
        self.timers = Timers()
        self._line = Line(self.bands, self.timers)
        self._lanes: dict[LaneKey, Lane] = {}
        self._ways: dict[WayKey, Way] = {}  # as long as the same rules are in force
        self._arrivals = 0
        self._engine_order = EngineOrder()
        self._obey(policy)

    def _settled(self, now_ms: int) -> list[Event]:
        """Let time do its part, then seat whoever can go."""
        events: list[Event] = []
        if self.timers.due_ms <= now_ms:
            events.extend(self._pass_time(now_ms))
        if self.waiting:
            bands = self.bands
            while choice := bands.next(now_ms):
                self._no_longer_waiting(choice[0])
                self._line.seat(choice[0])
                self._seat(*choice, now_ms, events)
            if self.waiting and not self._all_blocked:
                self._mark_blocked(now_ms)
        return events

    def _mark(self, tenant: str) -> None:
        """Pass the tenant over, or let it in again, as its pause and its seats in flight say."""
        rule = self.policy.tenants.get(tenant)
        if rule is None and not self.bands.shut and not self.roster.paused:
            return
        closed = self.roster.closed(tenant, rule)
        if closed != self.bands.shut.get(tenant):
            self.bands.close(tenant, closed)

    def _pass_time(self, now_ms: int) -> Iterator[Event]:
        for what, entry in self.timers.due(now_ms):
            if what is Due.EXPIRE:
                self._give_up(entry)
                yield Expired(entry.ticket, now_ms, entry)
            elif what is Due.UNPARK:
                if entry.aside is Aside.PARKED:
                    self._line.stand(entry, now_ms)
                    yield Unparked(entry.ticket, now_ms)
            elif not entry.overdue:
                entry.band.age(entry)
        for tenant, (_, until_ms) in list(self.roster.boosts.items()):
            if until_ms <= now_ms:
                del self.roster.boosts[tenant]
                self.bands.reweigh([tenant])
                yield BoostEnded(tenant, now_ms)

    def _way(self, ticket: Ticket) -> Way:
        """Where a ticket like this one stands: its lane and class, and its tenant's line."""
        rule = self.policy.tenants.get(ticket.tenant)
        if len(self._ways) >= MOST_WAYS:
            self._forget_ways()
        lane = self._lane(ticket) if rule is None or not rule.suspended else NOWHERE
        line = self.roster.line_of(ticket.tenant, rule)
        way = (
            lane,
            self.bands.of(ticket.priority_class),
            line,
            lane.gates[0] if len(lane.gates) == 1 else None,
        )
        if lane.gates and not lane.avoid:  # no other lane is ever forgotten, or given other backends
            self._ways[ticket.tenant, ticket.model, ticket.priority_class, ticket.avoid] = way
        return way

    def _forget_ways(self) -> None:
        self._ways.clear()
        self.roster.obey(self.policy.tenants)

    def _seat(self, entry: Entry, gate: Gate, now_ms: int, events: list[Event]) -> None:
        """Seat who had to wait."""
        line = entry.roster
        line.waiting -= 1
        self._run(entry, gate, now_ms)
        if entry.told_ms is not None:
            self.pace.learn(entry.told_ms, now_ms - entry.told_at_ms)
        if self.on_seat is None:
            events.append(Dispatched(entry.ticket, now_ms, entry.backend, entry.engine_order))
        else:
            self.on_seat(entry)

    def _run(self, entry: Entry, gate: Gate, now_ms: int) -> None:
        line, ticket = entry.roster, entry.ticket
        line.in_flight = running = line.in_flight + 1
        if line.models is not None:
            line.count(ticket.model, 1)
        if running >= line.most:
            self._mark(ticket.tenant)
        gate.seat(entry, now_ms)
        self.pace.seated(now_ms)
        if self._sends_order:
            entry.engine_order = self._order_of(entry)

    def _order_of(self, entry: Entry) -> int:
        """What the engine's own scheduler is to go by."""
        if self._rule.fairness == "fifo":
            return entry.band.rule.rank * RANK
        return self._engine_order.seat(entry, self._weight_of(entry.ticket.tenant))

    def _give_up(self, entry: Entry) -> None:
        del self._entries[entry.ticket.request_id]
        self._no_longer_waiting(entry)
        self._line.take_out(entry)
        entry.band.fairness.leave(entry)
        entry.roster.waiting -= 1

    def _no_longer_waiting(self, entry: Entry) -> None:
        entry.waiting = False
        self.waiting -= 1
        lane = entry.lane
        lane.waiting -= 1
        if lane.avoid:
            self._forget(lane)

    def waiting_entry(self, request_id: str) -> Entry | None:
        """Whoever has no seat yet under this id."""
        entry = self._entries.get(request_id)
        return entry if entry is not None and entry.waiting else None

    def _lane(self, ticket: Ticket) -> Lane:
        key = (ticket.model, ticket.avoid)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
            route(lane, self._gates)
            self._all_blocked = False
        return lane

    def _forget(self, lane: Lane) -> None:
        """Drop a lane that nobody waits in, unless the next ticket for its model will use it."""
        if not lane.waiting and (lane.avoid or not lane.gates):
            self._lanes.pop(lane.key, None)

    def _is_stranded(self, ticket: Ticket, lane: Lane) -> bool:
        tenant = self.policy.tenants.get(ticket.tenant)
        return (tenant is not None and tenant.suspended) or not lane.gates

    def _weight_of(self, tenant: str) -> int:
        return self.roster.weight_of(tenant, self.policy.tenants)

    def _obey(self, policy: Policy) -> None:
        rule = policy.pools.get(self.pool) or PoolRule(self.pool)
        old, self.policy = self.policy, policy  # the orders ask for the new weights
        try:
            self.bands.obey(policy, rule, self._weight_of, self._entries.values())
        except ValueError:
            self.policy = old
            raise
        self._rule, self._cost = rule, rule.cost
        self._sends_order = rule.engine_priority != "off"
        if not self._sends_order:
            self._engine_order = EngineOrder()  # of no use to who goes in meanwhile
        self.bands.reweigh()
        self._gates.obey(policy)
        self._look_at_meters()
        self._forget_ways()
        self._route_all()
        for tenant in self.roster:
            self._mark(tenant)
        if policy.classes != old.classes:
            self._watch_anew()

    def _look_at_meters(self) -> None:
        reserve = self._gates.reserve
        self.charges_as_it_streams = self._rule.fairness == "vtc" or reserve
        self._any_gate = reserve or self.bands.lends

    def _watch_anew(self) -> None:
        """Bounds of waiting have changed: forget who is overdue and look again."""
        self.timers.clear()
        for entry in self._entries.values():
            if entry.waiting:
                if entry.overdue:
                    entry.band.forgive(entry)
                self.timers.watch(entry, entry.band.rule.max_wait_ms)
                if entry.aside is Aside.PARKED:
                    self.timers.unpark_at(entry, entry.ticket.not_before_ms or 0)
        for gate in self._gates:
            self._look_up(gate)
        for _, until_ms in self.roster.boosts.values():
            self.timers.look_at(until_ms)

    def _route_all(self, *, avoiding: bool = False) -> None:
        """Give the lanes their backends anew: all, or those that avoid some."""
        self._all_blocked = False
        for lane in self._lanes.values():
            if lane.avoid or not avoiding:
                route(lane, self._gates)

    def _look_up(self, gate: Gate) -> None:
        """Look again when the gate's pause ends, or its circuit lets somebody try."""
        if (at_ms := gate.looks_up_ms) is not None:
            self.timers.look_at(at_ms)

    def _mark_blocked(self, now_ms: int) -> None:
        bands = self.bands
        if bands.paused:
            return  # nobody waits for a backend
        all_blocked = True
        for lane in self._lanes.values():
            waited_for = bands.wait_in(lane)
            for gate in lane.gates:
                if waited_for and not gate.blocked and not gate.is_open(0, now_ms):
                    gate.blocked = True
                all_blocked = all_blocked and gate.blocked
        self._all_blocked = all_blocked
