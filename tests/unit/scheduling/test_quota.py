"""Quotas: never more than a minute's worth at once, and what never ran has taken nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduling.core.budget import Budgets, day_of, month_begins_s, month_of
from scheduling.core.policy import BUDGET_KINDS, Prices
from scheduling.core.quota import Denied, Granted, Left, Quotas, Scope

MINUTE_MS = 60_000
NOON_S = 1_753_963_200  # 31 July 2025, 12:00 UTC
TENANT = ("tenant", "a")
RPM, TPM, QUEUED = "requests_per_minute", "tokens_per_minute", "queued"
BOTH = frozenset({RPM, TPM})


def ask(
    quotas, limits, now_ms=0, *, tokens=1, spend=0, now_s=NOON_S, deadline_ms=None, waits=False, key=TENANT
):
    scope = Scope(key, limits, frozenset() if waits else BOTH)
    return quotas.reserve(quotas.holders([scope]), (tokens, spend), now_ms, now_s, deadline_ms)


def test_who_has_no_quotas_may_always_come():
    quotas = Quotas()
    verdicts = [quotas.reserve(quotas.holders([]), (1, 0), now_ms, NOON_S, None) for now_ms in range(100)]
    assert all(isinstance(verdict, Granted) for verdict in verdicts)
    assert len(quotas) == 0


@pytest.mark.parametrize(("kind", "tokens"), [(RPM, 500), (TPM, 1)])
def test_a_whole_minutes_worth_may_come_at_once_and_no_more(kind, tokens):
    quotas = Quotas()
    verdicts = [ask(quotas, {kind: 3}, tokens=tokens) for _ in range(4)]
    assert [verdict.left[kind].remaining for verdict in verdicts[:3]] == [2, 1, 0]
    assert verdicts[3] == Denied(kind, TENANT, 3, retry_ms=20_000)


def test_the_time_to_retry_is_the_time_at_which_one_is_granted():
    quotas = Quotas()
    ask(quotas, {RPM: 1})
    denied = ask(quotas, {RPM: 1}, 10)
    assert denied == Denied(RPM, TENANT, 1, retry_ms=MINUTE_MS - 10)
    assert isinstance(ask(quotas, {RPM: 1}, 10 + denied.retry_ms - 1), Denied)
    assert isinstance(ask(quotas, {RPM: 1}, 10 + denied.retry_ms), Granted)


def test_of_two_quotas_the_later_one_says_when_to_retry_or_to_start():
    quotas = Quotas()
    limits = {RPM: 2, TPM: 100}
    for tokens in (90, 10):
        ask(quotas, limits, tokens=tokens)
    assert ask(quotas, limits, tokens=10) == Denied(RPM, TENANT, 2, retry_ms=30_000)
    assert ask(quotas, limits, tokens=90) == Denied(TPM, TENANT, 100, retry_ms=54_000)
    refusing = Scope(TENANT, limits, frozenset({RPM}))
    denied = quotas.reserve(quotas.holders([refusing]), (90, 0), 0, NOON_S, None)
    assert denied == Denied(RPM, TENANT, 2, retry_ms=54_000), "the one refuses, the other says when"
    assert ask(quotas, limits, tokens=90, waits=True).not_before_ms == 54_000


def test_a_request_that_may_wait_is_booked_ahead_one_behind_the_other():
    quotas = Quotas()
    starts = [ask(quotas, {TPM: 600}, tokens=600, waits=True) for _ in range(4)]
    assert starts[0].not_before_ms is None
    assert [each.not_before_ms for each in starts[1:]] == [60_000, 120_000, 180_000]


def test_a_request_whose_allowance_comes_after_its_deadline_is_refused_and_books_nothing():
    quotas = Quotas()
    ask(quotas, {TPM: 600}, tokens=600)
    for _ in range(3):
        denied = ask(quotas, {TPM: 600}, tokens=600, waits=True, deadline_ms=60_000)
        assert denied == Denied(TPM, TENANT, 600, retry_ms=60_000)
    assert ask(quotas, {TPM: 600}, tokens=600, waits=True, deadline_ms=60_001).not_before_ms == 60_000


def test_fifty_at_once_get_a_thousand_tokens_per_minute_and_not_one_more():
    quotas = Quotas()
    verdicts = [ask(quotas, {TPM: 1000}, tokens=60) for _ in range(50)]
    granted = [verdict for verdict in verdicts if isinstance(verdict, Granted)]
    assert len(granted) == 1000 // 60
    for verdict in granted:
        verdict.settle((50, 0), 500)
    granted = [ask(quotas, {TPM: 1000}, 500, tokens=60) for _ in range(50)]
    left = 1000 - 50 * (1000 // 60) + 1000 * 500 // MINUTE_MS
    assert sum(isinstance(verdict, Granted) for verdict in granted) == left // 60


def test_fifty_at_once_that_wait_start_as_the_allowance_comes():
    quotas = Quotas()
    verdicts = [ask(quotas, {TPM: 1000}, tokens=50, waits=True) for _ in range(50)]
    starts = [verdict.not_before_ms or 0 for verdict in verdicts]
    assert starts == [0] * 20 + [3_000 * n for n in range(1, 31)]


def test_a_request_larger_than_a_minute_runs_alone_and_leaves_a_debt():
    quotas = Quotas()
    ask(quotas, {TPM: 100}, tokens=1)
    huge = ask(quotas, {TPM: 100}, tokens=300, waits=True)
    assert huge.not_before_ms == 600, "as soon as the allowance is whole"
    assert ask(quotas, {TPM: 100}, 600, tokens=1).retry_ms == 2 * MINUTE_MS + 600
    assert huge.left[TPM] == Left(100, 0, 3 * MINUTE_MS + 600)


def test_what_was_used_above_the_estimate_is_owed_from_then_on():
    quotas = Quotas()
    granted = ask(quotas, {TPM: 100}, tokens=10)
    granted.settle((110, 0), 5 * MINUTE_MS)
    assert ask(quotas, {TPM: 100}, 5 * MINUTE_MS, tokens=1).retry_ms == 600


def test_a_refund_is_worth_only_what_has_not_come_back_by_itself():
    """Idle time has refilled the first one's part already: nobody may have it twice."""
    quotas = Quotas()
    first = ask(quotas, {TPM: 60}, tokens=10)
    ask(quotas, {TPM: 60}, 50_000, tokens=60)
    first.give_back()
    assert ask(quotas, {TPM: 60}, 50_000, tokens=1) == Denied(TPM, TENANT, 60, retry_ms=1000)


def test_the_queue_quota_counts_only_those_in_line():
    quotas = Quotas()
    granted = ask(quotas, {QUEUED: 1})
    assert ask(quotas, {QUEUED: 1}) == Denied(QUEUED, TENANT, 1)
    granted.seated(0)
    assert isinstance(ask(quotas, {QUEUED: 1}), Granted)
    granted.requeued()
    assert quotas.queued(TENANT) == 2


def test_a_request_refused_by_one_scope_takes_nothing_of_the_others():
    quotas = Quotas()
    wide, full = Scope(TENANT, {RPM: 2, QUEUED: 9}, BOTH), Scope(("api_token", "7"), {QUEUED: 0})
    for _ in range(5):
        assert quotas.reserve(quotas.holders([wide, full]), (1, 0), 0, NOON_S, None) == Denied(
            QUEUED, full.key, 0
        )
    assert quotas.queued(TENANT) == 0
    assert ask(quotas, {RPM: 2}).left[RPM].remaining == 1


def test_the_client_hears_of_the_scope_with_least_left():
    quotas = Quotas()
    scopes = [Scope(TENANT, {RPM: 100, TPM: 50}), Scope(("api_token", "7"), {RPM: 10, TPM: 500})]
    left = quotas.reserve(quotas.holders(scopes), (20, 0), 0, NOON_S, None).left
    assert left == {RPM: Left(10, 9, 6_000), TPM: Left(50, 30, 24_000)}


def test_one_holders_requests_take_nothing_of_anothers():
    quotas = Quotas()
    ask(quotas, {RPM: 1})
    assert isinstance(ask(quotas, {RPM: 1}, key=("tenant", "b")), Granted)


@pytest.mark.parametrize("kind", [RPM, TPM, QUEUED, "tokens_per_day"])
def test_a_quota_of_zero_lets_nobody_in(kind):
    assert ask(Quotas(), {kind: 0}, waits=True) == Denied(kind, TENANT, 0)


@pytest.mark.parametrize(
    ("kind", "retry_s"),
    [("tokens_per_day", 43_200), ("tokens_per_month", 43_200), ("spend_per_month", 43_200)],
)
def test_a_used_up_budget_refuses_at_once_until_its_period_ends(kind, retry_s):
    quotas = Quotas()
    used = {"tokens": 0, "spend": 60} if kind.startswith("spend") else {"tokens": 60}
    ask(quotas, {kind: 100}, **used)
    assert ask(quotas, {kind: 100}, waits=True, **used) == Denied(kind, TENANT, 100, retry_s * 1000)
    later_s = NOON_S + retry_s
    assert isinstance(ask(quotas, {kind: 100}, now_s=later_s - 1, **used), Denied)
    assert isinstance(ask(quotas, {kind: 100}, now_s=later_s, **used), Granted)


def test_a_request_larger_than_a_whole_budget_is_told_that_no_time_helps():
    assert ask(Quotas(), {"tokens_per_day": 100}, tokens=101) == Denied("tokens_per_day", TENANT, 100, None)


def test_a_request_as_large_as_a_whole_budget_is_told_when_the_next_begins():
    quotas = Quotas()
    ask(quotas, {"tokens_per_day": 100}, tokens=1)
    assert ask(quotas, {"tokens_per_day": 100}, tokens=100).retry_ms == 43_200_000


def test_a_request_is_settled_in_the_month_in_which_it_was_reserved():
    quotas, limits = Quotas(), {"tokens_per_month": 100}
    july, august_s = ask(quotas, limits, tokens=50), month_begins_s(month_of(NOON_S) + 1)
    ask(quotas, limits, tokens=10, now_s=august_s)
    july.settle((90, 0), 0)
    assert quotas.used(TENANT, "tokens_per_month", august_s) == 10


def test_a_clock_that_goes_back_opens_no_budget_again():
    quotas, limits = Quotas(), {"tokens_per_day": 100}
    ask(quotas, limits, tokens=100, now_s=NOON_S)
    assert isinstance(ask(quotas, limits, now_s=NOON_S - 86_400), Denied)


def test_a_limit_that_is_set_later_finds_the_budget_as_it_is():
    quotas = Quotas()
    ask(quotas, {QUEUED: 9}, tokens=80)
    assert isinstance(ask(quotas, {"tokens_per_day": 100}, tokens=30), Denied)


def test_a_restart_takes_over_what_was_used():
    quotas = Quotas()
    limits = {RPM: 10, TPM: 100, "tokens_per_day": 500, "spend_per_month": 70}
    used = {RPM: 4, TPM: 90, "tokens_per_day": 470, "spend_per_month": 30, "tokens_per_month": 0}
    quotas.seed(Scope(TENANT, limits), used, 1000, NOON_S)
    quotas.seed(Scope(TENANT, limits), dict.fromkeys(used, 0), 1000, NOON_S)
    assert ask(quotas, limits, 1000, tokens=5).left == {RPM: Left(10, 5, 30_000), TPM: Left(100, 5, 57_000)}
    assert ask(quotas, limits, 1000, tokens=26).kind == "tokens_per_day"
    assert ask(quotas, limits, 1000, spend=41).kind == "spend_per_month"
    quotas.seed(Scope(TENANT, limits), {TPM: 900}, 1000, NOON_S)
    assert ask(quotas, limits, 1000).retry_ms == 600, "no minute can have used more than itself"


def test_what_is_given_back_after_a_restart_leaves_what_was_used_before_it():
    quotas, limits = Quotas(), {RPM: 10, TPM: 100}
    quotas.seed(Scope(TENANT, limits), {RPM: 4, TPM: 90}, 1000, NOON_S)
    ask(quotas, limits, 1000, tokens=5).give_back()
    assert quotas.left(Scope(TENANT, limits), RPM, 1000) == Left(10, 6, 24_000)
    assert quotas.left(Scope(TENANT, limits), TPM, 1000) == Left(100, 10, 54_000)


def test_accounts_are_forgotten_when_nothing_of_them_will_be_missed():
    quotas = Quotas()
    granted = ask(quotas, {RPM: 1}, tokens=0)
    quotas.forget_idle(10 * MINUTE_MS, NOON_S)
    assert len(quotas) == 1, "it stands in line"
    granted.settle((0, 0), 0)
    quotas.forget_idle(MINUTE_MS - 1, NOON_S)
    assert len(quotas) == 1, "it owes a part of the minute"
    quotas.forget_idle(MINUTE_MS, NOON_S)
    assert len(quotas) == 0


def test_a_used_budget_is_remembered_until_its_period_has_passed():
    quotas = Quotas()
    ask(quotas, {"tokens_per_day": 9}).settle((1, 0), 0)
    quotas.forget_idle(MINUTE_MS, NOON_S)
    assert quotas.used(TENANT, "tokens_per_day", NOON_S) == 1
    quotas.forget_idle(MINUTE_MS, month_begins_s(month_of(NOON_S) + 1))
    assert len(quotas) == 0


def test_marks_stay_few_however_many_requests_pass_beside_a_long_one():
    quotas = Quotas()
    ask(quotas, {TPM: 10_000_000}, tokens=100)
    for now_ms in range(5_000):
        ask(quotas, {TPM: 10_000_000}, now_ms, tokens=200).settle((200, 0), now_ms)
    ask(quotas, {TPM: 10_000_000}, 5_000).give_back()
    account = quotas._accounts[TENANT]
    assert len(account.tokens._places) < 100
    assert len(account.places) == 1


def test_nothing_is_for_free_however_large_the_limit():
    assert ask(Quotas(), {TPM: 10**15}).left[TPM].remaining < 10**15


@pytest.mark.parametrize("limit", [1, 7, 600, 60_000, 10**7])
def test_what_remains_and_what_is_granted_agree(limit):
    assert ask(Quotas(), {RPM: limit}).left[RPM].remaining == limit - 1


@given(st.integers(0, 40 * 366), st.integers(0, 86_399))
def test_days_and_months_are_the_calendars(days, second):
    at = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=days, seconds=second)
    at_s = int(at.timestamp())
    assert day_of(at_s) == at.toordinal() - datetime(1970, 1, 1, tzinfo=UTC).toordinal()
    assert month_of(at_s) == 12 * at.year + at.month - 1
    begins = at.replace(day=1, hour=0, minute=0, second=0)
    assert month_begins_s(month_of(at_s)) == int(begins.timestamp())


def test_a_budget_ignores_what_belongs_to_another_period():
    budgets, day, month = Budgets(), 70, 7
    budgets.turn_to((day, month))
    budgets.add(5, 2, (day, month))  # an equal one, though not the same
    budgets.add(9, 4, (69, 6))
    budgets.add(30, 1, (69, 7))
    budgets.turn_to((69, 6))
    assert (budgets.day_tokens, budgets.month_tokens, budgets.month_spend) == (5, 35, 3)
    assert [budgets.used(kind, (71, 7)) for kind in BUDGET_KINDS] == [0, 35, 3]
    assert [budgets.used(kind, (80, 8)) for kind in BUDGET_KINDS] == [0, 0, 0]


@pytest.mark.parametrize(
    ("tokens", "spend"),
    [((0, 0, 0), 0), ((1, 0, 0), 1), ((1_000_000, 400_000, 0), 140_000), ((0, 0, 2_000_000), 1_200_000)],
)
def test_money_is_counted_in_micro_units_rounded_up(tokens, spend):
    assert Prices(prompt=200_000, cached=50_000, completion=600_000).spend(*tokens) == spend
