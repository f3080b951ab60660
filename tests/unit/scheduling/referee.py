"""A referee for the machine that trusts nothing it is told."""

from __future__ import annotations

from collections import defaultdict

from scheduling.core.events import Cancelled, Dispatched, Event, Expired, Stranded
from scheduling.core.levels import SLACK
from scheduling.core.limits import Limit
from scheduling.core.policy import Policy
from scheduling.core.scheduler import Scheduler
from scheduling.core.ticket import Ticket
from scheduling.core.usage import cost_of
from tests.unit.scheduling.desk import Desk
from tests.unit.scheduling.footprint import footprint, levels
from tests.unit.scheduling.machines import POOL
from tests.unit.scheduling.referee_engines import Engine, Orders
from tests.unit.scheduling.referee_foretold import Foretelling
from tests.unit.scheduling.referee_steering import Steering

PAUSE_MS = 1000


class Referee(Steering, Foretelling):
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
        self.desk = Desk()
        self.overlooked: dict[tuple[str, str], int] = {}
        self.in_order: dict[str, int] = {}
        self.limits: dict[str, Limit] = {}
        self.paused_until: dict[str, int] = {}
        self.engines: defaultdict[str, Engine] = defaultdict(Engine)
        self.orders = Orders()
        self.needs: dict[str, int] = {}  # of memory, in tokens, by who runs
        self.boosts: dict[str, tuple[int, int]] = {}
        self.seats_ms: list[int] = []
        self.wanted: set[str] = set()
        self.perhaps_wanted: set[str] = set()

    # inputs

    def submit(self, one: Ticket) -> None:
        told, nobody_waited = self._foretold(one), not self.waiting
        self.waiting[one.request_id] = one
        self._check(self.machine.submit(one, self.now))
        self._check_the_foretold(one, told, nobody_waited=nobody_waited)

    def cancel(self, request_id: str) -> None:
        known = self.waiting.get(request_id)
        events = self.machine.cancel(request_id, self.now)
        assert [event.ticket for event in events if isinstance(event, Cancelled)] == (
            [known] if known else []
        )
        self._check(events)

    def start(self, request_id: str) -> None:
        if request_id in self.running:
            self.orders.started(request_id)
            self.engines[self.running[request_id][1]].serve(request_id)
        self.pending.discard(request_id)
        self._check(self.machine.start(request_id, self.now))

    def finish(self, request_id: str, cost: int, *, refund: bool = False) -> None:
        if ran := self.running.pop(request_id, None):
            self.ended.add(request_id)
            self.orders.finish(request_id)
            del self.needs[request_id]
            engine = self.engines[ran[1]]
            if request_id not in self.pending and not refund:
                # Whoever stood longest at the engine begins; only of an answer that comes whole nobody hears.
                oldest = [name for name in self._at(ran[1]) if name in self.pending][:1]
                self.pending.difference_update(self._whole(oldest))
            if engine.trial == request_id:
                engine.trial = None
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
            self.engines[limit.backend].obey(limit, known, self.now)
            self.engines[limit.backend].grant = limit.grant if self._counts_sent() else None
            if limit.running is None:
                self.pending.difference_update(self._whole(self._at(limit.backend)))
            elif read_ms is not None and (known is None or limit.running_at_s > known.running_at_s):
                self._free(limit, read_ms)
        self._check(self.machine.set_limit(limit, self.now, read_ms))

    def throttle(self, name: str) -> None:
        self.paused_until[name] = self.now + PAUSE_MS
        engine = self.engines[name]
        engine.slow = max(1, engine.slow // 2) if engine.slow else None
        self._check(self.machine.throttle(name, self.now))

    def fail(self, name: str) -> None:
        self.engines[name].fail(self.now)
        self._check(self.machine.fail(name, self.now))

    def obey(self, rules: Policy) -> None:
        self.policy = rules
        self.orders.obey(rules)
        for name, engine in self.engines.items():
            if name in rules.backends and not self._counts_sent():
                engine.grant = None
        self._check(self.machine.set_policy(rules, self.now))

    def progress(self, request_id: str, tokens: int) -> None:
        if request_id in self.running:
            ahead = self.running[request_id][0].prompt_tokens + tokens + 16
            self.needs[request_id] = max(self.needs[request_id], ahead)
        self._check(self.machine.progress(request_id, tokens, self.now))

    def begin_period(self) -> None:
        self.machine.begin_period(self.now)
        self.wanted.clear()
        self.perhaps_wanted.clear()
        self._check([])

    def drain(self) -> None:
        """End everything, and see that nothing is left behind."""
        for tenant in (None, *self.desk.paused):
            self.resume(tenant)
        for request_id in list(self.waiting):
            self.cancel(request_id)
        for request_id in list(self.running):
            self.finish(request_id, 10)
        assert self.machine.is_idle
        assert not self.machine.view(self.now).tenants
        assert all(not footprint(band.fairness) for band in self.machine.bands)
        assert not self.machine.bands.shut
        assert all(not band.waiting and not band.overdue for band in self.machine.bands)
        assert not self.machine._line._caps._tokens
        assert not self.machine.bands._front
        assert not any(lane.avoid for lane in self.machine._lanes.values())

    def _free(self, limit: Limit, read_ms: int) -> None:
        """Of those dispatched before a reading, ``in flight - running`` may wait; the oldest others leave."""
        before = [name for name in self._at(limit.backend) if self.seated_ms[name] < read_ms]
        pending = [name for name in before if name in self.pending]
        may_wait = max(0, len(before) - limit.running)
        freed = self._whole(pending)[: max(0, len(pending) - may_wait)]
        self.pending.difference_update(freed)
        for name in freed:
            self.engines[limit.backend].step(name)

    def _at(self, backend: str) -> list[str]:
        return [name for name, (_, where) in self.running.items() if where == backend]

    def _whole(self, names: list[str]) -> list[str]:
        return [name for name in names if not self.running[name][0].streams]

    # checks

    def _check(self, events: list[Event]) -> None:
        self.view = self.machine.view(self.now)
        self.gates = {gate.backend: gate for gate in self.view.backends}
        known = self.gates.keys()
        for table in (self.limits, self.paused_until, self.in_order, self.engines):
            for name in table.keys() - known:
                del table[name]  # a backend that left and was empty begins anew
        self._settle_in()
        for event in events:
            self._take(event)
        self._check_counts()
        self._check_engines()
        self._check_memory()
        self._check_nobody_is_late()
        self._check_no_seat_is_idle()
        self._check_who_is_blocked()
        self._check_explanations()

    def _take(self, event: Event) -> None:
        if not isinstance(event, (Dispatched, Expired, Stranded, Cancelled)):
            return
        one = self.waiting.pop(event.ticket.request_id, None)
        assert one == event.ticket, "an event speaks of a ticket that does not wait"
        assert event.at_ms == self.now
        if isinstance(event, Expired):
            assert one.deadline_ms is not None
            assert one.deadline_ms <= self.now
            self.ended.add(one.request_id)
        elif isinstance(event, Cancelled):
            self.ended.add(one.request_id)
        elif isinstance(event, Stranded):
            assert not self._serving(one) or self._suspended(one)
            self.ended.add(one.request_id)
        else:
            self._seat(one, event.backend)
            expected = self.orders.expected(one, self.policy, self._weight(one.tenant))
            assert event.engine_order == expected, "an order that is not by the tags"

    def _seat(self, one: Ticket, name: str) -> None:
        assert name in self._usable(one), "a backend that this ticket must not use"
        assert one.request_id not in self.running
        assert not self.policy.backends[name].draining
        assert self.paused_until.get(name, 0) <= self.now
        assert one.deadline_ms is None or one.deadline_ms > self.now
        assert self._has_room(one, name, 0 if self._jumps(one) else self._held_back(one)), (
            "a seat beyond the limit"
        )
        assert self.desk.may_go(one, self.policy, self.running, self.now), (
            "a seat that its owner may not have"
        )
        self._check_nobody_is_overlooked(one, name)
        self._check_the_order_of_classes(one, name)
        self._check_the_route(one, name)
        self.desk.forget(one.request_id)
        self.running[one.request_id] = (one, name)
        self.seated_ms[one.request_id] = self.now
        self.seats_ms.append(self.now)
        self.needs[one.request_id] = one.prompt_tokens + one.completion_tokens
        self.engines[name].seat(one, learns=self.policy.pools[POOL].prefix_slack_requests is not None)
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
            limit = self.limits.get(gate.backend)
            if rule:
                assert gate.cap <= (4096 if limit and rule.learns_cap else rule.max_in_flight)
            if limit:
                assert gate.cap <= limit.cap
                assert gate.window <= limit.window
        for line in view.tenants:
            assert line.queued == sum(one.tenant == line.tenant for one in self.waiting.values())
            costs = [
                max(1, cost_of(one.prompt_tokens, one.completion_tokens))
                for one in self.waiting.values()
                if one.tenant == line.tenant
            ]
            assert line.queued_tokens == sum(costs)
            assert line.in_flight == sum(one.tenant == line.tenant for one, _ in self.running.values())

    def _check_memory(self) -> None:
        for level in levels(self.machine):
            idle = [share for share in level.shares.values() if not share.held]
            ahead = [share for share in idle if share.key > level.now]
            assert level.idle == len(idle)
            assert len(idle) <= 2 * len(ahead) + SLACK, "idle names that are still known"

    def _check_nobody_is_late(self) -> None:
        for one in self.waiting.values():
            assert one.deadline_ms is None or one.deadline_ms > self.now
            assert self._serving(one), "a ticket waits that nobody can serve"
            assert not self._suspended(one)

    def _check_no_seat_is_idle(self) -> None:
        for one in self.waiting.values():
            if not self._goes(one):
                continue
            for name in self._usable(one):
                rule = self.policy.backends[name]
                if rule.draining or self.paused_until.get(name, 0) > self.now:
                    continue
                room = self._has_room(one, name, self._held_back(one))
                assert not room or self._is_kept(name), f"{name} has a seat free while {one.request_id} waits"

    def _check_explanations(self) -> None:
        """Whoever waits is told why, and where."""
        for request_id in list(self.waiting)[:3]:
            told = self.machine.explain(request_id, self.now)
            assert told is not None
            assert 1 <= told.position <= len(self.waiting)
            assert told.reasons, "a ticket waits and nobody can say why"
            assert all(reason.until_ms is None or reason.until_ms > self.now for reason in told.reasons)
