"""Who has work in the pool: per tenant what waits and what runs, for the views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from scheduling.core.entry import Entry
from scheduling.core.policy import DEFAULT_WEIGHT, IN_FLIGHT, TenantRule
from scheduling.core.view import TenantView


class TenantLine:
    """One tenant's tickets in this pool."""

    __slots__ = ("classes", "in_flight", "waiting", "waiting_cost")

    def __init__(self) -> None:
        self.waiting = 0
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
            line = self._lines[tenant] = TenantLine()
        entry.roster = line
        line.waiting += 1
        line.waiting_cost += entry.cost
        name = entry.ticket.priority_class
        line.classes[name] = line.classes.get(name, 0) + 1

    def seat(self, entry: Entry) -> None:
        """The ticket runs."""
        line = entry.roster
        line.waiting -= 1
        line.waiting_cost -= entry.cost
        line.in_flight += 1

    def give_up(self, entry: Entry) -> None:
        """The ticket leaves the line unserved."""
        entry.roster.waiting -= 1
        entry.roster.waiting_cost -= entry.cost
        self._leave(entry)

    def finish(self, entry: Entry) -> None:
        """The ticket ended."""
        entry.roster.in_flight -= 1
        self._leave(entry)

    def is_full(self, tenant: str, rule: TenantRule | None) -> bool:
        """Whether the tenant holds as many seats as its quota lets it."""
        most = rule.most(IN_FLIGHT) if rule and rule.quotas else None
        if most is None or (line := self._lines.get(tenant)) is None:
            return False
        return line.in_flight >= most

    def waiting_of(self, tenants: Iterable[str]) -> int:
        """How many tickets of these tenants wait."""
        return sum(line.waiting for name in tenants if (line := self._lines.get(name)))

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def view(
        self, entries: Iterable[Entry], tenants: Mapping[str, TenantRule], now_ms: int
    ) -> tuple[TenantView, ...]:
        """Every tenant with work, by name. ``entitled`` is its weight among theirs.

        One pass over all entries finds the oldest of each: cheaper, at two
        looks a second, than to keep them in order all the time.
        """
        oldest: dict[str, int] = {}
        for entry in entries:
            if entry.waiting:
                ticket = entry.ticket
                oldest[ticket.tenant] = min(ticket.queued_ms, oldest.get(ticket.tenant, now_ms))
        weights = {name: _weight(tenants, name) for name in sorted(self._lines)}
        total = sum(weights.values())
        return tuple(
            TenantView(
                tenant=name,
                queued=(line := self._lines[name]).waiting,
                queued_tokens=line.waiting_cost,
                oldest_wait_ms=now_ms - oldest[name] if name in oldest else None,
                in_flight=line.in_flight,
                weight=weight,
                entitled=weight / total,
                classes=tuple(sorted(name for name, count in line.classes.items() if count)),
            )
            for name, weight in weights.items()
        )

    def _leave(self, entry: Entry) -> None:
        line = entry.roster
        line.classes[entry.ticket.priority_class] -= 1
        if not line.waiting and not line.in_flight:
            del self._lines[entry.ticket.tenant]


def _weight(tenants: Mapping[str, TenantRule], name: str) -> int:
    rule = tenants.get(name)
    return rule.weight if rule else DEFAULT_WEIGHT
