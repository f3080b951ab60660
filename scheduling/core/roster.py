"""Who has work in the pool: per tenant what waits and what runs, and for which models it may have no more."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from scheduling.core.entry import Entry
from scheduling.core.policy import DEFAULT_WEIGHT, IN_FLIGHT, MAX_QUOTA, TenantRule
from scheduling.core.view import TenantView


class _Everything:
    """Every model."""

    def __contains__(self, model: object) -> bool:
        return True


EVERYTHING: Container[str] = _Everything()


class TenantLine:
    """One tenant's tickets in this pool.

    ``most``: how many it may have in flight before ``Roster.closed`` can be
    anything but None for a quota.
    """

    __slots__ = ("in_flight", "models", "most", "waiting")

    def __init__(self, most: int) -> None:
        self.most = most
        self.waiting = 0
        self.in_flight = 0
        self.models: dict[str, int] | None = None  # in flight, by model, once a quota asks for it

    @property
    def is_idle(self) -> bool:
        """Nothing waits and nothing runs."""
        return not self.waiting and not self.in_flight

    def count(self, model: str, one: int) -> None:
        """One more in flight for the model, or one less."""
        if self.models is not None:
            self.models[model] = self.models.get(model, 0) + one


class Roster:
    """Every tenant that has a ticket waiting or running; the others leave nothing that can be seen."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._lines: dict[str, TenantLine] = {}
        self.paused: set[str] = set()
        """Tenants that an admin has paused."""
        self.boosts: dict[str, tuple[int, int]] = {}
        """Tenants whose weight counts a number of times as much, and until when (ms)."""

    def line_of(self, tenant: str, rule: TenantRule | None) -> TenantLine:
        """The tenant's line until ``obey``, which forgets those that are idle."""
        line = self._lines.get(tenant)
        if line is None:
            line = self._lines[tenant] = TenantLine(_most(rule))
        return line

    def obey(self, tenants: Mapping[str, TenantRule]) -> None:
        """Follow these rules from now on."""
        self._lines = {tenant: self._lines[tenant] for tenant in self}
        for tenant, line in self._lines.items():
            line.most = _most(tenants.get(tenant))

    def closed(self, tenant: str, rule: TenantRule | None) -> Container[str] | None:
        """For which models the tenant may have no more seats now; None when it may have any."""
        if tenant in self.paused:
            return EVERYTHING
        if rule is None or not (rule.quotas or rule.model_quotas):
            return None
        line = self._lines.get(tenant)
        if line is None or line.is_idle:
            return None
        most = rule.most(IN_FLIGHT)
        if most is not None and line.in_flight >= most:
            return EVERYTHING
        if not rule.model_quotas:
            return None
        models = self.models_of(tenant)
        full = {
            model
            for model in rule.model_quotas
            if (most := rule.most(IN_FLIGHT, model)) is not None and models.get(model, 0) >= most
        }
        return full or None

    def models_of(self, tenant: str) -> Mapping[str, int]:
        """The tenant's requests in flight by model; counted from the first time that somebody asks."""
        line = self._lines[tenant]
        if line.models is None:
            line.models = {}
            for entry in self._entries.values():
                if entry.roster is line and not entry.waiting:
                    line.models[entry.ticket.model] = line.models.get(entry.ticket.model, 0) + 1
        return line.models

    def __iter__(self) -> Iterator[str]:
        return (tenant for tenant, line in self._lines.items() if not line.is_idle)

    def view(self, tenants: Mapping[str, TenantRule], now_ms: int) -> tuple[TenantView, ...]:
        """Every tenant with work, by name. ``entitled`` is its weight among theirs, boosts counted.

        One pass over all entries finds the oldest of each class, and what they
        cost: cheaper, at two looks a second, than to keep it all the time.
        """
        waits: dict[str, dict[str, int]] = {name: {} for name in self._lines}
        costs: dict[str, int] = {}
        classes: dict[str, set[str]] = {}
        for entry in self._entries.values():
            ticket = entry.ticket
            classes.setdefault(ticket.tenant, set()).add(ticket.priority_class)
            if entry.waiting:
                waited, of_class = waits[ticket.tenant], ticket.priority_class
                waited[of_class] = max(now_ms - ticket.queued_ms, waited.get(of_class, 0))
                costs[ticket.tenant] = costs.get(ticket.tenant, 0) + entry.cost
        weights = {name: self.weight_of(name, tenants) for name in sorted(self)}
        total = sum(weights.values())
        return tuple(
            TenantView(
                tenant=name,
                queued=(line := self._lines[name]).waiting,
                queued_tokens=costs.get(name, 0),
                oldest_wait_ms=max(waits[name].values(), default=None),
                in_flight=line.in_flight,
                weight=_weight(tenants, name),
                entitled=weight / total,
                classes=tuple(sorted(classes[name])),
                boost=self.boosts[name][0] if name in self.boosts else 1,
                paused=name in self.paused,
                waits_ms=waits[name],
            )
            for name, weight in weights.items()
        )

    def weight_of(self, tenant: str, tenants: Mapping[str, TenantRule]) -> int:
        """The weight that counts now: the rule's, times the boost."""
        weight = _weight(tenants, tenant)
        boost = self.boosts.get(tenant)
        return weight * boost[0] if boost else weight


def _weight(tenants: Mapping[str, TenantRule], name: str) -> int:
    rule = tenants.get(name)
    return rule.weight if rule else DEFAULT_WEIGHT


def _most(rule: TenantRule | None) -> int:
    if rule is None:
        return MAX_QUOTA
    return 0 if rule.model_quotas else rule.quotas.get(IN_FLIGHT, MAX_QUOTA)
