"""One request's way through the machine."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING

from scheduling.core.scheduler import Scheduler
from scheduling.core.ticket import Ticket
from scheduling.core.usage import Usage
from scheduling.dispatchers.base import Lease, NoBackend, Unseated

if TYPE_CHECKING:
    from scheduling.dispatchers.memory import MemoryDispatcher


class Seat(Lease):
    """One request's way through the machine: wait, hold, give back. Inside the block it is its own lease.

    Whatever ends the wait or the block (a result, an error, the caller's
    cancellation, even in the instant between being seated and waking up)
    ends in one call of ``give_up`` or of ``leave``, which do not await.
    """

    __slots__ = ("_dispatcher", "_future", "_reason", "is_seated", "scheduler", "ticket", "usage")

    scheduler: Scheduler
    is_seated: bool
    """The machine has said so, whether or not the request has heard it yet, and it is not over."""

    def __init__(self, dispatcher: MemoryDispatcher, ticket: Ticket, usage: Usage) -> None:
        self.ticket = ticket
        self.usage = usage
        self.refund = self.is_seated = False
        self._dispatcher = dispatcher
        self._reason: Unseated | None = None
        self._future: asyncio.Future[None] | None = None  # of who has to wait

    def take(self, backend: str, at_ms: int, engine_order: int | None) -> None:
        """The machine has seated this request."""
        self.backend = backend
        self.engine_order = engine_order
        self.waited_ms = at_ms - self.ticket.queued_ms
        self.is_seated = True
        future = self._future
        if future is not None and not future.done():
            future.set_result(None)

    def fail(self, reason: Unseated) -> None:
        """The machine has taken this request out of line."""
        self._reason = self._reason or reason
        future = self._future
        if future is not None and not future.done():
            future.set_result(None)

    def started(self) -> None:
        """The first token came."""
        if self.is_seated:
            scheduler, dispatcher = self.scheduler, self._dispatcher
            if events := scheduler.start(self.ticket.request_id, dispatcher.clock_ms()):
                dispatcher.deliver(scheduler, events)

    async def __aenter__(self) -> Lease:
        self._dispatcher.join(self)
        if self.is_seated:
            return self
        try:
            if self._reason is None:
                self._future = future = self._dispatcher.future()
                await future
        except BaseException:
            self._dispatcher.give_up(self)
            raise
        return self._woken()

    def _woken(self) -> Lease:
        if not self.is_seated:
            self._dispatcher.give_up(self)
            raise self._reason or NoBackend()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.is_seated:
            self.is_seated = False
            self._dispatcher.leave(self, self.usage.cost_tokens)
