"""The machine's own record of a ticket, and the lane it may leave by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduling.core.ticket import Ticket

if TYPE_CHECKING:
    from scheduling.core.admission import Gate
    from scheduling.core.classes import Band
    from scheduling.core.roster import TenantLine
    from scheduling.core.shares import Share

LaneKey = tuple[str, frozenset[str]]


class Lane:
    """All tickets that may go to the same backends: one model, and what they avoid.

    Whether a lane is open is one question for all its tickets, so a full
    model is skipped without looking at who waits for it.
    """

    __slots__ = ("avoid", "gates", "key", "model", "waiting")

    def __init__(self, key: LaneKey) -> None:
        self.key = key
        self.model, self.avoid = key
        self.gates: tuple[Gate, ...] = ()
        self.waiting = 0


class Entry:
    """One ticket, from submit until it has left for good.

    ``place`` orders tickets by arrival; a retry has a negative one, so it
    stands before all first attempts. ``charge`` and ``weight`` are what its
    tenant was charged at dispatch, in milli-tokens per weight, and at which
    weight: settle and refund undo exactly that, unless tenant or user have
    been idle since (``tenant_wake``, ``user_wake``: see Share). ``pending``
    says that it is in its gate's window.
    """

    __slots__ = (
        "band",
        "charge",
        "cost",
        "gate",
        "lane",
        "ordinal",
        "overdue",
        "pending",
        "place",
        "roster",
        "seated_ms",
        "tenant",
        "tenant_wake",
        "ticket",
        "user",
        "user_charge",
        "user_wake",
        "waiting",
        "weight",
    )

    band: Band
    roster: TenantLine
    tenant: Share  # this and the rest, while token_fair keeps accounts
    user: Share
    ordinal: int
    seated_ms: int
    charge: int
    weight: int
    user_charge: int
    tenant_wake: int
    user_wake: int

    def __init__(self, ticket: Ticket, cost: int, place: int, lane: Lane) -> None:
        self.ticket = ticket
        self.cost = cost
        self.place = place
        self.lane = lane
        self.waiting = True
        self.overdue = False
        self.pending = False
        self.gate: Gate | None = None
