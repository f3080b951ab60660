"""Accounts that are found once for many requests, and how fast their lines move."""

from __future__ import annotations

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


def test_a_bounded_line_says_when_it_moves_until_nobody_has_left_it_for_a_minute():
    quotas = Quotas()
    assert quotas.place_in_ms(TENANT, 0) is None
    for limits in ({QUEUED: 9}, {}):
        for now_ms in (0, 5_000):
            holders = quotas.holders([Scope(TENANT, limits)])
            granted = quotas.reserve(holders, (0, 0), now_ms, NOON_S, None)
            granted.seated(now_ms)
            granted.seated(now_ms)
            granted.give_back()
    assert quotas.place_in_ms(TENANT, 9_000) == 4_500, "two have left it within nine seconds"
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
