"""The machine's own record of a ticket, and the lane it may leave by."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from scheduling.core.ticket import Ticket

if TYPE_CHECKING:
    from scheduling.core.admission import Gate
    from scheduling.core.band import Band
    from scheduling.core.levels import Share
    from scheduling.core.roster import TenantLine

LaneKey = tuple[str, frozenset[str]]
Stamp = tuple[int, int, int]  # what an order charged, at which weight and wake: settling undoes exactly that
Charges = tuple["Share", Stamp, "Charges | None"]  # of a ticket: from one name on its path to the next


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
    from the outermost in, and ``charges`` what each was charged. ``pending`` says that it is in its
    gate's window, ``answered`` that it has begun to be answered, ``heard``
    that its gate's slow start has counted it.
    ``kv_tokens`` is what it reserves of the engine's KV memory. ``told_ms``
    and ``told_at_ms`` are the first estimate of its wait that anybody was
    given, and when.
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
        "kv_tokens",
        "lane",
        "ordinal",
        "overdue",
        "pending",
        "place",
        "retry",
        "roster",
        "seated_ms",
        "shares",
        "ticket",
        "told_at_ms",
        "told_ms",
        "waiting",
    )

    band: Band
    aside: Aside  # while it waits
    roster: TenantLine
    shares: tuple[Share, ...]  # this and the next, while an order keeps accounts
    charges: Charges | None
    ordinal: int
    seated_ms: int  # this and the next two, once it has a seat
    backend: str
    engine_order: int | None
    told_at_ms: int

    def __init__(self, ticket: Ticket, cost: int, place: int, lane: Lane) -> None:
        self.ticket = ticket
        self.cost = cost
        self.place = place
        self.retry = place < 0
        self.lane = lane
        self.waiting = True
        self.first = False  # an admin wants it before all others
        self.overdue = False
        self.pending = False
        self.answered = False
        self.heard = False
        self.kv_tokens = ticket.prompt_tokens + (ticket.kv_completion_tokens or ticket.completion_tokens)
        self.gate: Gate | None = None
        self.told_ms: int | None = None
