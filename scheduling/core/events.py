"""What the machine decided."""

from __future__ import annotations

from dataclasses import dataclass

from scheduling.core.entry import Entry
from scheduling.core.ticket import Ticket


# Not frozen, though nobody changes one: a frozen value takes three times as long to make.
@dataclass(slots=True)
class TicketEvent:
    """Something became of one ticket."""

    ticket: Ticket
    at_ms: int


@dataclass(slots=True)
class Dispatched(TicketEvent):
    """The ticket has a seat at ``backend`` from now on.

    ``engine_order`` is its place among all requests inside engines, lower
    first; None unless the pool sends its order on.
    """

    backend: str
    engine_order: int | None = None

    @property
    def waited_ms(self) -> int:
        """Time in line."""
        return self.at_ms - self.ticket.queued_ms


class Lost(TicketEvent):
    """The ticket is out of line without a seat, unasked. ``entry``, which is not compared: whose it was."""

    __slots__ = ("entry",)

    def __init__(self, ticket: Ticket, at_ms: int, entry: Entry | None = None) -> None:
        super().__init__(ticket, at_ms)
        self.entry = entry


class Expired(Lost):
    """The ticket's deadline passed while it waited."""

    __slots__ = ()


class Stranded(Lost):
    """No backend of the pool serves the ticket's model any more."""

    __slots__ = ()


class Cancelled(TicketEvent):
    """The ticket was taken out of line, as asked."""

    __slots__ = ()


class Parked(TicketEvent):
    """The ticket stands aside until its quota's allowance comes."""

    __slots__ = ()


class Unparked(TicketEvent):
    """The ticket's allowance came: it goes on."""

    __slots__ = ()


class Held(TicketEvent):
    """An admin holds the ticket: it stands aside until it is released."""

    __slots__ = ()


class Released(TicketEvent):
    """The ticket is held no more."""

    __slots__ = ()


class MovedToFront(TicketEvent):
    """The ticket goes before all others of the pool."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing of the tenant is seated from now on; of the whole pool when ``tenant`` is None."""

    tenant: str | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """The pause of the tenant, or of the pool, is over."""

    tenant: str | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Boosted:
    """The tenant's weight counts ``factor`` times until ``until_ms``."""

    tenant: str
    factor: int
    until_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class BoostEnded:
    """The tenant's weight counts once again."""

    tenant: str
    at_ms: int


Event = TicketEvent | Paused | Resumed | Boosted | BoostEnded
