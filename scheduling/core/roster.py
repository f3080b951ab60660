"""Who has work in the pool: per tenant what waits and what runs, for the views."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from scheduling.core.entry import Entry
from scheduling.core.policy import DEFAULT_WEIGHT, TenantRule
from scheduling.core.view import TenantView


class TenantLine:
    """One tenant's tickets in this pool."""

    __slots__ = ("classes", "in_flight", "tenant", "waiting", "waiting_cost")

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.waiting: OrderedDict[int, Entry] = OrderedDict()
        self.waiting_cost = 0
        self.in_flight = 0
        self.classes: dict[str, int] = {}


class Roster:
    """Every tenant that has a ticket waiting or running; the others leave nothing behind."""

    def __init__(self) -> None:
        self._lines: dict[str, TenantLine] = {}

    def join(self, entry: Entry) -> None:
        """The ticket waits."""
        tenant = entry.ticket.tenant
        line = self._lines.get(tenant)
        if line is None:
            line = self._lines[tenant] = TenantLine(tenant)
        entry.roster = line
        line.waiting[entry.place] = entry
        if entry.place < 0:
            line.waiting.move_to_end(entry.place, last=False)
        line.waiting_cost += entry.cost
        name = entry.ticket.priority_class
        line.classes[name] = line.classes.get(name, 0) + 1

    def seat(self, entry: Entry) -> None:
        """The ticket runs."""
        line = entry.roster
        del line.waiting[entry.place]
        line.waiting_cost -= entry.cost
        line.in_flight += 1

    def leave(self, entry: Entry) -> None:
        """The ticket ended, or gave up."""
        line = entry.roster
        if entry.place in line.waiting:
            del line.waiting[entry.place]
            line.waiting_cost -= entry.cost
        else:
            line.in_flight -= 1
        line.classes[entry.ticket.priority_class] -= 1
        if not line.waiting and not line.in_flight:
            del self._lines[line.tenant]

    def view(self, tenants: Mapping[str, TenantRule], now_ms: int) -> tuple[TenantView, ...]:
        """Every tenant with work, by name. ``entitled`` is its weight among theirs."""
        weights = {name: _weight(tenants, name) for name in sorted(self._lines)}
        total = sum(weights.values())
        return tuple(
            _view(self._lines[name], weight, weight / total, now_ms) for name, weight in weights.items()
        )


def _weight(tenants: Mapping[str, TenantRule], name: str) -> int:
    rule = tenants.get(name)
    return rule.weight if rule else DEFAULT_WEIGHT


def _view(line: TenantLine, weight: int, entitled: float, now_ms: int) -> TenantView:
    oldest = next(iter(line.waiting.values()), None)
    return TenantView(
        tenant=line.tenant,
        queued=len(line.waiting),
        queued_tokens=line.waiting_cost,
        oldest_wait_ms=now_ms - oldest.ticket.queued_ms if oldest else None,
        in_flight=line.in_flight,
        weight=weight,
        entitled=entitled,
        classes=tuple(sorted(name for name, count in line.classes.items() if count)),
    )
