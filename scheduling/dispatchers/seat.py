"""One request's way through the machine."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING

from scheduling.core.events import Dispatched
from scheduling.core.scheduler import Scheduler
from scheduling.core.ticket import Ticket
from scheduling.core.usage import Usage
from scheduling.dispatchers.base import Lease, NoBackend, Unseated

if TYPE_CHECKING:
    from scheduling.dispatchers.memory import MemoryDispatcher


class Seat:
    """One request's way through the machine: wait, hold, give back.

    Whatever ends the wait or the block (a result, an error, the caller's
    cancellation, even in the instant between being seated and waking up)
    ends in one call of ``leave``, which does not await.
    """

    __slots__ = ("_dispatcher", "_event", "_future", "_lease", "_reason", "scheduler", "ticket", "usage")

    scheduler: Scheduler

    def __init__(self, dispatcher: MemoryDispatcher, ticket: Ticket, usage: Usage) -> None:
        self.ticket = ticket
        self._dispatcher = dispatcher
        self.usage = usage
        self._event: Dispatched | None = None
        self._reason: Unseated | None = None
        self._future: asyncio.Future[None] | None = None  # of who has to wait
        self._lease: Lease | None = None

    @property
    def is_seated(self) -> bool:
        """The machine has said so, whether or not the request has heard it yet."""
        return self._event is not None

    def take(self, event: Dispatched) -> None:
        """The machine has seated this request."""
        self._event = event
        self._wake()

    def fail(self, reason: Unseated) -> None:
        """The machine has taken this request out of line."""
        self._reason = self._reason or reason
        self._wake()

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def __aenter__(self) -> Lease:
        self._dispatcher.join(self)
        event = self._event or await self._wait()
        self._lease = Lease(event.backend, event.waited_ms, self._started, engine_order=event.engine_order)
        return self._lease

    async def _wait(self) -> Dispatched:
        try:
            if self._reason is None:
                self._future = asyncio.get_running_loop().create_future()
                await self._future
        except BaseException:
            self._dispatcher.leave(self, 0, refund=True)
            raise
        if self._event is None:
            self._dispatcher.leave(self, 0, refund=True)
            raise self._reason or NoBackend()
        return self._event

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        lease, self._lease = self._lease, None
        if lease:
            self._dispatcher.leave(self, self.usage.cost_tokens, refund=lease.refund)

    def _started(self) -> None:
        if self._lease:
            self._dispatcher.begin(self)
