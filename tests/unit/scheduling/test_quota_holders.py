"""Accounts that are found once for many requests, and how fast their lines move."""

from __future__ import annotations

from scheduling.core.policy import BUDGET_KINDS
from scheduling.core.quota import Denied, Quotas, Scope

MINUTE_MS = 60_000
NOON_S = 1_753_963_200  # 31 July 2025, 12:00 UTC
TENANT = ("tenant", "a")
TPM, QUEUED = "tokens_per_minute", "queued"


def test_whoever_knows_an_account_that_was_forgotten_finds_the_one_that_counts():
    quotas, scope = Quotas(), Scope(TENANT, {TPM: 100}, frozenset({TPM}))
    one, other = quotas.holders([scope]), quotas.holders([scope])
    for now_ms in (0, 10 * MINUTE_MS):
        verdicts = [quotas.reserve(each, (40, 0), now_ms, NOON_S, None) for each in (one, other, one)]
        assert verdicts[2] == Denied(TPM, TENANT, 100, retry_ms=12_000)
        for granted in verdicts[:2]:
            granted.give_back()
        quotas.forget_idle(now_ms, NOON_S)
        assert len(quotas) == 0


def test_a_holder_counts_in_the_day_that_has_begun():
    quotas, limits = Quotas(), {"tokens_per_day": 100}
    holders, midnight_s = quotas.holders([Scope(TENANT, limits)]), NOON_S + 43_200
    for now_s in (NOON_S, midnight_s - 0.01, midnight_s, midnight_s + 0.01):
        quotas.reserve(holders, (30, 0), 0, now_s, None)
    assert quotas.used(TENANT, "tokens_per_day", midnight_s) == 60
    assert isinstance(quotas.reserve(holders, (41, 0), 0, midnight_s + 1, None), Denied)


def test_what_yesterdays_request_used_counts_in_the_month_and_not_today():
    quotas, limits = Quotas(), {"tokens_per_day": 100, "tokens_per_month": 200}
    holders, today_s = quotas.holders([Scope(TENANT, limits)]), NOON_S - 43_200
    yesterdays = quotas.reserve(holders, (50, 7), 0, today_s - 1, None)
    quotas.reserve(holders, (20, 1), 0, today_s, None)

    yesterdays.settle((90, 9), 0)

    used = [quotas.used(TENANT, kind, today_s) for kind in BUDGET_KINDS]
    assert used == [20, 110, 10]
    assert quotas.reserve(holders, (80, 0), 0, today_s, None).open
    assert quotas.reserve(holders, (11, 0), 0, today_s, None).kind == "tokens_per_day"


def test_a_bounded_line_says_when_it_moves_until_nobody_has_left_it_for_a_minute():
    quotas = Quotas()
    assert quotas.place_in_ms(TENANT, 0) is None
    for limits, times_ms in (({QUEUED: 9}, (0, 5_000)), ({}, (6_000, 7_000, 8_000))):
        for now_ms in times_ms:
            holders = quotas.holders([Scope(TENANT, limits)])
            granted = quotas.reserve(holders, (0, 0), now_ms, NOON_S, None)
            granted.seated(now_ms)
            granted.seated(now_ms)
            granted.give_back()
    assert quotas.place_in_ms(TENANT, 9_000) == 4_500, "two have left it while it was bounded"
    quotas.forget_idle(9_000, NOON_S)
    assert len(quotas) == 1, "its pace would be missed"
    quotas.forget_idle(2 * MINUTE_MS, NOON_S)
    assert len(quotas) == 0


def test_the_pace_of_a_line_is_forgotten_before_its_budget_is():
    quotas = Quotas()
    holders = quotas.holders([Scope(TENANT, {QUEUED: 9})])
    quotas.reserve(holders, (1, 0), 0, NOON_S, None).seated(0)
    quotas.forget_idle(0, NOON_S)
    assert quotas._accounts[TENANT].pace is None
