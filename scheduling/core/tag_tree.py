"""The tree of start tags, with what nearly all requests need written out: the same tags, in fewer steps."""

from __future__ import annotations

from collections.abc import Sequence

from scheduling.core.entry import Charges, Entry
from scheduling.core.hierarchy import Tree
from scheduling.core.levels import MILLI
from scheduling.core.share import Share
from scheduling.core.tags import LAG_LIMIT


class TagTree(Tree):
    """A ``Tree`` whose levels are ``StartTags``: it says what such a tree says, and asks its levels less.

    Every request walks its path twice, when it is seated and when it ends;
    to ask each level there is a quarter more steps.
    """

    def pass_through(self, entry: Entry) -> None:
        """As ``join``, and as ``_woken`` and ``charge`` of each level, which others have no part in now."""
        price = (entry.cost if self._price is None else self._price(entry)) * MILLI
        level, names = self._tenants, entry.ticket.path
        charges: Charges | None = None
        share: Share | None = None
        for name in names:
            try:
                share = level.shares[name]
            except KeyError:
                share = self._open(level, name, share, names)
            held = share.held
            if not held:
                level.idle -= 1
            share.held = held + 1
            share.wakes = wakes = share.wakes + 1
            start, now = share.key, level.now
            if start > now:
                share.lead = start - now
                level.now = start
            else:
                share.lead = 0
                start = now
            weight = share.weight
            charge = price // weight or 1
            share.key = start + charge
            charges = (share, charge, weight, wakes, charges)
            level = share.inner  # type: ignore[assignment] # None after the last name
        entry.charges = charges

    def _charged(self, path: Sequence[Share], price: int) -> Charges | None:
        """As ``StartTags.charge`` of each level."""
        charges: Charges | None = None
        for share in path:
            share.waiting -= 1
            level, start, weight = share.level, share.key, share.weight
            now = level.now
            if start > now:
                level.now = start
            elif start < now - LAG_LIMIT:
                start = now - LAG_LIMIT
            charge = price // weight or 1
            if share.indexes:
                share.move(start + charge)
            else:
                share.key = start + charge
            charges = (share, charge, weight, share.wakes, charges)
        return charges

    def settle(self, entry: Entry, cost: int) -> None:
        """As ``StartTags.settle``, which is asked where a weight has changed."""
        price = cost * MILLI
        charges = entry.charges
        while charges is not None:
            share, charge, weight, wakes, charges = charges
            moved = price // weight - charge
            if weight != share.weight:
                share.level.settle(share, (charge, weight, wakes), price)
            else:
                if moved < 0 and wakes != share.wakes:
                    lead = share.lead
                    if moved + lead < 0:
                        moved = -lead
                    share.lead = lead + moved
                if share.indexes:
                    share.move(share.key + moved)
                else:
                    share.key += moved
            share.held = held = share.held - 1
            if not held:
                share.level.rest(share)
