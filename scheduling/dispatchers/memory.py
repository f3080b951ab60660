"""The machine and its waiting in one process: no I/O between a freed seat and the next request."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from scheduling.core.events import Event, Expired, Lost
from scheduling.core.limits import Limit
from scheduling.core.policy import Policy
from scheduling.core.scheduler import Scheduler
from scheduling.core.ticket import Ticket
from scheduling.core.timers import NEVER_MS
from scheduling.core.usage import Usage
from scheduling.core.view import BackendView, Explanation, Foretold, Newcomer, PoolView
from scheduling.dispatchers.base import CancelledByAdmin, DeadlinePassed, Lease, NoBackend, Unseated
from scheduling.dispatchers.seat import Seat
from scheduling.dispatchers.served import Served
from scheduling.dispatchers.steering import Orders, Steering

METER_EVERY_S = 0.25  # so often a policy that charges as answers stream is told how far they are


class MemoryDispatcher:
    """One Scheduler per pool, and one future per waiting request.

    Used from one event loop only. ``clock_ms`` is monotonic. A wake-up is a
    result on the request's own future, so nobody polls; one timer serves
    deadlines, promotions and the ends of pauses.
    """

    def __init__(self, policy: Policy, clock_ms: Callable[[], int]) -> None:
        self._policy = policy
        self.clock_ms = clock_ms
        self.schedulers: dict[str, Scheduler] = {}
        self._steering: dict[str, Steering] = {}
        self.settled = Served()
        self._timer: asyncio.TimerHandle | None = None
        self.timer_ms = NEVER_MS  # when it rings; nothing falls due later while there is none
        self._meter: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.set_policy(policy)

    def lease(self, ticket: Ticket, usage: Usage) -> Lease:
        """A turn that has not begun."""
        seat = Seat(ticket)
        seat.dispatcher, seat.usage, seat.refund = self, usage, False
        return seat

    def position(self, request_id: str) -> int | None:
        """About how many dispatches until this request's own: 1 is next. None when it does not wait."""
        seat = self._waiting(request_id)
        return seat.scheduler.position(request_id, self.clock_ms()) if seat else None

    def explain(self, request_id: str) -> Explanation | None:
        """Why the request waits, its place, and for about how much longer. None when it does not wait."""
        seat = self._waiting(request_id)
        return seat.scheduler.explain(request_id, self.clock_ms()) if seat else None

    def foretell(self, pool: str, newcomer: Newcomer) -> Foretold | None:
        """How a request that came now would wait. None when there is no such pool."""
        scheduler = self.schedulers.get(pool)
        return scheduler.foretell(newcomer, self.clock_ms()) if scheduler else None

    def set_policy(self, policy: Policy) -> None:
        """Obey these rules now, for requests that already wait too. An older revision is ignored."""
        if policy.revision < self._policy.revision:
            return
        self._policy = policy
        pools = {*policy.pools, *(rule.pool for rule in policy.backends.values())}
        now_ms, orders = self.clock_ms(), Orders.of(policy, time.time())
        for name, scheduler in list(self.schedulers.items()):
            steering = self._steering[name]
            self.deliver(scheduler, steering.pause(orders, now_ms))
            self.deliver(scheduler, scheduler.set_policy(policy, now_ms) + steering.obey(orders, now_ms))
            self._meter_whom_it_has(scheduler)
            if name not in pools and scheduler.is_idle:
                del self.schedulers[name], self._steering[name]
        for name in pools - self.schedulers.keys():
            scheduler = self.schedulers[name] = Scheduler(name, policy)
            scheduler.on_seat = Seat.taken  # type: ignore[assignment] # every entry here is one
            steering = self._steering[name] = Steering(scheduler)
            self.deliver(scheduler, steering.obey(orders, now_ms))

    def set_limits(self, limits: Sequence[Limit]) -> None:
        """Move the gates; a limit not newer than the one in force, or of no known backend, is ignored."""
        now_ms, now_s = self.clock_ms(), time.time()
        for limit in limits:
            if scheduler := self._scheduler_of(limit.backend):
                # The age carries the reading's time from the wall clock to ours.
                age_ms = math.ceil(max(0.0, now_s - limit.running_at_s) * 1000)
                self.deliver(scheduler, scheduler.set_limit(limit, now_ms, now_ms - age_ms))
                self._meter_whom_it_has(scheduler)

    def throttle(self, backend: str) -> None:
        """The engine said 429 or 503: halve what it admits, and leave it alone for a moment."""
        if scheduler := self._scheduler_of(backend):
            self.deliver(scheduler, scheduler.throttle(backend, self.clock_ms()))

    def fail(self, backend: str, lease: Lease | None = None) -> None:
        """The engine could not be reached, or broke off before it said anything: for its circuit."""
        if scheduler := self._scheduler_of(backend):
            self.deliver(scheduler, scheduler.fail(backend, self.clock_ms(), cast("Seat | None", lease)))

    def serves(self, pool: str, model: str) -> bool:
        """Whether some backend takes the model's requests: it does not drain, nor is its circuit open."""
        scheduler = self.schedulers.get(pool)
        return scheduler is not None and scheduler.serves(model, self.clock_ms())

    def cancel(self, request_id: str) -> bool:
        """Take a waiting request out of line for an admin. False when it does not wait."""
        seat = self._waiting(request_id)
        if seat is None:
            return False
        seat.fail(CancelledByAdmin())
        self.deliver(seat.scheduler, seat.scheduler.cancel(request_id, self.clock_ms()))
        return True

    def move_to_front(self, request_id: str) -> bool:
        """Let a waiting request go before all others of its pool. False when it does not wait."""
        return self._steer(request_id, Scheduler.move_to_front)

    def hold(self, request_id: str) -> bool:
        """Take a waiting request aside until it is released. False when it does not wait."""
        return self._steer(request_id, Scheduler.hold)

    def release(self, request_id: str) -> bool:
        """Let a held request stand in line again. False when it does not wait."""
        return self._steer(request_id, Scheduler.release)

    def view(self) -> tuple[PoolView, ...]:
        """Every pool as it stands, by name."""
        now_ms = self.clock_ms()
        return tuple(self.schedulers[name].view(now_ms) for name in sorted(self.schedulers))

    def begin_period(self) -> tuple[BackendView, ...]:
        """Every gate as it stands; ``blocked`` begins anew."""
        now_ms = self.clock_ms()
        pools = (self.schedulers[name] for name in sorted(self.schedulers))
        return tuple(gate for pool in pools for gate in pool.begin_period(now_ms))

    def served(self) -> Mapping[tuple[str, str, str], tuple[int, int]]:
        """(pool, tenant, class) to the cost tokens settled over the last 60 s and 300 s."""
        return self.settled.totals(self.clock_ms())

    def close(self) -> None:
        """Stop the timers. Requests that still wait are their callers' to cancel."""
        for timer in (self._timer, self._meter):
            if timer:
                timer.cancel()
        self._timer = self._meter = None
        self.timer_ms = NEVER_MS

    # Between a seat and its machine

    def future(self) -> asyncio.Future[None]:
        """Of one who has to wait."""
        return (self._loop or self._my_loop()).create_future()

    def give_up(self, seat: Seat) -> None:
        """The seat's request waits no more: at once, without an await. It may have got its seat just now."""
        request_id, scheduler, now_ms = seat.ticket.request_id, seat.scheduler, self.clock_ms()
        if seat.waiting:
            self.deliver(scheduler, scheduler.cancel(request_id, now_ms))
        elif events := scheduler.ended(seat, 0, now_ms):
            self.deliver(scheduler, events)

    def meter(self) -> None:
        """Somebody is charged as its answer streams: see to it."""
        if self._meter is None:
            self._meter = self._my_loop().call_later(METER_EVERY_S, self._read_meters)

    def deliver(self, scheduler: Scheduler, events: Iterable[Event]) -> None:
        """Wake everybody about whom something was decided, and keep the timer right."""
        for event in events:
            if isinstance(event, Lost):
                cast("Seat", event.entry).fail(self._why(event))
        if scheduler.timers.due_ms < self.timer_ms:
            self._arm(scheduler.timers.due_ms)

    def _why(self, event: Lost) -> Unseated:
        ticket = event.ticket
        if isinstance(event, Expired):
            return DeadlinePassed(f"waited {event.at_ms - ticket.queued_ms} ms in line")
        tenant = self._policy.tenants.get(ticket.tenant)
        if tenant and tenant.suspended:
            return CancelledByAdmin(f"tenant {ticket.tenant} is suspended")
        return NoBackend(f"no backend of pool {ticket.pool} serves model {ticket.model}")

    def _waiting(self, request_id: str) -> Seat | None:
        found = (scheduler.waiting_entry(request_id) for scheduler in self.schedulers.values())
        return cast("Seat | None", next(filter(None, found), None))

    def _scheduler_of(self, backend: str) -> Scheduler | None:
        rule = self._policy.backends.get(backend)
        return self.schedulers.get(rule.pool) if rule else None

    def _steer(self, request_id: str, act: Callable[[Scheduler, str, int], list[Event]]) -> bool:
        seat = self._waiting(request_id)
        if seat is None:
            return False
        self.deliver(seat.scheduler, act(seat.scheduler, request_id, self.clock_ms()))
        return True

    def _my_loop(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is None:  # to ask which one runs is a system call
            loop = self._loop = asyncio.get_running_loop()
        return loop

    def _meter_whom_it_has(self, scheduler: Scheduler) -> None:
        """Its rules, or what is known of its engines, may have begun to charge before the end."""
        if scheduler.charges_as_it_streams and not scheduler.is_idle:
            self.meter()

    def _read_meters(self) -> None:
        """Charge what has been said so far, while any pool charges before the end."""
        self._meter = None
        now_ms = self.clock_ms()
        for scheduler in self.schedulers.values():
            if scheduler.charges_as_it_streams and (running := scheduler.running()):
                for seat in cast("list[Seat]", running):
                    said = seat.usage.completion_tokens
                    self.deliver(scheduler, scheduler.progress(seat.ticket.request_id, said, now_ms))
                self.meter()

    def _arm(self, due_ms: int) -> None:
        if self._timer:
            self._timer.cancel()
        self.timer_ms = due_ms
        # Never sooner than the clock's own step, or a timer that fires early would spin.
        delay_s = max(1, due_ms - self.clock_ms()) / 1000
        self._timer = self._my_loop().call_later(delay_s, self._expire)

    def _expire(self) -> None:
        self._timer, self.timer_ms = None, NEVER_MS
        now_ms = self.clock_ms()
        for scheduler in self.schedulers.values():
            self.deliver(scheduler, scheduler.expire(now_ms))
