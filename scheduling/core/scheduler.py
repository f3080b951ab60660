"""The machine of one pool: tickets in, events out."""

from __future__ import annotations

from collections.abc import Iterator

from scheduling.core.admission import Gate, Gates
from scheduling.core.classes import Bands
from scheduling.core.entry import Entry, Lane, LaneKey
from scheduling.core.events import Dispatched, Event, Expired, Stranded
from scheduling.core.limits import Limit
from scheduling.core.policy import Policy, PoolRule
from scheduling.core.roster import Roster
from scheduling.core.routing import route
from scheduling.core.ticket import Ticket
from scheduling.core.timers import Due, Timers
from scheduling.core.view import BackendView, PoolView


class Scheduler:
    """Decides whose turn it is in one pool, and at which backend.

    Every method up to ``throttle`` is an input: it carries the time and
    returns the events it caused, in order. Nothing here waits. A ticket that
    cannot go yet stays in its flow and leaves by exactly one of Dispatched,
    Expired, Stranded or ``cancel``; a dispatched one ends by ``finish``.
    Inputs about requests that are not known (any more) change nothing, so
    whoever is unsure may repeat them. Time never goes back between inputs.

    Stranded leave at once: tickets whose model no backend of the policy has,
    and tickets of a suspended tenant.
    """

    def __init__(self, pool: str, policy: Policy) -> None:
        self.pool = pool
        self._policy = policy
        self._rule = PoolRule(pool)
        self._gates = Gates(pool)
        self._bands = Bands()
        self._roster = Roster()
        self._timers = Timers()
        self._lanes: dict[LaneKey, Lane] = {}
        self._entries: dict[str, Entry] = {}
        self._waiting = 0
        self._arrivals = 0
        self._obey(policy)

    # Inputs

    def submit(self, ticket: Ticket, now_ms: int) -> list[Event]:
        """Put the ticket in line. Raises ValueError when its request is in the machine already."""
        if ticket.request_id in self._entries:
            raise ValueError(f"request {ticket.request_id} is already waiting or running in pool {self.pool}")
        if self._is_stranded(ticket):
            return [Stranded(ticket, now_ms)]
        self._arrivals += 1
        place = self._arrivals if ticket.attempt <= 1 else -self._arrivals
        # A ticket that costs nothing would be next for ever.
        entry = Entry(ticket, max(1, ticket.cost_tokens), place, self._lane(ticket))
        self._entries[ticket.request_id] = entry
        self._waiting += 1
        entry.lane.waiting += 1
        self._roster.join(entry)
        band = self._bands.of(ticket.priority_class)
        band.push(entry)
        self._timers.watch(entry, band.rule.max_wait_ms)
        return [] if self._must_wait(entry, now_ms) else self._settled(now_ms)

    def cancel(self, request_id: str, now_ms: int) -> list[Event]:
        """Take a waiting ticket out of line; nothing was charged for it."""
        entry = self._entries.get(request_id)
        if entry is None or not entry.waiting:
            return []
        self._give_up(entry)
        return self._settled(now_ms)

    def start(self, request_id: str, now_ms: int) -> list[Event]:
        """The first token came: the request leaves the window."""
        entry = self._entries.get(request_id)
        if entry is None or entry.gate is None or not entry.pending:
            return []
        entry.gate.started(entry)
        return self._settled(now_ms)

    def finish(self, request_id: str, cost_tokens: int, now_ms: int, *, refund: bool = False) -> list[Event]:
        """Free the seat and charge what it really cost, or nothing if ``refund``."""
        entry = self._entries.get(request_id)
        if entry is None or entry.gate is None:
            return []
        gate = entry.gate
        del self._entries[request_id]
        gate.leave(entry, refund=refund)
        self._gates.forget_if_gone(gate)
        self._roster.finish(entry)
        entry.band.fairness.settle(entry, 0 if refund else cost_tokens)
        self._mark(entry.ticket.tenant)
        return self._settled(now_ms)

    def expire(self, now_ms: int) -> list[Event]:
        """Time has passed: deadlines, promotions and ends of pauses."""
        return self._settled(now_ms)

    def set_limit(self, limit: Limit, now_ms: int, read_ms: int | None = None) -> list[Event]:
        """Move one backend's gate; a limit not newer than the one in force is ignored.

        ``read_ms`` is ``limit.running_at_s`` on this machine's clock; without
        it ``limit.running`` takes nobody out of the window.
        """
        if not self._gates.move(limit, read_ms):
            return []
        for lane in self._lanes.values():
            if lane.avoid:
                route(lane, self._gates)
        return self._settled(now_ms)

    def set_policy(self, policy: Policy, now_ms: int) -> list[Event]:
        """Obey these rules now, for tickets that wait too. An older revision is ignored."""
        if policy.revision < self._policy.revision:
            return []
        self._obey(policy)
        events: list[Event] = []
        for entry in list(self._entries.values()):
            if entry.waiting and self._is_stranded(entry.ticket):
                self._give_up(entry)
                events.append(Stranded(entry.ticket, now_ms))
        for key in [key for key, lane in self._lanes.items() if not lane.gates and not lane.waiting]:
            del self._lanes[key]
        return events + self._settled(now_ms)

    def throttle(self, backend: str, now_ms: int) -> list[Event]:
        """The engine said 429 or 503: halve what it admits, and leave it alone for a moment."""
        gate = self._gates.get(backend)
        if gate is None:
            return []
        gate.throttle(now_ms)
        self._timers.resume_at(gate.paused_until_ms)
        return self._settled(now_ms)

    # Views

    @property
    def is_idle(self) -> bool:
        """No ticket waits and none runs."""
        return not self._entries

    def is_waiting(self, request_id: str) -> bool:
        """Whether the request stands in line."""
        entry = self._entries.get(request_id)
        return entry is not None and entry.waiting

    def next_due_ms(self) -> int | None:
        """When ``expire`` may next have something to do; None when time changes nothing."""
        return self._timers.next_ms()

    def position(self, request_id: str, now_ms: int) -> int | None:
        """About how many dispatches until this request's own: 1 is next. None when it does not wait."""
        entry = self._entries.get(request_id)
        if entry is None or not entry.waiting:
            return None
        return min(self._waiting, 1 + self._bands.ahead(entry, now_ms))

    def view(self, now_ms: int) -> PoolView:
        """The pool as it stands."""
        gates = sorted(self._gates, key=_name)
        return PoolView(
            pool=self.pool,
            fairness=self._rule.fairness,
            queued=self._waiting,
            in_flight=sum(gate.in_flight for gate in gates),
            tenants=self._roster.view(self._entries.values(), self._policy.tenants, now_ms),
            backends=tuple(gate.view() for gate in gates),
        )

    def begin_period(self, now_ms: int) -> tuple[BackendView, ...]:
        """The gates as they stand; ``BackendView.blocked`` begins anew."""
        gates = sorted(self._gates, key=_name)
        views = tuple(gate.view() for gate in gates)
        for gate in gates:
            gate.blocked = False
        self._mark_blocked(now_ms)
        return views

    # Decisions

    def _settled(self, now_ms: int) -> list[Event]:
        """Let time do its part, then seat whoever can go."""
        events: list[Event] = []
        if self._timers.is_due(now_ms):
            events.extend(self._pass_time(now_ms))
        while self._waiting and (choice := self._bands.next(now_ms)):
            events.append(self._seat(*choice, now_ms))
        if self._waiting:
            self._mark_blocked(now_ms)
        return events

    def _must_wait(self, entry: Entry, now_ms: int) -> bool:
        """Whether a ticket that just came surely changes nothing: a shorter way for long lines."""
        if self._timers.is_due(now_ms):
            return False
        full = self._bands.full
        if entry.ticket.tenant in full:
            return True
        # Others of its class wait for the same backends, and not for their own tenant: the backends are shut.
        return not full and entry.band.lanes[entry.lane] > 1

    def _mark(self, tenant: str) -> None:
        self._bands.mark(tenant, full=self._roster.is_full(tenant, self._policy.tenants.get(tenant)))

    def _pass_time(self, now_ms: int) -> Iterator[Event]:
        for what, entry in self._timers.due(now_ms):
            if what is Due.EXPIRE:
                self._give_up(entry)
                yield Expired(entry.ticket, now_ms)
            elif not entry.overdue:
                entry.band.age(entry)

    def _seat(self, entry: Entry, gate: Gate, now_ms: int) -> Dispatched:
        self._out_of_line(entry)
        entry.band.fairness.serve(entry)
        self._roster.seat(entry)
        self._mark(entry.ticket.tenant)
        entry.gate = gate
        gate.seat(entry, now_ms)
        return Dispatched(entry.ticket, gate.name, now_ms)

    def _give_up(self, entry: Entry) -> None:
        del self._entries[entry.ticket.request_id]
        self._out_of_line(entry)
        entry.band.fairness.remove(entry)
        self._roster.give_up(entry)

    def _out_of_line(self, entry: Entry) -> None:
        entry.waiting = False
        entry.band.leave(entry)
        self._waiting -= 1
        lane = entry.lane
        lane.waiting -= 1
        if lane.avoid and not lane.waiting:
            del self._lanes[lane.key]

    def _lane(self, ticket: Ticket) -> Lane:
        key = (ticket.model, ticket.avoid)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
            route(lane, self._gates)
        return lane

    def _is_stranded(self, ticket: Ticket) -> bool:
        tenant = self._policy.tenants.get(ticket.tenant)
        return (tenant is not None and tenant.suspended) or not self._gates.serving(ticket.model)

    def _obey(self, policy: Policy) -> None:
        rule = policy.pools.get(self.pool) or PoolRule(self.pool)
        self._bands.obey(policy, rule, self._entries.values())  # first: it may refuse the policy
        old_classes, self._policy, self._rule = self._policy.classes, policy, rule
        self._gates.obey(policy)
        for lane in self._lanes.values():
            route(lane, self._gates)
        for tenant in self._roster:
            self._mark(tenant)
        if policy.classes != old_classes:
            self._watch_anew()

    def _watch_anew(self) -> None:
        """Bounds of waiting have changed: forget who is overdue and look again."""
        self._timers.clear()
        for entry in self._entries.values():
            if entry.waiting:
                if entry.overdue:
                    entry.band.forgive(entry)
                self._timers.watch(entry, entry.band.rule.max_wait_ms)
        for gate in self._gates:
            self._timers.resume_at(gate.paused_until_ms)

    def _mark_blocked(self, now_ms: int) -> None:
        if self._waiting == self._roster.waiting_of(self._bands.full):
            return  # nobody waits for a backend
        for lane in self._lanes.values():
            if not lane.waiting:
                continue
            for gate in lane.gates:
                if not gate.blocked and not gate.is_open(0, now_ms):
                    gate.blocked = True


def _name(gate: Gate) -> str:
    return gate.name
