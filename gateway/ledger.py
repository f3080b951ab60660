"""Quotas at the door: take what a request may need, and put in its place what it used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic, time

from gateway.bygone import Bygone
from gateway.callers import Caller, CallerTable
from gateway.errors import BudgetExhausted, BudgetTooSmall, QueueFull, RateLimited, Refused
from gateway.records import Record
from gateway.terms import Terms
from scheduling.core.policy import (
    MINUTE_KINDS,
    QUEUED,
    REQUESTS_PER_MINUTE,
    SPEND_PER_MONTH,
    TOKENS_PER_DAY,
    TOKENS_PER_MINUTE,
    TOKENS_PER_MONTH,
    Policy,
    TenantRule,
)
from scheduling.core.quota import Denied, Granted, Holder, Left, Quotas, Scope
from scheduling.core.ticket import Ticket

NOTHING: frozenset[str] = frozenset()
MAY = {
    QUEUED: "have {:,} requests waiting",
    REQUESTS_PER_MINUTE: "send {:,} requests per minute",
    TOKENS_PER_MINUTE: "use {:,} tokens per minute",
    TOKENS_PER_DAY: "use {:,} tokens per day",
    TOKENS_PER_MONTH: "use {:,} tokens per month",
    SPEND_PER_MONTH: "spend {:,} micro-units of money per month",
}


class Ledger:
    """Asks the quota machine on behalf of requests. ``bygone`` knows what was used before this process."""

    def __init__(
        self,
        bygone: Bygone | None = None,
        *,
        now_ms: Callable[[], int] = lambda: int(monotonic() * 1000),
        now_s: Callable[[], float] = time,
    ) -> None:
        self.quotas = Quotas()
        self.now_ms = now_ms
        self._now_s = now_s
        self._bygone = bygone

    async def scopes(self, tenant: TenantRule, caller: Caller, model: str) -> Sequence[Scope]:
        """Whose quotas a request falls under, once it is known what was used of them.

        Raises BudgetsUnknown when that takes too long.
        """
        scopes = _scopes(tenant, caller, model)
        if scopes and self._bygone is not None:
            await self._bygone.known(scopes)
        return scopes

    async def holders(self, terms: Terms) -> Sequence[Holder]:
        """The holders of these scopes, with what was used of them. Raises BudgetsUnknown.

        They are kept at the terms: they are the same for all requests, for
        as long as the rules are the same objects.
        """
        scopes = await self.scopes(terms.tenant, terms.caller, terms.model)
        terms.holders = holders = self.quotas.holders(scopes)
        return holders

    async def all_scopes(self, tenant: TenantRule, caller: Caller) -> Sequence[Scope]:
        """Whose quotas any request of the caller may fall under, once it is known what was used of them.

        Raises BudgetsUnknown when that takes too long.
        """
        scopes = tenant_scopes(tenant) + ([_own(caller)] if caller.quotas else [])
        if scopes and self._bygone is not None:
            await self._bygone.known(scopes)
        return scopes

    def now_s(self) -> int:
        """Unix time, by which budgets are counted."""
        return int(self._now_s())

    def reserve(self, holders: Sequence[Holder], ticket: Ticket, record: Record) -> Granted:
        """Take what the ticket may need, or nothing. Raises RateLimited, BudgetExhausted or QueueFull."""
        demand = (ticket.prompt_tokens + ticket.completion_tokens, record.spend)
        verdict = self.quotas.reserve(holders, demand, ticket.queued_ms, self._now_s(), ticket.deadline_ms)
        if isinstance(verdict, Denied):
            raise _refusal(verdict, self.quotas.place_in_ms(verdict.key, self.now_ms()))
        return verdict

    def settle(self, granted: Granted, record: Record) -> None:
        """The request is over: what its record says it used stays taken.

        Nothing does of a request that never ran or whose engine did nothing:
        the cost in its record is 0 then.
        """
        if not record.cost:
            granted.give_back()
            return
        tokens = record.prompt_tokens + record.completion_tokens
        # Only what was used above the estimate is taken now, so only then the time is asked for.
        now_ms = self.now_ms() if tokens > granted.demand[0] else 0
        granted.settle((tokens, record.spend), now_ms)

    @property
    def ready(self) -> bool:
        """What was used before is known, so nobody with a budget has to wait for it."""
        return self._bygone is None or self._bygone.ready

    def set_policy(self, policy: Policy) -> None:
        """These tenants have limits from now on."""
        if self._bygone is not None:
            tenants = policy.tenants.values()
            self._bygone.expect([scope for rule in tenants for scope in tenant_scopes(rule)])

    def set_callers(self, table: CallerTable) -> None:
        """These API tokens have limits from now on."""
        if self._bygone is not None and not self._bygone.ready:
            limited = (caller for caller in table.by_digest.values() if caller.quotas)
            self._bygone.expect_too([_own(caller) for caller in limited])

    def remember(self, scope: Scope, used: Mapping[str, int]) -> None:
        """Take over what was used before, by kind."""
        self.quotas.seed(scope, used, self.now_ms(), self.now_s())

    def forget_idle(self) -> None:
        """Drop what is known of those who hold and owe nothing."""
        self.quotas.forget_idle(self.now_ms(), self.now_s())


def tenant_scopes(rule: TenantRule) -> list[Scope]:
    """The holders of limits that a tenant's rule speaks of."""
    found = [Scope(("tenant", rule.slug), rule.quotas, rule.refusing.get("", NOTHING))] if rule.quotas else []
    return found + [_of_model(rule, model) for model, limits in rule.model_quotas.items() if limits]


def _scopes(rule: TenantRule, caller: Caller, model: str) -> list[Scope]:
    scopes = []
    if rule.quotas:
        scopes.append(Scope(("tenant", rule.slug), rule.quotas, rule.refusing.get("", NOTHING)))
    if rule.model_quotas.get(model):
        scopes.append(_of_model(rule, model))
    if caller.quotas:
        scopes.append(_own(caller))
    return scopes


def _of_model(rule: TenantRule, model: str) -> Scope:
    return Scope(("model", rule.slug, model), rule.model_quotas[model], rule.refusing.get(model, NOTHING))


def _own(caller: Caller) -> Scope:
    return Scope(("api_token", str(caller.token_id)), caller.quotas, caller.refusing)


def _refusal(denied: Denied, place_in_ms: int | None) -> Refused:
    who = "This API token" if denied.key[0] == "api_token" else "The tenant"
    whom = f" for {denied.key[2]}" if denied.key[0] == "model" else ""
    may = f"{who} may {MAY[denied.kind].format(denied.limit)}{whom}"
    if denied.kind == QUEUED:
        return QueueFull(f"{may}, and has. This one was not queued.", retry_after_ms=place_in_ms)
    if denied.kind in MINUTE_KINDS:
        limited = RateLimited(f"{may}.", retry_after_ms=denied.retry_ms)
        limited.left = {denied.kind: Left(denied.limit, 0, limited.retry_after_ms or 0)}
        return limited
    if denied.retry_ms is None:
        return BudgetTooSmall(f"{may}, and this request alone may need more.")
    hours = -(-denied.retry_ms // 3_600_000)
    return BudgetExhausted(
        f"{may}, and they are used up. The next period begins within {hours} h, at 0:00 UTC."
    )
