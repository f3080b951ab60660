"""Quotas at the door: what a request holds, what stays taken, and how a refusal speaks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import msgspec
import pytest

from gateway.bygone import Bygone
from gateway.callers import Caller, CallerTable
from gateway.errors import BudgetExhausted, BudgetsUnknown, QueueFull, RateLimited
from gateway.ledger import Ledger
from gateway.records import Record
from scheduling.core.policy import Policy, TenantRule
from tests.unit.scheduling.machines import ticket

NOON_S = 1_753_963_200  # 31 July 2025, 12:00 UTC
MODEL = "llama"
CALLER = Caller(7, "research", "ci")


@dataclass
class Door:
    """A ledger whose clock stands still until it is moved."""

    rule: TenantRule = field(default_factory=lambda: TenantRule("research"))
    caller: Caller = CALLER
    now_ms: int = 0
    ledger: Ledger = field(init=False)

    def __post_init__(self):
        self.ledger = Ledger(now_ms=lambda: self.now_ms, now_s=lambda: NOON_S + self.now_ms / 1000)
        self.record = Record("r", NOON_S, "research", MODEL, "standard", "/v1/chat/completions", stream=True)

    def reserve(self, prompt_tokens=10, completion_tokens=20, patience_ms=60_000, spend=0):
        scopes = asyncio.run(self.ledger.scopes(self.rule, self.caller, MODEL))
        self.record = msgspec.structs.replace(self.record, cost=0, spend=spend)
        one = ticket(
            "r",
            "research",
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            queued_ms=self.now_ms,
            deadline_ms=self.now_ms + patience_ms,
        )
        return self.ledger.reserve(scopes, one, self.record)

    def serve(self, prompt_tokens, completion_tokens, spend=0, **asked):
        """A request that is answered."""
        with self.reserve(**asked) as reservation:
            reservation.seated()
            record = self.record
            record.prompt_tokens, record.completion_tokens = prompt_tokens, completion_tokens
            record.cost, record.spend = prompt_tokens + 2 * completion_tokens, spend
        return reservation


def door(caller=CALLER, model_quotas=None, refusing=(), **quotas):
    rule = TenantRule(
        "research",
        quotas=MappingProxyType(quotas),
        model_quotas=MappingProxyType({MODEL: model_quotas} if model_quotas else {}),
        refusing=MappingProxyType({"": frozenset(refusing)}),
    )
    return Door(rule, caller)


def test_a_request_that_never_ran_takes_nothing():
    doors = door(requests_per_minute=1, tokens_per_day=30)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), doors.reserve():
            raise ZeroDivisionError


def test_a_request_whose_engine_did_nothing_takes_nothing():
    doors = door(requests_per_minute=1)
    for _ in range(2):
        with doors.reserve() as reservation:
            assert reservation.not_before_ms is None
            reservation.seated()


def test_what_was_served_takes_what_it_used_and_not_what_was_thought():
    doors = door(refusing=["tokens_per_minute"], tokens_per_minute=100)
    doors.serve(15, 5)
    assert doors.reserve().left()["tokens_per_minute"].remaining == 100 - 20 - 30


def test_a_minutes_quota_lets_a_request_wait_as_long_as_it_is_patient():
    doors = door(tokens_per_minute=30)
    doors.serve(10, 20)
    with pytest.raises(RateLimited) as refused:
        doors.reserve(patience_ms=60_000)
    assert refused.value.retry_after_ms == 60_000
    assert doors.reserve(patience_ms=60_001).not_before_ms == 60_000


def test_a_quota_that_refuses_does_so_at_once_and_names_its_limit():
    doors = door(refusing=["requests_per_minute"], requests_per_minute=1200)
    for _ in range(1200):
        doors.serve(1, 0)
    with pytest.raises(RateLimited, match="may send 1,200 requests per minute") as refused:
        doors.reserve()
    assert refused.value.retry_after_ms == 50


def test_a_used_up_budget_says_until_when_and_that_a_retry_does_not_help():
    doors = door(tokens_per_day=40)
    doors.serve(10, 10)
    with pytest.raises(
        BudgetExhausted, match=r"40 tokens per day, and they are used up.*within 12 h"
    ) as refused:
        doors.reserve()
    assert (refused.value.status, refused.value.retry_after_ms) == (429, None)
    assert b'"code":"insufficient_quota"' in refused.value.body()


def test_money_is_held_as_estimated_and_settled_as_spent():
    doors = door(spend_per_month=1000)
    doors.serve(1, 1, spend=300)
    with doors.reserve(spend=700), pytest.raises(BudgetExhausted, match="1,000 micro-units"):
        doors.reserve(spend=1)


def test_a_model_and_an_api_token_may_have_limits_of_their_own():
    doors = door(model_quotas={"tokens_per_day": 20})
    with pytest.raises(
        BudgetExhausted, match="The tenant may use 20 tokens per day for llama, and this request"
    ):
        doors.reserve()
    doors = door(caller=replace(CALLER, quotas={"tokens_per_day": 20}))
    with pytest.raises(BudgetExhausted, match="This API token may use 20 tokens per day"):
        doors.reserve()


def test_a_changed_limit_holds_from_the_next_request_on():
    one = door(refusing=["requests_per_minute"], requests_per_minute=1000)
    with one.reserve():
        one.rule = replace(one.rule, quotas=MappingProxyType({"requests_per_minute": 0}))
        with pytest.raises(RateLimited):
            one.reserve()
        one.rule = replace(one.rule, quotas=MappingProxyType({}))
        with one.reserve():
            one.caller = replace(one.caller, quotas={"queued": 0})
            with pytest.raises(QueueFull):
                one.reserve()


def test_a_requeued_request_counts_as_waiting_again():
    doors = door(queued=1)
    with doors.reserve() as reservation:
        reservation.seated()
        reservation.requeued()
        with pytest.raises(QueueFull, match="1 requests waiting"):
            doors.reserve()
    with doors.reserve():
        pass


@pytest.mark.parametrize(
    ("gap_ms", "retry_ms"),
    [(None, 2_000), (4_000, 4_000), (50, 50), (25_000, 25_000)],
)
def test_a_full_line_says_when_it_will_move_at_its_pace_of_late(gap_ms, retry_ms):
    doors = Door(rule=TenantRule("research", quotas={"queued": 1}))
    for _ in range(2 if gap_ms else 0):
        doors.serve(10, 20)
        doors.now_ms += gap_ms or 0
    doors.ledger.forget_idle()
    with doors.reserve(), pytest.raises(QueueFull) as refused:
        doors.reserve()
    assert refused.value.retry_after_ms == retry_ms


def test_the_rules_of_a_token_are_looked_up_once_and_again_when_they_are_others():
    one = door(requests_per_minute=5)
    scopes = one.ledger.scopes_at_hand(one.rule, one.caller, MODEL)
    assert one.ledger.scopes_at_hand(one.rule, one.caller, MODEL) is scopes
    other = replace(one.rule, quotas=MappingProxyType({"requests_per_minute": 6}))
    assert one.ledger.scopes_at_hand(other, one.caller, MODEL)[0].limits["requests_per_minute"] == 6
    limited_token = replace(one.caller, quotas={"queued": 1})
    assert len(one.ledger.scopes_at_hand(one.rule, limited_token, MODEL)) == 2


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
