"""What was used before, and whose quotas requests fall under: found once, for many requests."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.bygone import Bygone
from gateway.callers import Caller, CallerTable
from gateway.errors import BudgetsUnknown
from gateway.ledger import Ledger
from gateway.terms import terms_of
from scheduling.core.policy import Policy, TenantRule

NOON_S = 1_753_963_200  # 31 July 2025, 12:00 UTC
AUGUST_S = NOON_S + 43_200
MODEL = "llama"
CALLER = Caller(7, "research", "ci")


def limited(slug="research", **quotas):
    return Policy(1, tenants={slug: TenantRule(slug, quotas=quotas)})


class Past:
    """The usage records, as slow and as unwell as a test wants them."""

    def __init__(self, **used):
        self.used = used
        self.asked: list[list[tuple[str, ...]]] = []
        self.fails = 0

    def __call__(self, scopes):
        self.asked.append([scope.key for scope in scopes])
        if self.fails:
            self.fails -= 1
            raise ConnectionError("no database")
        return {scope.key: self.used for scope in scopes}


async def learning(past, policy, table=None):
    bygone = Bygone(past)
    ledger = Ledger(bygone, now_s=lambda: NOON_S)
    ledger.set_callers(table or CallerTable())
    ledger.set_policy(policy)
    return ledger, bygone, asyncio.create_task(bygone.run(ledger.remember))


async def test_a_tenant_with_a_budget_goes_on_from_what_it_used_before():
    past = Past(tokens_per_day=95)
    policy = limited(tokens_per_day=100)
    ledger, _, chore = await learning(past, policy)
    assert not ledger.ready
    scopes = await ledger.scopes(policy.tenants["research"], CALLER, MODEL)
    assert ledger.ready
    assert ledger.quotas.used(("tenant", "research"), "tokens_per_day", NOON_S) == 95
    assert [scope.key for scope in scopes] == [("tenant", "research")]
    chore.cancel()


async def test_without_quotas_nobody_asks_for_the_past():
    past = Past()
    for policy in (Policy(1, tenants={"research": TenantRule("research")}), limited(in_flight=4, queued=9)):
        ledger, _, chore = await learning(past, policy)
        assert ledger.ready
        await ledger.scopes(policy.tenants["research"], CALLER, MODEL)
        chore.cancel()
    assert past.asked == []


async def test_while_the_past_cannot_be_read_only_those_with_budgets_wait(monkeypatch):
    monkeypatch.setattr("gateway.bygone.PATIENCE_S", 0.01)
    monkeypatch.setattr("gateway.bygone.AGAIN_S", 0.02)
    past = Past()
    past.fails = 1
    policy = limited(tokens_per_month=100)
    ledger, _, chore = await learning(past, policy)
    assert await ledger.scopes(TenantRule("free"), CALLER, MODEL) == []
    with pytest.raises(BudgetsUnknown):
        await ledger.scopes(policy.tenants["research"], CALLER, MODEL)
    monkeypatch.setattr("gateway.bygone.PATIENCE_S", 5)
    assert await ledger.scopes(policy.tenants["research"], CALLER, MODEL)
    assert ledger.ready
    chore.cancel()


async def test_a_budget_that_is_set_while_serving_is_learnt_before_its_next_request():
    past = Past(tokens_per_day=7)
    ledger, _, chore = await learning(past, limited(requests_per_minute=5))
    await ledger.scopes(limited(requests_per_minute=5).tenants["research"], CALLER, MODEL)
    policy = limited(requests_per_minute=5, tokens_per_day=100)
    ledger.set_policy(policy)
    assert ledger.ready, "a gateway that serves does not stop for one edit"
    await ledger.scopes(policy.tenants["research"], CALLER, MODEL)
    assert past.asked == [[("tenant", "research")]] * 2
    chore.cancel()


async def test_a_tenant_that_was_unlimited_for_a_while_is_counted_anew():
    past = Past()
    policy = limited(tokens_per_day=100)
    ledger, _, chore = await learning(past, policy)
    await ledger.scopes(policy.tenants["research"], CALLER, MODEL)
    ledger.set_policy(limited())
    ledger.set_policy(policy)
    await ledger.scopes(policy.tenants["research"], CALLER, MODEL)
    assert len(past.asked) == 2
    chore.cancel()


async def test_an_api_token_with_quotas_is_learnt_at_the_start_or_with_its_first_request():
    past = Past()
    own = replace(CALLER, quotas={"tokens_per_day": 5})
    ledger, _, chore = await learning(past, limited(), CallerTable(1, {b"digest": own}))
    assert not ledger.ready
    for caller in (own, replace(own, token_id=8)):
        await ledger.scopes(TenantRule("research"), caller, MODEL)
    assert past.asked == [[("api_token", "7")], [("api_token", "8")]]
    chore.cancel()


def terms(rule, caller=CALLER, model=MODEL):
    return terms_of(
        caller, model, model, Policy(1, models={MODEL: "pool", "other": "pool"}, tenants={rule.slug: rule})
    )


async def test_whose_quotas_requests_fall_under_is_kept_at_their_terms():
    ledger, rule = Ledger(), TenantRule("research", quotas={"requests_per_minute": 5})
    own = terms(rule)
    holders = await ledger.holders(own)
    assert own.holders is holders
    assert [holder.scope.limits for holder in holders] == [{"requests_per_minute": 5}]
    assert len(await ledger.holders(terms(rule, replace(CALLER, quotas={"queued": 1})))) == 2


async def test_nobodys_quotas_are_kept_before_it_is_known_what_was_used_of_them(monkeypatch):
    monkeypatch.setattr("gateway.bygone.PATIENCE_S", 0.01)
    policy, past = limited(tokens_per_day=100), Past(tokens_per_day=95)
    past.fails = 1
    ledger, _, chore = await learning(past, policy)
    own = terms(policy.tenants["research"])
    with pytest.raises(BudgetsUnknown):
        await ledger.holders(own)
    assert own.holders is None
    chore.cancel()


@pytest.mark.parametrize("kind", ["tokens_per_day", "tokens_per_month"])
async def test_what_was_used_until_midnight_is_not_taken_for_the_new_day_or_month(kind):
    now_s = [AUGUST_S - 1]  # the last second of July
    past = Past(**{kind: 100})

    def read(scopes):
        found = past(scopes)
        now_s[0], past.used = AUGUST_S + 1, {kind: 0}
        return found

    bygone = Bygone(read, now_s=lambda: now_s[0])
    ledger = Ledger(bygone, now_s=lambda: now_s[0])
    policy = limited(**{kind: 100})
    ledger.set_policy(policy)
    chore = asyncio.create_task(bygone.run(ledger.remember))
    await ledger.scopes(policy.tenants["research"], CALLER, MODEL)
    chore.cancel()

    assert ledger.quotas.used(("tenant", "research"), kind, AUGUST_S + 1) == 0
