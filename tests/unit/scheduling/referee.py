"""A referee for the machine that trusts nothing it is told."""

from __future__ import annotations

from scheduling.core.events import Event, Expired, Stranded
from scheduling.core.limits import Limit
from scheduling.core.policy import Policy
from scheduling.core.scheduler import Scheduler
from scheduling.core.ticket import Ticket
from tests.unit.scheduling.machines import POOL

PAUSE_MS = 1000


class Referee:
    """Plays histories into a machine and checks after every step what must always hold.

    It keeps its own account of who waits and runs where, from inputs and
    events alone. From the machine it takes only the window and the cap in
    force, and checks those against the limits it has sent.
    """

    def __init__(self, rules: Policy) -> None:
        self.policy = rules
        self.machine = Scheduler(POOL, rules)
        self.now = 0
        self.waiting: dict[str, Ticket] = {}
        self.running: dict[str, tuple[Ticket, str]] = {}
        self.pending: set[str] = set()
        self.seated_ms: dict[str, int] = {}
        self.ended: set[str] = set()
        self.limits: dict[str, Limit] = {}
        self.paused_until: dict[str, int] = {}

    # inputs

    def submit(self, one: Ticket) -> None:
        self.waiting[one.request_id] = one
        self._check(self.machine.submit(one, self.now))

    def cancel(self, request_id: str) -> None:
        if self.waiting.pop(request_id, None):
            self.ended.add(request_id)
        self._check(self.machine.cancel(request_id, self.now))

    def start(self, request_id: str) -> None:
        self.pending.discard(request_id)
        self._check(self.machine.start(request_id, self.now))

    def finish(self, request_id: str, cost: int, *, refund: bool = False) -> None:
        if self.running.pop(request_id, None):
            self.ended.add(request_id)
            self.pending.discard(request_id)
            del self.seated_ms[request_id]
        self._check(self.machine.finish(request_id, cost, self.now, refund=refund))

    def wait(self, step_ms: int) -> None:
        self.now += step_ms
        self._check(self.machine.expire(self.now))

    def limit(self, limit: Limit, read_ms: int | None = None) -> None:
        known = self.limits.get(limit.backend)
        newer = known is None or (limit.epoch, limit.read_at_s) > (known.epoch, known.read_at_s)
        if newer and limit.backend in self.policy.backends:
            self.limits[limit.backend] = limit
            if limit.running is None:
                self.pending.difference_update(self._whole(self._at(limit.backend)))
            elif read_ms is not None and (known is None or limit.running_at_s > known.running_at_s):
                self._free(limit, read_ms)
        self._check(self.machine.set_limit(limit, self.now, read_ms))

    def throttle(self, name: str) -> None:
        self.paused_until[name] = self.now + PAUSE_MS
        self._check(self.machine.throttle(name, self.now))

    def obey(self, rules: Policy) -> None:
        self.policy = rules
        self._check(self.machine.set_policy(rules, self.now))

    def drain(self) -> None:
        """End everything, and see that nothing is left behind."""
        for request_id in list(self.waiting):
            self.cancel(request_id)
        for request_id in list(self.running):
            self.finish(request_id, 10)
        assert self.machine.is_idle
        assert not self.machine.view(self.now).tenants
        assert all(not footprint(band.fairness) for band in self.machine._bands)
        assert not self.machine._bands.full
        assert all(not band.lanes and not band.overdue for band in self.machine._bands)
        assert not any(lane.avoid for lane in self.machine._lanes.values())

    def _free(self, limit: Limit, read_ms: int) -> None:
        """Of those dispatched before a reading, ``in flight - running`` may wait; the oldest others leave."""
        before = [name for name in self._at(limit.backend) if self.seated_ms[name] < read_ms]
        pending = [name for name in before if name in self.pending]
        may_wait = max(0, len(before) - limit.running)
        self.pending.difference_update(self._whole(pending)[: max(0, len(pending) - may_wait)])

    def _at(self, backend: str) -> list[str]:
        return [name for name, (_, where) in self.running.items() if where == backend]

    def _whole(self, names: list[str]) -> list[str]:
        return [name for name in names if not self.running[name][0].streams]

    # checks

    def _check(self, events: list[Event]) -> None:
        self.view = self.machine.view(self.now)
        self.gates = {gate.backend: gate for gate in self.view.backends}
        known = self.gates.keys()
        for name in self.limits.keys() - known:
            del self.limits[name]  # a backend that left and was empty begins anew
        for name in self.paused_until.keys() - known:
            del self.paused_until[name]
        for event in events:
            self._take(event)
        self._check_counts()
        self._check_memory()
        self._check_nobody_is_late()
        self._check_no_seat_is_idle()

    def _take(self, event: Event) -> None:
        one = self.waiting.pop(event.ticket.request_id, None)
        assert one == event.ticket, "an event speaks of a ticket that does not wait"
        assert event.at_ms == self.now
        if isinstance(event, Expired):
            assert one.deadline_ms is not None
            assert one.deadline_ms <= self.now
            self.ended.add(one.request_id)
        elif isinstance(event, Stranded):
            assert not self._serving(one) or self._suspended(one)
            self.ended.add(one.request_id)
        else:
            self._seat(one, event.backend)

    def _seat(self, one: Ticket, name: str) -> None:
        assert name in self._usable(one), "a backend that this ticket must not use"
        assert one.request_id not in self.running
        assert not self.policy.backends[name].draining
        assert self.paused_until.get(name, 0) <= self.now
        assert one.deadline_ms is None or one.deadline_ms > self.now
        assert self._has_room(one, name), "a seat beyond the limit in force"
        assert not self._is_full(one.tenant), "a seat beyond the tenant's own quota"
        self.running[one.request_id] = (one, name)
        self.seated_ms[one.request_id] = self.now
        limit = self.limits.get(name)
        if one.streams or (limit and limit.running is not None):
            self.pending.add(one.request_id)

    def _check_counts(self) -> None:
        view = self.view
        assert view.queued == len(self.waiting)
        assert view.in_flight == len(self.running)
        for gate in view.backends:
            rule = self.policy.backends.get(gate.backend)
            here = self._at(gate.backend)
            assert gate.in_flight == len(here)
            assert gate.pending_first_token == len(self.pending.intersection(here))
            assert gate.streaming == sum(
                self.running[name][0].streams for name in here if name not in self.pending
            )
            if rule:
                assert gate.cap <= rule.max_in_flight
            if limit := self.limits.get(gate.backend):
                assert gate.cap <= limit.cap
                assert gate.window <= limit.window
        for line in view.tenants:
            assert line.queued == sum(one.tenant == line.tenant for one in self.waiting.values())
            assert line.queued_tokens == sum(
                max(1, one.cost_tokens) for one in self.waiting.values() if one.tenant == line.tenant
            )
            assert line.in_flight == sum(one.tenant == line.tenant for one, _ in self.running.values())

    def _check_memory(self) -> None:
        for level in levels(self.machine):
            for share in level.shares.values():
                assert share.held or (share.parked or 0) > level.now, "an idle name that is still known"

    def _check_nobody_is_late(self) -> None:
        for one in self.waiting.values():
            assert one.deadline_ms is None or one.deadline_ms > self.now
            assert self._serving(one), "a ticket waits that nobody can serve"
            assert not self._suspended(one)

    def _check_no_seat_is_idle(self) -> None:
        for one in self.waiting.values():
            if self._is_full(one.tenant):
                continue
            for name in self._usable(one):
                rule = self.policy.backends[name]
                if rule.draining or self.paused_until.get(name, 0) > self.now:
                    continue
                assert not self._has_room(one, name), f"{name} has a seat free while {one.request_id} waits"

    def _has_room(self, one: Ticket, name: str) -> bool:
        gate = self.gates[name]
        here = self._at(name)
        pending = self.pending.intersection(here)
        if self.policy.pools[POOL].admission == "first_token_window" and len(pending) >= gate.window:
            return False
        if not here:
            return gate.cap > 0
        return len(here) < gate.cap - self._held_back(one)

    def _held_back(self, one: Ticket) -> int:
        classes = self.policy.classes
        if not classes:
            return 0
        rank = classes[one.priority_class].rank
        return sum(rule.reserved_seats for rule in classes.values() if rule.rank < rank)

    def _serving(self, one: Ticket) -> list[str]:
        return [name for name, rule in self.policy.backends.items() if one.model in rule.models]

    def _usable(self, one: Ticket) -> list[str]:
        serving = self._serving(one)
        live = [name for name in serving if self.gates[name].cap and not self.policy.backends[name].draining]
        return [name for name in live if name not in one.avoid] or serving

    def _is_full(self, tenant: str) -> bool:
        rule = self.policy.tenants.get(tenant)
        most = rule.quotas.get("in_flight") if rule else None
        return most is not None and sum(one.tenant == tenant for one, _ in self.running.values()) >= most

    def _suspended(self, one: Ticket) -> bool:
        rule = self.policy.tenants.get(one.tenant)
        return rule is not None and rule.suspended


def levels(machine: Scheduler):
    """Every level of names that the machine's orders know of."""
    for band in machine._bands:
        tenants = vars(band.fairness).get("_tenants")
        if tenants is not None:
            yield tenants
            yield from (tenant.inner for tenant in tenants.shares.values())


def footprint(fairness) -> int:
    """How many flows an order still remembers."""
    state = vars(fairness)
    if "_tenants" in state:
        return len(state["_tenants"].shares) + len(state["_tenants"]._lanes) + len(state["_tenants"]._idle)
    return len(state.get("_lines", state.get("_rings")))
