"""The tree of start tags, its steps for all levels in one go: most pools are fair by tokens."""

from __future__ import annotations

from collections.abc import Callable

from scheduling.core.entry import Entry, Stamp
from scheduling.core.hierarchy import Tree
from scheduling.core.levels import MILLI, Level, Share
from scheduling.core.tags import LAG_LIMIT, StartTags


class TagTree(Tree):
    """A ``Tree`` of ``StartTags``, charged what a ticket is thought to cost.

    What every ticket needs is done here as ``StartTags`` would do it level by
    level, without a call for each: half of the steps.
    """

    def __init__(self, weight_of: Callable[[str], int]) -> None:
        super().__init__(StartTags, None, weight_of)

    def serve(self, entry: Entry) -> None:
        """As ``StartTags.charge``."""
        price, path = entry.cost * MILLI, entry.shares
        path[-1].left += 1
        self._out_of_line(entry)
        level: Level = self._tenants
        entry.stamps = stamps = []
        for share in path:
            start, now, weight = share.key, level.now, share.weight
            if start > now:
                level.now = start
            elif start < now - LAG_LIMIT:
                start = now - LAG_LIMIT
            charge = price // weight or 1
            share.key = start + charge
            stamps.append((charge, weight, share.wakes))
            if (inner := share.inner) is not None:
                level = inner

    def pass_through(self, entry: Entry) -> None:
        """As ``join``, ``StartTags._woken`` and ``charge``."""
        price = entry.cost * MILLI
        level: Level | None = self._tenants
        path: list[Share] = []
        stamps: list[Stamp] = []
        entry.shares, entry.stamps = path, stamps
        for name in entry.ticket.path:
            if level is None:
                level = path[-1].inner = StartTags()
            share = level.shares.get(name)
            if share is None:
                share = self._open(level, name, len(path))
            held = share.held
            if not held:
                level.idle -= 1
            share.held = held + 1
            share.wakes = wakes = share.wakes + 1
            start, now, weight = share.key, level.now, share.weight
            if start > now:
                share.lead = start - now
                level.now = start
            else:
                share.lead = 0
                start = now
            charge = price // weight or 1
            share.key = start + charge
            path.append(share)
            stamps.append((charge, weight, wakes))
            level = share.inner
        path[-1].left += 1

    def settle(self, entry: Entry, cost: int) -> None:
        """As ``StartTags.settle``."""
        price = cost * MILLI
        level: Level = self._tenants
        for share, stamp in zip(entry.shares, entry.stamps):  # noqa: B905 - as long; asked in every request
            inner, weight = share.inner, share.weight
            charge, charged_at, wakes = stamp
            if charged_at != weight:
                charge = charge * charged_at // weight
            moved = price // weight - charge
            if moved < 0 and wakes != share.wakes:
                lead = share.lead
                if moved + lead < 0:
                    moved = -lead
                share.lead = lead + moved
            if moved < 0 and share.keys:
                level.set_key(share, share.key + moved)  # it may be next now
            else:
                share.key += moved
            share.held = held = share.held - 1
            if not held:
                level.rest(share)
            if inner is not None:
                level = inner
