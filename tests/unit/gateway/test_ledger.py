"""Quotas at the door: what a request holds, what stays taken, and how a refusal speaks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import msgspec
import pytest

from gateway.callers import Caller
from gateway.errors import BudgetExhausted, BudgetTooSmall, QueueFull, RateLimited
from gateway.ledger import Ledger
from gateway.records import Record
from scheduling.core.policy import TenantRule
from tests.fakes.held import Held
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
        holders = self.ledger.quotas.holders(scopes)
        return Held(self.ledger, self.ledger.reserve(holders, one, self.record), self.record)

    def serve(self, prompt_tokens, completion_tokens, spend=0, **asked):
        """A request that is answered."""
        with self.reserve(**asked) as reservation:
            reservation.granted.seated(self.now_ms)
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
            assert reservation.granted.not_before_ms is None
            reservation.granted.seated(0)


def test_what_was_served_takes_what_it_used_and_not_what_was_thought():
    doors = door(refusing=["tokens_per_minute"], tokens_per_minute=100)
    doors.serve(15, 5)
    assert doors.reserve().granted.left["tokens_per_minute"].remaining == 100 - 20 - 30


def test_a_minutes_quota_lets_a_request_wait_as_long_as_it_is_patient():
    doors = door(tokens_per_minute=30)
    doors.serve(10, 20)
    with pytest.raises(RateLimited) as refused:
        doors.reserve(patience_ms=60_000)
    assert refused.value.retry_after_ms == 60_000
    assert doors.reserve(patience_ms=60_001).granted.not_before_ms == 60_000


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
        BudgetTooSmall, match="The tenant may use 20 tokens per day for llama, and this request"
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
        reservation.granted.seated(0)
        reservation.granted.requeued()
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
