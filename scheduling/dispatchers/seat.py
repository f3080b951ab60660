"""One request's way through the machine."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from types import TracebackType, coroutine
from typing import TYPE_CHECKING, Self

from scheduling.core.entry import Entry
from scheduling.core.scheduler import Scheduler
from scheduling.core.usage import Usage
from scheduling.dispatchers.base import PAUSED, NoBackend, Unseated, Waiter
from scheduling.dispatchers.futures import resolve

if TYPE_CHECKING:
    from scheduling.dispatchers.memory import MemoryDispatcher


class Seat(Entry):
    """One request's way through the machine: wait, hold, give back. It is its own entry and its own lease.

    Whatever ends the wait or the hold (a result, an error, the caller's
    cancellation, even in the instant between being seated and waking up)
    ends in one call of ``give_up`` or of ``leave``, which do not await. It
    has a ``gate`` from when the machine has seated it, whether or not the
    request has heard it yet, until it is over.
    """

    __slots__ = ("dispatcher", "reason", "refund", "scheduler", "usage", "wake")

    dispatcher: MemoryDispatcher
    usage: Usage
    refund: bool
    scheduler: Scheduler  # from when it joins
    # Of who has to wait.
    reason: Unseated | None
    wake: Callable[[], None] | None

    @property
    def waited_ms(self) -> int:
        """How long it waited for its seat."""
        return self.seated_ms - self.ticket.queued_ms

    def at_once(self) -> bool:
        """Stand in line. True: the seat is held. Raises NoBackend."""
        dispatcher, pool = self.dispatcher, self.ticket.pool
        scheduler = dispatcher.schedulers.get(pool)
        if scheduler is None:
            raise NoBackend(f"pool {pool} has no backends")
        self.scheduler = scheduler
        now_ms = dispatcher.clock_ms()
        if scheduler.seat_at_once(self, now_ms):
            if scheduler.charges_as_it_streams:
                dispatcher.meter()
            return True
        self.reason = self.wake = None
        events = scheduler.stand_in_line(self, now_ms)
        if events or scheduler.timers.due_ms < dispatcher.timer_ms:
            dispatcher.deliver(scheduler, events)
        return self.gate is not None

    def taken(self) -> None:
        """The machine has seated this request, which stood in line."""
        if self.wake is not None:
            self.wake()
        if self.scheduler.charges_as_it_streams:
            self.dispatcher.meter()

    def fail(self, reason: Unseated) -> None:
        """The machine has taken this request out of line."""
        self.reason = self.reason or reason
        if self.wake is not None:
            self.wake()

    def started(self) -> None:
        """The first token came."""
        dispatcher, scheduler = self.dispatcher, self.scheduler
        if events := scheduler.began(self, dispatcher.clock_ms()):
            dispatcher.deliver(scheduler, events)

    @coroutine
    def wait(self, waiter: Waiter | None = None) -> Generator[object, None, None]:
        """Until the seat is held, in a task or by a ``waiter``. Raises Unseated."""
        try:
            if waiter is None:
                if self.reason is None:
                    future = self.dispatcher.future()
                    self.wake = partial(resolve, future)
                    yield from future
            else:
                self.wake = waiter.go_on_soon
                while self.gate is None and self.reason is None:
                    yield PAUSED
        except BaseException:
            self.dispatcher.give_up(self)
            raise
        if self.gate is None:
            self.dispatcher.give_up(self)
            raise self.reason or NoBackend()

    def leave(self) -> int:
        """Give the seat back; what the flow is charged for it. A second time changes nothing."""
        if self.gate is None:
            return 0
        dispatcher, scheduler = self.dispatcher, self.scheduler
        now_ms, cost = dispatcher.clock_ms(), 0
        if not self.refund:
            # An answer of which the engine counts nothing is no refund, to quotas neither.
            ticket, cost = self.ticket, self.usage.cost_tokens or 1
            dispatcher.settled.add(ticket.pool, ticket.tenant, ticket.priority_class, cost, now_ms)
        if events := scheduler.ended(self, cost, now_ms):
            dispatcher.deliver(scheduler, events)
        return cost

    async def __aenter__(self) -> Self:
        if not self.at_once():
            await self.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
