"""What the referee reckons for itself: who may go where, and whose patience is at an end."""

from __future__ import annotations

from scheduling.core.limits import Limit
from scheduling.core.policy import Policy
from scheduling.core.scheduler import Scheduler
from scheduling.core.ticket import Ticket
from scheduling.core.view import BackendView
from tests.unit.scheduling.desk import Desk
from tests.unit.scheduling.machines import POOL
from tests.unit.scheduling.referee_engines import Engine


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
    limits: dict[str, Limit]
    engines: dict[str, Engine]
    needs: dict[str, int]
    boosts: dict[str, tuple[int, int]]
    paused_until: dict[str, int]
    wanted: set[str]
    perhaps_wanted: set[str]

    def _has_room(self, one: Ticket, name: str, hold: int) -> bool:
        return self._takes(name, hold) and self._fits(one, name)

    def _takes(self, name: str, hold: int) -> bool:
        """Whether it has a seat, whoever comes."""
        gate = self.gates[name]
        here = self._at(name)
        pending = self.pending.intersection(here)
        if not self.engines[name].takes(self.now):
            return False
        if self._alone():
            return True
        if self.engines[name].grant == 0:
            return False
        if self._windowed() and len(pending) >= (max(1, gate.window - hold) if gate.window else 0):
            return False
        if not here:
            return gate.cap > 0
        return len(here) < gate.cap - hold

    def _fits(self, one: Ticket, name: str) -> bool:
        """Whether the memory that those in flight have reserved leaves enough for it."""
        limit, here = self.limits.get(name), self._at(name)
        if self._alone() or not here or not limit or limit.kv_tokens is None:
            return True
        return (
            sum(self.needs[each] for each in here) + one.prompt_tokens + one.completion_tokens
            <= limit.kv_tokens
        )

    def _check_who_is_blocked(self) -> None:
        """Those that were shut, since the period began, while somebody waited for nothing else."""
        for names in (self.wanted, self.perhaps_wanted):
            names.intersection_update(self.gates)
        shut = {name for name in self.gates if not self._is_open(name) or not self._takes(name, 0)}
        for one in self.waiting.values() if shut - self.wanted else ():
            if self.desk.may_go(one, self.policy, self.running, self.now):
                names = shut.intersection(self._usable(one))
                self.perhaps_wanted |= names
                if names - self.wanted and self._goes(one):
                    self.wanted |= names
        blocked = {name for name, gate in self.gates.items() if gate.blocked}
        assert self.wanted <= blocked <= self.perhaps_wanted, "not those that somebody waited for"

    def _is_kept(self, name: str) -> bool:
        """Whether somebody waits for memory there: who is next in line holds it."""
        return any(
            name in self._usable(other)
            and self.desk.may_go(other, self.policy, self.running, self.now)
            and not self._fits(other, name)
            for other in self.waiting.values()
        )

    def _alone(self) -> bool:
        return self.policy.pools[POOL].engine_priority == "alone"

    def _windowed(self) -> bool:
        return self.policy.pools[POOL].admission == "first_token_window" and not self._alone()

    def _counts_sent(self) -> bool:
        pool = self.policy.pools[POOL]
        return pool.counts_sent and pool.admission == "queue_target" and not self._alone()

    def _weight(self, tenant: str) -> int:
        rule = self.policy.tenants.get(tenant)
        factor, until_ms = self.boosts.get(tenant, (1, 0))
        return (rule.weight if rule else 1) * (factor if self.now < until_ms else 1)

    def _settle_in(self) -> None:
        for name in self.gates:
            limit, rule = self.limits.get(name), self.policy.backends.get(name)
            read = limit is not None and limit.running is not None
            if rule:
                most = 4096 if limit and rule.learns_cap else rule.max_in_flight
                window = limit.window if limit else self.policy.pools[POOL].window_requests
                bounds = [window] if self._windowed() else []
                if not (self._windowed() and read):
                    bounds.append(min(limit.cap, most) if limit else most)
                self.engines[name].bounds = bounds
                self.engines[name].is_capped = not (self._windowed() and read)
            self.engines[name].settle_in()

    def _check_engines(self) -> None:
        """Circuits are as failures make them, starts are slow, and time opens what is shut."""
        for name, gate in self.gates.items():
            engine, limit = self.engines[name], self.limits.get(name)
            assert gate.circuit == engine.state(self.now)
            assert gate.reserved_kv_tokens == sum(self.needs[each] for each in self._at(name))
            read = limit is not None and limit.running is not None
            obeys = name in self.policy.backends  # one that left goes by the rules that it had last
            if obeys and engine.slow and self._windowed():
                assert gate.window <= engine.slow
            if obeys and engine.slow and not (self._windowed() and read):
                assert gate.cap <= engine.slow
            if gate.circuit == "open":
                due_ms = self.machine.next_due_ms()
                assert due_ms is not None
                shut_ms = max(engine.until_ms, self.paused_until.get(name, 0))
                assert due_ms <= shut_ms, "a circuit that nobody will ever look at again"

    def _check_the_route(self, one: Ticket, name: str) -> None:
        """Among those with room: near a known prefix, then the fewest pending, then the least loaded."""
        if self._jumps(one) or any(limit.kv_tokens is not None for limit in self.limits.values()):
            return
        open_to = [
            each
            for each in self._usable(one)
            if self._is_open(each) and self._has_room(one, each, self._held_back(one))
        ]
        slack = self.policy.pools[POOL].prefix_slack_requests
        near = open_to
        if slack is not None and one.prefixes:
            least = min(len(self.pending.intersection(self._at(each))) for each in open_to)
            near = [
                each for each in open_to if len(self.pending.intersection(self._at(each))) <= least + slack
            ]
        assert name == min(near, key=lambda each: self._rank(one, each, slack)), "not the best backend"

    def _rank(self, one: Ticket, name: str, slack: int | None) -> tuple:
        here, limit = self._at(name), self.limits.get(name)
        capacity = (limit.capacity if limit else 0) or self.gates[name].cap or 1
        knows = [n for n, prefix in enumerate(one.prefixes, 1) if prefix in self.engines[name].known]
        longest = max(knows, default=0) if slack is not None else 0
        return -longest, len(self.pending.intersection(here)), len(here) * 1_000_000 // capacity, name

    def _is_open(self, name: str) -> bool:
        rule = self.policy.backends.get(name)
        return rule is not None and not rule.draining and self.paused_until.get(name, 0) <= self.now

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
            and not _shares_a_cap(one, other)
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
        if not one.avoid:
            return serving
        live = [
            name
            for name in serving
            if (self.gates[name].cap or self._alone())
            and not self.policy.backends[name].draining
            and self.engines[name].back_off_ms is None
        ]
        return [name for name in live if name not in one.avoid] or serving

    def _suspended(self, one: Ticket) -> bool:
        rule = self.policy.tenants.get(one.tenant)
        return rule is not None and rule.suspended


def _shares_a_cap(one: Ticket, other: Ticket) -> bool:
    """Both wait for one place of their API token, which lets its tickets in as they came."""
    return one.api_token_in_flight is not None and one.api_token == other.api_token
