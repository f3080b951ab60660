"""The machine of one pool: tickets in, events out."""

from __future__ import annotations

from scheduling.core.admission import Gate
from scheduling.core.entry import Aside, Entry
from scheduling.core.events import (
    Cancelled,
    Dispatched,
    Event,
    Parked,
    Stranded,
)
from scheduling.core.explain import explain, position
from scheduling.core.foretell import foretell
from scheduling.core.limits import Limit
from scheduling.core.policy import Policy
from scheduling.core.steered import Steered
from scheduling.core.ticket import Ticket
from scheduling.core.view import BackendView, Explanation, Foretold, Newcomer, PoolView

NO, PARKED = Aside.NO, Aside.PARKED  # looked up once: an enum's members are slow to reach


class Scheduler(Steered):
    """Decides whose turn it is in one pool, and at which backend.

    Every method up to ``fail``, ``seat_at_once``, and those of ``Steered``, are inputs: they
    carry the time and return the events they caused, in order. Who keeps an
    entry of its own says ``seat_at_once`` and ``stand_in_line``, ``began`` and
    ``ended``; others name the request. Nothing here
    waits. A ticket that cannot go yet stays in its flow and leaves by exactly
    one of Dispatched, Expired, Stranded or Cancelled; a dispatched one ends by
    ``finish``. Inputs about requests that are not known (any more) change
    nothing, so whoever is unsure may repeat them. Time never goes back between
    inputs.

    Stranded leave at once: tickets whose model no backend of the policy has,
    and tickets of a suspended tenant.
    """

    # What becomes of requests

    def submit(self, ticket: Ticket, now_ms: int) -> list[Event]:
        """Put the ticket in line. Raises ValueError when its request is in the machine already."""
        entry = Entry(ticket)
        if self.seat_at_once(entry, now_ms):
            return [Dispatched(ticket, now_ms, entry.backend, entry.engine_order)]
        return self.stand_in_line(entry, now_ms)

    def stand_in_line(self, entry: Entry, now_ms: int) -> list[Event]:
        """``submit`` for whom ``seat_at_once`` had nothing."""
        ticket, lane, band = entry.ticket, entry.lane, entry.band
        if ticket.request_id in self._entries:
            raise ValueError(f"request {ticket.request_id} is already waiting or running in pool {self.pool}")
        if not lane.gates:
            self._forget(lane)
            return [Stranded(ticket, now_ms, entry)]
        self._entries[ticket.request_id] = entry
        entry.queue()
        self.waiting += 1
        lane.waiting += 1
        entry.roster.waiting += 1
        timers = self.timers
        timers.watch(entry, band.rule.max_wait_ms)
        fairness = band.fairness
        has_peers = lane in fairness.lanes
        if ticket.not_before_ms is None and ticket.api_token_in_flight is None:
            entry.aside = NO  # nearly always
            band.waiting += 1
            fairness.stand(entry)
        else:
            fairness.join(entry)
            self._line.stand(entry, now_ms)
        if has_peers and not entry.aside and timers.due_ms > now_ms and not self._gates.reserve:
            return []  # they wait for the same backends, which are shut
        events: list[Event] = [Parked(ticket, now_ms)] if entry.aside is PARKED else []
        return events if self._must_wait(entry, now_ms) else events + self._settled(now_ms)

    def cancel(self, request_id: str, now_ms: int) -> list[Event]:
        """Take a waiting ticket out of line; nothing was charged for it."""
        entry = self.waiting_entry(request_id)
        if entry is None:
            return []
        self._give_up(entry)
        return [Cancelled(entry.ticket, now_ms), *self._settled(now_ms)]

    def start(self, request_id: str, now_ms: int) -> list[Event]:
        """The first token came, or a whole answer: the request leaves the window."""
        entry = self._entries.get(request_id)
        return [] if entry is None else self.began(entry, now_ms)

    def began(self, entry: Entry, now_ms: int) -> list[Event]:
        """``start`` of an entry, which may be over by now."""
        gate = entry.gate
        if gate is None:
            return []
        if self._sends_order:
            self._engine_order.started(entry)
        if not entry.answered:
            entry.answered = True
            gate.answered += 1
            gate.answer_ms += now_ms - entry.seated_ms
        if not entry.pending and not gate.is_uneasy:
            return []
        if gate.started(entry):
            return self._closed(now_ms)
        return self._freed(gate, now_ms, entry)

    def progress(self, request_id: str, completion_tokens: int, now_ms: int) -> list[Event]:
        """A running request has said so many tokens by now.

        ``vtc`` charges before the end, and an answer that is longer than was
        thought reserves more of its engine's memory; to others it is all one.
        """
        entry = self._entries.get(request_id)
        if entry is None or entry.gate is None:
            return []
        cost = self._rule.cost.of(entry.ticket.prompt_tokens, completion_tokens)
        entry.band.fairness.progress(entry, cost)
        entry.gate.grow(entry, completion_tokens)
        return self._settled(now_ms) if self.timers.due_ms <= now_ms else []

    def finish(self, request_id: str, cost_tokens: int, now_ms: int, *, refund: bool = False) -> list[Event]:
        """Free the seat and charge what it really cost, or nothing if ``refund``."""
        entry = self._entries.get(request_id)
        if entry is None:
            return []
        # An answer that cost nothing is no refund: it had its turn.
        return self.ended(entry, 0 if refund else cost_tokens or 1, now_ms)

    def ended(self, entry: Entry, cost: int, now_ms: int) -> list[Event]:
        """``finish`` of an entry, which may be over by now; a cost of 0 is a refund."""
        gate = entry.gate
        if gate is None:
            return []
        ticket, line = entry.ticket, entry.roster
        del self._entries[ticket.request_id]
        gate.leave(entry, cost)
        if self._sends_order:
            self._engine_order.finish(entry)
        line.in_flight -= 1
        if line.models is not None:
            line.count(ticket.model, -1)
        entry.band.fairness.settle(entry, cost)
        has_cap = ticket.api_token_in_flight is not None
        if has_cap:
            self._line.let_in(entry)
        if gate.gone:
            self._gates.forget_if_gone(gate)
        if self.bands.shut or has_cap:
            self._mark(ticket.tenant)
            return self._settled(now_ms)  # whoever was passed over may go to any backend
        if not self.waiting and self.timers.due_ms > now_ms:
            return []
        return self._freed(gate, now_ms, entry)

    def expire(self, now_ms: int) -> list[Event]:
        """Time has passed: deadlines, promotions, allowances, ends of pauses and boosts."""
        return self._settled(now_ms)

    # What is decided elsewhere

    def set_limit(self, limit: Limit, now_ms: int, read_ms: int | None = None) -> list[Event]:
        """Move one backend's gate; a limit not newer than the one in force is ignored.

        ``read_ms`` is ``limit.running_at_s`` on this machine's clock; without
        it ``limit.running`` takes nobody out of the window.
        """
        if not self._gates.move(limit, now_ms, read_ms):
            return []
        self._route_all(avoiding=True)
        self._look_at_meters()
        if limit.down and (gate := self._gates.get(limit.backend)):
            self._look_up(gate)
        return self._settled(now_ms)

    def set_policy(self, policy: Policy, now_ms: int) -> list[Event]:
        """Obey these rules now, for tickets that wait too. An older revision is ignored."""
        if policy.revision < self.policy.revision:
            return []
        self._obey(policy)
        events: list[Event] = []
        for entry in list(self._entries.values()):
            if entry.waiting and self._is_stranded(entry.ticket, entry.lane):
                self._give_up(entry)
                events.append(Stranded(entry.ticket, now_ms, entry))
        for lane in list(self._lanes.values()):
            self._forget(lane)
        return events + self._settled(now_ms)

    def throttle(self, backend: str, now_ms: int) -> list[Event]:
        """The engine said 429 or 503: halve what it admits, and leave it alone for a moment."""
        gate = self._gates.get(backend)
        if gate is None:
            return []
        gate.throttle(now_ms)
        self._look_up(gate)
        return self._settled(now_ms)

    def fail(self, backend: str, now_ms: int, entry: Entry | None = None) -> list[Event]:
        """A request could not reach the backend, or was cut off before it heard anything.

        Three in a row open its circuit, and so does one that was sent to try
        whether it is back, for which ``entry`` says who failed. The request itself ends by ``finish``.
        """
        gate = self._gates.get(backend)
        if gate is None:
            return []
        gate.fail(now_ms, entry)
        self._route_all(avoiding=True)
        self._look_up(gate)
        return self._settled(now_ms)

    def _closed(self, now_ms: int) -> list[Event]:
        """A backend is back: whoever avoids others may hope for it again."""
        self._route_all(avoiding=True)
        return self._settled(now_ms)

    # Views

    @property
    def is_idle(self) -> bool:
        """No ticket waits and none runs."""
        return not self._entries

    def is_waiting(self, request_id: str) -> bool:
        """Whether the request has no seat yet."""
        return self.waiting_entry(request_id) is not None

    def serves(self, model: str, now_ms: int) -> bool:
        """Whether some backend takes the model's requests: it does not drain, nor is its circuit open."""
        return any(
            not gate.draining and gate.circuit.state(now_ms) != "open" for gate in self._gates.serving(model)
        )

    def next_due_ms(self) -> int | None:
        """When ``expire`` may next have something to do; None when time changes nothing."""
        return self.timers.next_ms()

    def running(self) -> list[Entry]:
        """Who holds a seat."""
        return [entry for entry in self._entries.values() if not entry.waiting]

    def position(self, request_id: str, now_ms: int) -> int | None:
        """About how many dispatches until this request's own: 1 is next. None when it does not wait."""
        entry = self.waiting_entry(request_id)
        return None if entry is None else position(self, entry, now_ms)

    def explain(self, request_id: str, now_ms: int) -> Explanation | None:
        """Why the request waits, its place, and for about how much longer. None when it does not wait."""
        entry = self.waiting_entry(request_id)
        return None if entry is None else explain(self, entry, now_ms)

    def foretell(self, newcomer: Newcomer, now_ms: int) -> Foretold:
        """How a request that came now would wait. Nothing is remembered of it."""
        gates = self._gates.serving(newcomer.model) if newcomer.model else self._gates
        return foretell(self, newcomer, gates, now_ms)

    def view(self, now_ms: int) -> PoolView:
        """The pool as it stands."""
        gates = sorted(self._gates, key=_name)
        return PoolView(
            pool=self.pool,
            fairness=self._rule.fairness,
            queued=self.waiting,
            in_flight=sum(gate.in_flight for gate in gates),
            tenants=self.roster.view(self.policy.tenants, now_ms),
            backends=tuple(gate.view(now_ms) for gate in gates),
            paused=self.bands.paused,
        )

    def begin_period(self, now_ms: int) -> tuple[BackendView, ...]:
        """The gates as they stand; what is counted of a period begins anew (``BackendView``)."""
        gates = sorted(self._gates, key=_name)
        views = tuple(gate.view(now_ms) for gate in gates)
        for gate in gates:
            gate.begin_period()
        self._all_blocked = False
        self._mark_blocked(now_ms)
        return views


def _name(gate: Gate) -> str:
    return gate.name
