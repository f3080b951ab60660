"""Orders that go round: one turn each, deficits, and the fewest requests in flight."""

from __future__ import annotations

from scheduling.core.entry import Stamp
from scheduling.core.levels import MILLI, Level
from scheduling.core.position import Drain
from scheduling.core.share import Share

TURN_BITS = 48  # turns that fit below the higher part of a key: 3,000 years at 3,000 a second
QUANTUM = 1000 * MILLI  # milli-tokens per round and unit of weight: about one short request
LOAD = 1_000_000  # requests in flight per unit of weight, in millionths

NOTHING: Stamp = (0, 1, 0)


class Ring(Level):
    """Names in a ring. ``_next_turn`` is the place at its end."""

    __slots__ = ("_turns",)

    def __init__(self) -> None:
        super().__init__()
        self._turns = 0

    def _next_turn(self) -> int:
        self._turns += 1
        return self._turns


class Turns(Ring):
    """Serve the names in turn, one ticket each; a name that begins to wait joins at the end.

    Unit: turns. Weights are not looked at, nor how long a request is. A
    refunded ticket gives its turn back.
    Source: "Efficient Request Queueing", TNG, 2025, part 3.
    """

    __slots__ = ()

    START = 1 << 62  # a name that holds no ticket has nothing worth remembering

    def charge(self, share: Share, price: int) -> Stamp:
        """To the end of the ring."""
        turn = share.key
        share.move(self._next_turn())
        return (turn, 1, share.wakes)

    def adopt(self, share: Share, price: int) -> Stamp:
        """A ticket that runs out of turn takes no turn."""
        return (0, 0, share.wakes)

    def settle(self, share: Share, stamp: Stamp, price: int) -> None:
        """The turn of a ticket that was given back comes back too."""
        turn, charged, wakes = stamp
        if charged and not price and wakes == share.wakes and turn < share.key:
            share.move(turn)

    def drain(self, share: Share) -> Drain:
        """One ticket a round."""
        return Drain(0, 1, share.waiting)

    def _woken(self, share: Share, place: int) -> None:
        # A retry has had its turn already and lost it to a broken backend.
        turn = self._next_turn()
        share.key = -turn if place < 0 else turn


class Rounds(Ring):
    """Deficit round robin: every round gives each name a quantum to spend, times its weight.

    A name is served while its deficit (``tally``) is above zero, so a ticket
    may overdraw it; then it sits out the rounds that fill it again, reckoned
    at once instead of gone round one by one. ``key`` is (round, turn). A name
    that begins to wait joins behind the round under way.

    Unit: milli-tokens. Source: Shreedhar, Varghese, "Efficient Fair Queuing
    using Deficit Round Robin", SIGCOMM 1995; here a ticket is served on its
    estimate, and the deficit corrected by what it really cost.
    """

    __slots__ = ()

    START = (1 << TURN_BITS) - 1

    def charge(self, share: Share, price: int) -> Stamp:
        """Spend the estimate; time moves to the name's round."""
        self.now = max(self.now, share.key | ((1 << TURN_BITS) - 1))
        return self.adopt(share, price)

    def adopt(self, share: Share, price: int) -> Stamp:
        """Spend without a turn."""
        share.tally -= price
        self._place(share)
        return (price, share.weight, share.wakes)

    def settle(self, share: Share, stamp: Stamp, price: int) -> None:
        """Put the real cost in the place of the estimate; a name that was away since gets no credit."""
        away = stamp[2] != share.wakes
        share.tally += stamp[0] - price
        self._place(share, away=away)
        if away:
            share.tally = min(share.tally, QUANTUM * share.weight)

    def reweigh(self, share: Share, weight: int) -> None:
        """The quantum is another one; rounds still to sit out shrink or grow with it."""
        old, share.weight = share.weight, weight
        owed = (share.key >> TURN_BITS) - (self.now >> TURN_BITS)
        if owed > 0:
            share.tally -= owed * QUANTUM * old
            share.move(share.key - (owed << TURN_BITS))
        share.tally = min(share.tally, QUANTUM * weight)
        self._place(share)

    def drain(self, share: Share) -> Drain:
        """Tickets per round, in thousandths of a round."""
        start = ((share.key >> TURN_BITS) - (self.now >> TURN_BITS)) * MILLI
        return Drain(
            max(0, start), max(1, share.mean_cost * MILLI * MILLI // (QUANTUM * share.weight)), share.waiting
        )

    def _place(self, share: Share, *, away: bool = False) -> None:
        """Rounds to sit out while the deficit is not positive, or to win back when it is too large."""
        quantum = QUANTUM * share.weight
        here = share.key >> TURN_BITS
        if share.tally <= 0:
            rounds = -share.tally // quantum + 1
        elif share.tally > quantum:
            # Back to the round it would be in without the estimate, but not before the round under way,
            # and who was away not before the next: there it began to wait.
            soonest = (self.now >> TURN_BITS) + away
            rounds = -min((share.tally - 1) // quantum, max(0, here - soonest))
        else:
            rounds = 0
        if rounds:
            share.tally += rounds * quantum
            share.move((here + rounds) << TURN_BITS | self._next_turn())

    def _woken(self, share: Share, place: int) -> None:
        behind = (self.now >> TURN_BITS) + 1
        if share.key >> TURN_BITS < behind:
            share.tally = QUANTUM * share.weight
            share.key = behind << TURN_BITS
        share.key = share.key >> TURN_BITS << TURN_BITS | self._next_turn()


class Loads(Ring):
    """Serve the waiting name with the fewest requests in flight for its weight, the longest unserved first.

    Unit: requests in flight per unit of weight. ``key`` is (load, turn).
    """

    __slots__ = ()

    START = 1 << 120  # a name that holds no ticket has nothing in flight

    def charge(self, share: Share, price: int) -> Stamp:
        """One more in flight, and to the end among its equals."""
        share.tally += 1
        share.move(self._key(share, self._next_turn()))
        return NOTHING

    def adopt(self, share: Share, price: int) -> Stamp:
        """One more in flight."""
        share.tally += 1
        share.move(self._key(share, share.key & ((1 << TURN_BITS) - 1)))
        return NOTHING

    def settle(self, share: Share, stamp: Stamp, price: int) -> None:
        """One less in flight."""
        share.tally -= 1
        share.move(self._key(share, share.key & ((1 << TURN_BITS) - 1)))

    def reweigh(self, share: Share, weight: int) -> None:
        """The same requests are another load."""
        share.weight = weight
        share.move(self._key(share, share.key & ((1 << TURN_BITS) - 1)))

    def drain(self, share: Share) -> Drain:
        """Tickets per round, a round being one for each unit of weight."""
        return Drain(0, max(1, MILLI // share.weight), share.waiting)

    def _woken(self, share: Share, place: int) -> None:
        share.key = self._key(share, 0 if place < 0 else self._next_turn())

    def _key(self, share: Share, turn: int) -> int:
        return (share.tally * LOAD // share.weight) << TURN_BITS | turn
