"""The seam between a request that waits and the machine that decides."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from scheduling.core.limits import Limit
from scheduling.core.policy import Policy
from scheduling.core.ticket import Ticket
from scheduling.core.usage import Usage
from scheduling.core.view import BackendView, Explanation, Foretold, Newcomer, PoolView


class Unseated(Exception):
    """The request will not get a seat. Subclasses say why."""


class DeadlinePassed(Unseated):
    """The request waited in line until its deadline."""


class NoBackend(Unseated):
    """No backend in the pool serves this model."""


class CancelledByAdmin(Unseated):
    """An admin took the request out of line."""


PAUSED = object()  # whoever waits without a task yields it


class Waiter(Protocol):
    """Whoever waits without a task."""

    def go_on_soon(self) -> None:
        """Go on in the next turn of the event loop."""


class Lease(Protocol):
    """One request's turn: it stands in line, holds a seat, and gives it back.

    As a block it does so by itself. Who is in a hurry calls ``at_once``, then
    ``wait`` unless that was true, and ``leave``, once, when the seat was got.

    Call ``started`` at the first token: the request leaves the window, and
    another may be dispatched. Set ``refund`` before leaving when the engine
    did no work, so that the flow is charged nothing. ``engine_order`` is what
    the engine's own scheduler is to go by, lower first; None unless the pool
    sends its order on.
    """

    backend: str
    refund: bool
    engine_order: int | None

    @property
    def waited_ms(self) -> int:
        """How long it waited for its seat."""

    def at_once(self) -> bool:
        """Stand in line. True: the seat is held. Raises Unseated."""

    def wait(self, waiter: Waiter | None = None) -> Awaitable[None]:
        """Until the seat is held, in a task or by a ``waiter``. Raises Unseated."""

    def started(self) -> None:
        """The first token came."""

    def leave(self) -> int:
        """Give the seat back; what the flow is charged for it."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Dispatcher(Protocol):
    """Waits for a turn on behalf of requests."""

    def lease(self, ticket: Ticket, usage: Usage) -> Lease:
        """A turn that has not begun.

        The flow is charged ``usage.cost_tokens`` when the seat is given back
        (nothing if ``Lease.refund``); under ``vtc`` also
        while ``usage`` grows, every quarter of a second. Cancelling the caller
        while it waits takes the ticket out of line. Raises Unseated.
        """

    def position(self, request_id: str) -> int | None:
        """About how many dispatches until this request's own: 1 is next. None when it does not wait."""

    def explain(self, request_id: str) -> Explanation | None:
        """Why the request waits, its place, and for about how much longer. None when it does not wait."""

    def foretell(self, pool: str, newcomer: Newcomer) -> Foretold | None:
        """How a request that came now would wait, about. None when there is no such pool."""

    def set_policy(self, policy: Policy) -> None:
        """Obey these rules from the next pick on, for requests that already wait too."""

    def set_limits(self, limits: Sequence[Limit]) -> None:
        """Move the gates; a limit not newer than the one in force is ignored."""

    def throttle(self, backend: str) -> None:
        """The engine said 429 or 503: leave it alone for a moment.

        Its window is halved, and its cap where the window does not hold all.
        """

    def fail(self, backend: str, lease: Lease | None = None) -> None:
        """The engine could not be reached, or broke off before it said anything.

        Three of these in a row open its circuit: it is left alone, then one
        request at a time tries: ``lease`` says whether it was that one. Told
        before the lease ends. That it is well is heard through
        ``Lease.started``, and through an end without refund.
        """

    def serves(self, pool: str, model: str) -> bool:
        """Whether some backend takes the model's requests: it does not drain, nor is its circuit open."""

    def cancel(self, request_id: str) -> bool:
        """Take a waiting request out of line for an admin. False when it does not wait."""

    def move_to_front(self, request_id: str) -> bool:
        """Let a waiting request go before all others of its pool. False when it does not wait."""

    def hold(self, request_id: str) -> bool:
        """Take a waiting request aside until it is released. False when it does not wait."""

    def release(self, request_id: str) -> bool:
        """Let a held request stand in line again. False when it does not wait."""

    def view(self) -> tuple[PoolView, ...]:
        """Every pool as it stands. Looking changes nothing."""

    def begin_period(self) -> tuple[BackendView, ...]:
        """Every gate as it stands, for the one who controls the limits.

        ``BackendView.blocked`` begins anew: the next answer says whether work
        waited at a shut gate since this one.
        """

    def served(self) -> Mapping[tuple[str, str, str], tuple[int, int]]:
        """Cost tokens settled, by pool and tenant: over the last 60 s and the last 300 s."""
