"""What the machine decided."""

from __future__ import annotations

from dataclasses import dataclass

from scheduling.core.ticket import Ticket


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The ticket has a seat at ``backend`` from now on."""

    ticket: Ticket
    backend: str
    at_ms: int

    @property
    def waited_ms(self) -> int:
        """Time in line."""
        return self.at_ms - self.ticket.queued_ms


@dataclass(frozen=True, slots=True)
class Expired:
    """The ticket's deadline passed while it waited; it is out of line."""

    ticket: Ticket
    at_ms: int


@dataclass(frozen=True, slots=True)
class Stranded:
    """No backend of the pool serves the ticket's model any more; it is out of line."""

    ticket: Ticket
    at_ms: int


Event = Dispatched | Expired | Stranded
