"""The machine's own record of a ticket, and the lane it may leave by."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from scheduling.core.ticket import Ticket

if TYPE_CHECKING:
    from scheduling.core.admission import Gate
    from scheduling.core.band import Band
    from scheduling.core.roster import TenantLine
    from scheduling.core.share import Share

LaneKey = tuple[str, frozenset[str]]
Stamp = tuple[int, int, int]  # what an order charged, at which weight and wake: settling undoes exactly that
Charges = tuple[
    "Share", int, int, int, "Charges | None"
]  # a ticket's: a name, its stamp, and the next name's


class Aside(IntEnum):
    """Why a waiting ticket stands in no flow's line."""

    NO = 0
    PARKED = 1  # its quota's allowance comes later
    HELD = 2  # an admin holds it
    OWN_CAP = 3  # its API token has as many requests going as it may
    FRONT = 4  # it stands before all flows, as an admin wanted


class Lane:
    """All tickets that may go to the same backends: one model, and what they avoid.

    Whether a lane is open is one question for all its tickets, so a full
    model is skipped without looking at who waits for it.
    """

    __slots__ = ("avoid", "gates", "key", "model", "waiting")

    gates: tuple[Gate, ...]  # as they were routed last

    def __init__(self, key: LaneKey) -> None:
        self.key = key
        self.model, self.avoid = key
        self.waiting = 0


class Entry:
    """One ticket, from submit until it has left for good.

    ``place`` orders tickets by arrival; a retry has a negative one, so it
    stands before all first attempts. ``shares`` are the accounts on its path,
    from the outermost in, and ``charges`` what each was charged. ``gate`` is
    whose seat it holds. ``pending`` says that it is in its gate's window,
    ``answered`` that it has begun to be answered, ``heard`` that its gate's
    slow start has counted it, ``more_kv_tokens`` how much longer its answer
    was than thought. ``told_ms`` and ``told_at_ms`` are the first estimate of
    its wait that anybody was given, and when.
    """

    __slots__ = (
        "answered",
        "aside",
        "backend",
        "band",
        "charges",
        "cost",
        "engine_order",
        "first",
        "gate",
        "heard",
        "lane",
        "more_kv_tokens",
        "ordinal",
        "overdue",
        "pending",
        "place",
        "roster",
        "seated_ms",
        "shares",
        "ticket",
        "told_at_ms",
        "told_ms",
        "waiting",
    )

    # From when the machine has it.
    band: Band
    cost: int
    lane: Lane
    place: int
    roster: TenantLine
    # Of who has to wait.
    aside: Aside
    first: bool  # an admin wants it before all others
    ordinal: int
    overdue: bool
    told_at_ms: int
    told_ms: int | None
    # While an order keeps accounts: once it has a seat, and before it has one.
    charges: Charges | None
    shares: tuple[Share, ...]
    # Once it has a seat.
    backend: str
    seated_ms: int

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.waiting = False
        self.pending = False
        self.answered = False
        self.heard = False
        self.gate: Gate | None = None
        self.engine_order: int | None = None
        self.more_kv_tokens = 0

    @property
    def retry(self) -> bool:
        """It has waited already."""
        return self.place < 0

    @property
    def kv_tokens(self) -> int:
        """What it reserves of the engine's KV memory."""
        ticket = self.ticket
        thought = ticket.kv_completion_tokens or ticket.completion_tokens
        return ticket.prompt_tokens + thought + self.more_kv_tokens

    def queue(self) -> None:
        """It has to wait."""
        self.waiting = True
        self.first = self.overdue = False
        self.told_ms = None
