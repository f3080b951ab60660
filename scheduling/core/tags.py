"""Orders that count service: start-time fair queueing, and the virtual token counter."""

from __future__ import annotations

from scheduling.core.entry import Stamp
from scheduling.core.levels import MILLI, Level
from scheduling.core.position import Drain
from scheduling.core.share import Share

LAG_LIMIT = 500_000 * MILLI  # how much service a name may catch up after its model was shut


class StartTags(Level):
    """Serve the waiting name whose next ticket starts earliest.

    ``key`` is where the name's next ticket starts, ``now`` the start of the
    latest ticket served. A name that comes back starts there: it neither
    banks credit while away nor, when its lead has passed, pays for it.

    Unit: milli-tokens per unit of weight.
    Source: Goyal, Vin, Cheng, "Start-time Fair Queueing", SIGCOMM 1996.
    """

    __slots__ = ()

    def charge(self, share: Share, price: int) -> Stamp:
        """Time moves to the ticket's start, the name's lead grows by the price over its weight."""
        start = share.key
        if start > self.now:
            self.now = start
        elif start < self.now - LAG_LIMIT:
            start = self.now - LAG_LIMIT
        weight = share.weight
        charge = price // weight or 1  # who is charged nothing would be next for ever
        share.move(start + charge)
        return (charge, weight, share.wakes)

    def adopt(self, share: Share, price: int) -> Stamp:
        """The lead grows; time stands still."""
        charge = price // share.weight
        share.move(share.key + charge)
        return (charge, share.weight, share.wakes)

    def settle(self, share: Share, stamp: Stamp, price: int) -> None:
        """Put the real price in the place of what was charged.

        The lead was scaled when the weight changed, so what is undone is
        scaled alike. What an idle name was forgiven when it came back cannot
        be given back as well: that would be credit.
        """
        charge, weight, wakes = stamp
        if weight != share.weight:
            charge = charge * weight // share.weight
        moved = price // share.weight - charge
        if moved < 0 and wakes != share.wakes:
            lead = share.lead
            if moved + lead < 0:
                moved = -lead
            share.lead = lead + moved
        share.move(share.key + moved)

    def reweigh(self, share: Share, weight: int) -> None:
        """Scale the lead, so that the next pick already obeys the new weight."""
        old, share.weight = share.weight, weight
        share.lead = share.lead * old // weight
        share.move(self.now + (share.key - self.now) * old // weight)

    def drain(self, share: Share) -> Drain:
        """One ticket every mean price over the weight."""
        return Drain(share.key, max(1, share.mean_cost * MILLI // share.weight), share.waiting)

    def _woken(self, share: Share, place: int) -> None:
        if share.key <= self.now:
            share.key = self.now
            share.lead = 0
        else:
            share.lead = share.key - self.now


class EqualTags(StartTags):
    """Start tags in which every ticket costs the same: weighted turns, evenly mixed.

    Unit: thousandths of a request per unit of weight.
    """

    __slots__ = ()

    def charge(self, share: Share, price: int) -> Stamp:
        """One turn, whatever the ticket costs."""
        return super().charge(share, TURN)

    def adopt(self, share: Share, price: int) -> Stamp:
        """One turn."""
        return super().adopt(share, TURN)

    def settle(self, share: Share, stamp: Stamp, price: int) -> None:
        """A ticket that cost nothing was given back: so is its turn."""
        super().settle(share, stamp, TURN if price else 0)

    def drain(self, share: Share) -> Drain:
        """One ticket a turn."""
        return Drain(share.key, TURN // share.weight, share.waiting)


TURN = 1000 * MILLI  # weight 1000 still moves the key by whole steps


class Counters(StartTags):
    """The virtual token counter: serve the waiting name that has been given least so far.

    The prompt is charged at dispatch and every token of the answer as it
    streams, so nothing is ever estimated. A name that begins to wait is
    lifted to the lowest counter of those who wait.

    Source: Sheng et al., "Fairness in Serving Large Language Models", OSDI
    2024, algorithm 2. One departure: when nobody holds a ticket any more,
    all counters are forgotten.
    """

    __slots__ = ()

    def progress(self, share: Share, stamp: Stamp, price: int) -> Stamp:
        """Charge what was said since the last time."""
        self.settle(share, stamp, price)
        return (price // share.weight, share.weight, share.wakes)

    def _woken(self, share: Share, place: int) -> None:
        super()._woken(share, place)
        lowest = self.lowest()
        if lowest is not None and lowest > self.now:
            share.key = max(share.key, lowest)
            share.lead = share.key - lowest
