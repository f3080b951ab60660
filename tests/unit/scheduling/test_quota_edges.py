"""Quotas at their edges: nothing used, all used, limits of any size, periods of different lengths."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from scheduling.core.allowance import MINUTE_US
from scheduling.core.quota import Demand, Quotas, Scope

TENANT = ("tenant", "a")
RPM, TPM = "requests_per_minute", "tokens_per_minute"
IDES_S = int(datetime(2025, 7, 15, 12, tzinfo=UTC).timestamp())
HALF_A_DAY_S, HALF_A_MONTH_S = 12 * 3600, 16 * 86_400 + 12 * 3600


def ask(quotas: Quotas, limits: dict[str, int], now_ms: int = 0, *, tokens: int = 1):
    scope = Scope(TENANT, limits, frozenset({RPM, TPM}))
    return quotas.reserve([scope], Demand(tokens), now_ms, IDES_S, None)


def test_an_account_that_took_over_nothing_owes_nothing():
    quotas = Quotas()

    quotas.seed(Scope(TENANT, {RPM: 5, TPM: 5}), {RPM: 0, TPM: 0}, 700, IDES_S)
    quotas.forget_idle(700, IDES_S)

    assert len(quotas) == 0


def test_what_was_used_is_taken_over_only_where_there_is_a_limit():
    quotas = Quotas()

    quotas.seed(Scope(TENANT, {TPM: 5}), {RPM: 3, TPM: 0}, 700, IDES_S)
    quotas.forget_idle(700, IDES_S)

    assert len(quotas) == 0


@pytest.mark.parametrize("limit", [1, 59, 60_000_000, 10**12])
def test_nothing_is_left_of_a_minute_that_was_used_up_however_large_it_is(limit):
    quotas = Quotas()

    granted = ask(quotas, {TPM: limit}, tokens=limit)

    assert granted.left[TPM].remaining == 0
    assert granted.left[TPM].reset_ms == MINUTE_US // 1000


@pytest.mark.parametrize(
    ("kind", "retry_s"), [("tokens_per_day", HALF_A_DAY_S), ("tokens_per_month", HALF_A_MONTH_S)]
)
def test_a_days_budget_comes_back_at_midnight_and_a_months_with_the_next_month(kind, retry_s):
    quotas = Quotas()
    ask(quotas, {kind: 10}, tokens=10)

    assert ask(quotas, {kind: 10}).retry_ms == retry_s * 1000
