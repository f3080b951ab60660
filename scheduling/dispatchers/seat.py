"""One request's way through the machine."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from scheduling.core.scheduler import Scheduler
from scheduling.core.ticket import Ticket
from scheduling.core.usage import Usage
from scheduling.dispatchers.base import NoBackend, Unseated

if TYPE_CHECKING:
    from scheduling.dispatchers.memory import MemoryDispatcher


class Seat(msgspec.Struct, eq=False):
    """One request's way through the machine: wait, hold, give back. It is its own lease.

    Whatever ends the wait or the hold (a result, an error, the caller's
    cancellation, even in the instant between being seated and waking up)
    ends in one call of ``give_up`` or of ``leave``, which do not await.
    ``is_seated``: the machine has said so, whether or not the request has
    heard it yet, and it is not over. ``future`` is of who has to wait.
    """

    dispatcher: MemoryDispatcher
    ticket: Ticket
    usage: Usage
    scheduler: Scheduler = None  # type: ignore[assignment] # until it joins
    refund: bool = False
    is_seated: bool = False
    backend: str = ""
    waited_ms: int = 0
    engine_order: int | None = None
    reason: Unseated | None = None
    future: asyncio.Future[None] | None = None

    def take(self, backend: str, at_ms: int, engine_order: int | None) -> None:
        """The machine has seated this request."""
        self.backend = backend
        self.engine_order = engine_order
        self.waited_ms = at_ms - self.ticket.queued_ms
        self.is_seated = True
        future = self.future
        if future is not None and not future.done():
            future.set_result(None)

    def fail(self, reason: Unseated) -> None:
        """The machine has taken this request out of line."""
        self.reason = self.reason or reason
        future = self.future
        if future is not None and not future.done():
            future.set_result(None)

    def started(self) -> None:
        """The first token came."""
        if self.is_seated:
            scheduler, dispatcher = self.scheduler, self.dispatcher
            if events := scheduler.start(self.ticket.request_id, dispatcher.clock_ms()):
                dispatcher.deliver(scheduler, events)

    def at_once(self) -> bool:
        """Stand in line. True: the seat is held. Raises NoBackend."""
        self.dispatcher.join(self)
        return self.is_seated

    async def wait(self) -> None:
        """Until the seat is held. Raises Unseated."""
        try:
            if self.reason is None:
                self.future = future = self.dispatcher.future()
                await future
        except BaseException:
            self.dispatcher.give_up(self)
            raise
        if not self.is_seated:
            self.dispatcher.give_up(self)
            raise self.reason or NoBackend()

    def leave(self) -> None:
        """Give the seat back. A second time changes nothing."""
        if self.is_seated:
            self.is_seated = False
            self.dispatcher.leave(self, self.usage.cost_tokens)

    async def __aenter__(self) -> Self:
        if not self.at_once():
            await self.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
