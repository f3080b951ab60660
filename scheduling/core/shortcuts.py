"""The short ways through the machine: what nearly all requests need, and no more."""

from __future__ import annotations

from scheduling.core.admission import Gate
from scheduling.core.band import Band
from scheduling.core.entry import Entry, Lane
from scheduling.core.events import Event
from scheduling.core.machine import Machine
from scheduling.core.routing import choose, choose_for


class Shortcuts(Machine):
    """The machine, and shorter ways to what ``_settled`` would decide."""

    def seat_at_once(self, entry: Entry, now_ms: int) -> bool:
        """Seat who finds nobody waiting and nothing in its way. False: ``stand_in_line`` with it."""
        ticket, bands, rule = entry.ticket, self.bands, self._cost
        try:
            way = self._ways[ticket.tenant, ticket.model, ticket.priority_class, ticket.avoid]
        except KeyError:
            way = self._way(ticket)
        entry.lane, entry.band, entry.roster, gate = way
        self._arrivals = place = self._arrivals + 1
        entry.place = place if ticket.attempt <= 1 else -place
        # A ticket that costs nothing would be next for ever.
        entry.cost = (
            rule.prompt_weight * ticket.prompt_tokens + rule.completion_weight * ticket.completion_tokens or 1
        )
        if (
            self.waiting
            or self.timers.due_ms <= now_ms
            or ticket.not_before_ms is not None
            or ticket.api_token_in_flight is not None
            or (ticket.deadline_ms is not None and ticket.deadline_ms <= now_ms)
            or bands.paused
            or (bands.shut and ticket.model in bands.shut.get(ticket.tenant, ()))
            or ticket.request_id in self._entries
        ):
            return False
        hold = entry.band.hold
        if gate is None or gate.is_choosy:
            gate = self._choice(entry, hold, now_ms)
            if gate is None:
                return False
        elif not gate.is_open(hold, now_ms):
            return False
        self._entries[ticket.request_id] = entry
        entry.band.fairness.pass_through(entry)
        gate.since_promoted += 1
        self._run(entry, gate, now_ms)
        if ticket.avoid:
            self._forget(entry.lane)
        return True

    def _choice(self, entry: Entry, hold: int, now_ms: int) -> Gate | None:
        gate = choose(entry.lane, hold, now_ms, 0, ())
        return choose_for(entry, hold, now_ms, 0, ()) if gate is not None and gate.is_choosy else gate

    def _freed(self, gate: Gate, now_ms: int, by: Entry) -> list[Event]:
        """The same when all that changed is that ``by`` may have opened its gate: most inputs."""
        bands = self.bands
        if self._any_gate or self.timers.due_ms <= now_ms:
            return self._settled(now_ms)  # whoever was passed over may go to any gate
        events: list[Event] = []
        lane, band = by.lane, by.band
        if (
            lane.waiting == self.waiting == band.waiting
            and not band.overdue
            and not bands.paused
            and gate in lane.gates
        ):  # all who wait are in one line, and it is for this gate
            self._seat_from(lane, band, gate, now_ms, events)
        else:
            while self.waiting and gate.is_open(0, now_ms) and (choice := bands.next(now_ms)):
                self._no_longer_waiting(choice[0])
                self._line.seat(choice[0])
                self._seat(choice[0], choice[1], now_ms, events)
        if self.waiting and not gate.blocked:
            self._mark_blocked(now_ms)
        return events

    def _seat_from(self, lane: Lane, band: Band, gate: Gate, now_ms: int, events: list[Event]) -> None:
        fairness, hold = band.fairness, band.hold
        while gate.is_open(hold, now_ms) and (entry := fairness.first(lane)):
            fairness.serve(entry)
            self.waiting = lane.waiting = band.waiting = self.waiting - 1
            entry.waiting = False
            gate.since_promoted += 1
            self._seat(entry, gate, now_ms, events)
        if lane.avoid:
            self._forget(lane)

    def _must_wait(self, entry: Entry, now_ms: int) -> bool:
        """Whether a ticket that just came surely changes nothing: a shorter way for long lines."""
        if self.timers.due_ms <= now_ms:
            return False
        return bool(entry.aside) or entry.lane.model in self.bands.shut.get(entry.ticket.tenant, ())
