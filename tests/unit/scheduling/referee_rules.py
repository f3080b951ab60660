"""What the referee reckons for itself: who may go where, and whose patience is at an end."""

from __future__ import annotations

from scheduling.core.policy import Policy
from scheduling.core.scheduler import Scheduler
from scheduling.core.ticket import Ticket
from scheduling.core.view import BackendView
from tests.unit.scheduling.desk import Desk
from tests.unit.scheduling.machines import POOL


class Rules:
    """The rules in force, read anew from the policy and from what was seen so far."""

    policy: Policy
    machine: Scheduler
    now: int
    waiting: dict[str, Ticket]
    running: dict[str, tuple[Ticket, str]]
    pending: set[str]
    gates: dict[str, BackendView]
    desk: Desk
    overlooked: dict[tuple[str, str], int]
    in_order: dict[str, int]

    def _has_room(self, one: Ticket, name: str, hold: int) -> bool:
        gate = self.gates[name]
        here = self._at(name)
        pending = self.pending.intersection(here)
        windowed = self.policy.pools[POOL].admission == "first_token_window"
        if windowed and len(pending) >= (max(1, gate.window - hold) if gate.window else 0):
            return False
        if not here:
            return gate.cap > 0
        return len(here) < gate.cap - hold

    def _held_back(self, one: Ticket) -> int:
        """Seats that better classes have reserved, less what they lend while none stands in line."""
        classes = self.policy.classes
        if not classes:
            return 0
        rank = classes[one.priority_class].rank
        return sum(
            rule.reserved_seats if self._in_line(rule.name) else max(0, rule.reserved_seats - rule.lent_seats)
            for rule in classes.values()
            if rule.rank < rank
        )

    def _in_line(self, name: str) -> bool:
        return any(band.waiting for band in self.machine.bands if band.rule.name == name)

    def _is_overdue(self, one: Ticket) -> bool:
        rule = self.policy.classes.get(one.priority_class)
        return (
            rule is not None and rule.max_wait_ms is not None and self.now - one.queued_ms >= rule.max_wait_ms
        )

    def _jumps(self, one: Ticket) -> bool:
        """Whether its class may have been promoted, or an admin moved it."""
        peers = [other for other in self.waiting.values() if other.priority_class == one.priority_class]
        return one.request_id in self.desk.first or any(map(self._is_overdue, [one, *peers]))

    def _check_the_order_of_classes(self, one: Ticket, name: str) -> None:
        """A worse class goes before a better one at most once in four seats of a backend."""
        classes = self.policy.classes.values()
        if not classes or any(rule.lent_seats for rule in classes):
            self.in_order.pop(name, None)  # what is lent changes from seat to seat: begin anew afterwards
            return
        if one.request_id in self.desk.first:
            return
        rank = self.policy.classes[one.priority_class].rank
        passed_by = [
            other
            for other in self.waiting.values()
            if self.policy.classes[other.priority_class].rank < rank
            and name in self._usable(other)
            and self._goes(other)
            and self._has_room(other, name, self._held_back(other))
        ]
        if not passed_by:
            self.in_order[name] = self.in_order.get(name, 3) + 1
            return
        assert self.in_order.get(name, 3) >= 3, "worse classes take more than one seat in four"
        self.in_order[name] = 0

    def _goes(self, one: Ticket) -> bool:
        """Whether nothing of its own holds it back."""
        return self.desk.may_go(
            one, self.policy, self.running, self.now
        ) and not self.desk.waits_for_its_token(one, self.waiting.values(), self.running, self.now)

    def _check_nobody_is_overlooked(self, one: Ticket, name: str) -> None:
        """Of any 4 x A seats of a backend, one goes to each of A overdue classes."""
        overdue = {
            other.priority_class
            for other in [one, *self.waiting.values()]
            if self._is_overdue(other) and name in self._usable(other) and self._goes(other)
        }
        if one.request_id in self.desk.first:
            return
        for key in [key for key in self.overlooked if key[0] == name and key[1] not in overdue]:
            del self.overlooked[key]
        for priority_class in overdue - {one.priority_class}:
            count = self.overlooked[name, priority_class] = self.overlooked.get((name, priority_class), 0) + 1
            assert count < 4 * len(self.policy.classes), "an aged class is overlooked"
        self.overlooked.pop((name, one.priority_class), None)

    def _serving(self, one: Ticket) -> list[str]:
        return [name for name, rule in self.policy.backends.items() if one.model in rule.models]

    def _usable(self, one: Ticket) -> list[str]:
        serving = self._serving(one)
        live = [name for name in serving if self.gates[name].cap and not self.policy.backends[name].draining]
        return [name for name in live if name not in one.avoid] or serving

    def _suspended(self, one: Ticket) -> bool:
        rule = self.policy.tenants.get(one.tenant)
        return rule is not None and rule.suspended
