"""Quotas at their edges: nothing used, all used, limits of any size, periods of different lengths."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from scheduling.core.account import next_period_s
from scheduling.core.allowance import MINUTE_US, Allowance, width_us
from scheduling.core.budget import month_begins_s, month_of
from scheduling.core.policy import BUDGET_KINDS, QUEUED, Prices
from scheduling.core.quota import Granted, Left, Quotas, Scope

TENANT = ("tenant", "a")
RPM, TPM = "requests_per_minute", "tokens_per_minute"
IDES_S = int(datetime(2025, 7, 15, 12, tzinfo=UTC).timestamp())
HALF_A_DAY_S, HALF_A_MONTH_S = 12 * 3600, 16 * 86_400 + 12 * 3600


def ask(quotas: Quotas, limits: dict[str, int], now_ms: int = 0, *, tokens: int = 1):
    scope = Scope(TENANT, limits, frozenset({RPM, TPM}))
    return quotas.reserve(quotas.holders([scope]), (tokens, 0), now_ms, IDES_S, None)


def test_the_smallest_part_of_a_minute_is_a_microsecond():
    assert [width_us(n, 10**12) for n in (0, 1, 10**5)] == [1, 1, 6]


@pytest.mark.parametrize("tokens", [0, 1, 7, 10**6])
@pytest.mark.parametrize("limit", [1, 2, 60_000_000, 10**15])
def test_a_request_takes_of_each_minute_what_its_part_is_worth(limit, tokens):
    scope, part_us = Scope(TENANT, {TPM: limit, RPM: limit}), width_us(tokens, limit)

    assert scope.needs((tokens, 0)) == [(RPM, limit, width_us(1, limit)), (TPM, limit, part_us)]
    quotas = Quotas()
    granted = quotas.reserve(quotas.holders([scope]), (tokens, 0), 0, IDES_S, None)
    held_us = (granted.tokens_us, granted.requests_whole_us, granted.tokens_whole_us)
    assert held_us == (part_us, width_us(1, limit), part_us)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_what_was_used_is_exact_to_the_microsecond(more):
    a_token_per_us, quotas = 60_000_000, Quotas()
    granted = ask(quotas, {TPM: a_token_per_us}, tokens=10)

    granted.settle((10 + more, 0), 0)

    rest = a_token_per_us - 10 - more
    assert quotas.left(Scope(TENANT, {TPM: a_token_per_us}), TPM, 0) == Left(a_token_per_us, rest, 1)
    assert ask(quotas, {TPM: a_token_per_us}, tokens=rest + 1).retry_ms == 1
    assert isinstance(ask(quotas, {TPM: a_token_per_us}, tokens=rest), Granted)


def test_an_allowance_that_was_whole_for_a_microsecond_has_gained_nothing_by_it():
    allowance = Allowance(())
    allowance.take(1, 5, 0)
    assert [allowance.backlog_us(now_us) for now_us in (4, 5, 6)] == [1, 0, 0]

    allowance.take(2, MINUTE_US, 6)

    assert allowance.backlog_us(6) == MINUTE_US
    assert allowance.wait_us(1, 6) == 1


@pytest.mark.parametrize("used", [0, 5, 10, 90])
@pytest.mark.parametrize("limit", [60, 10**9])
def test_what_was_used_in_the_end_is_worth_what_it_would_have_been_from_the_first(used, limit):
    quotas = Quotas()

    ask(quotas, {TPM: limit}, tokens=10).settle((used, 0), 0)

    assert quotas._accounts[TENANT].tokens.whole_at_us == width_us(used, limit)


@pytest.mark.parametrize("kinds", [(), (RPM,), (TPM,), (RPM, TPM)])
def test_a_client_hears_of_the_minutes_that_it_has_limits_of(kinds):
    assert tuple(ask(Quotas(), dict.fromkeys(kinds, 9)).left) == kinds


@pytest.mark.parametrize("tokens", [7, 9])
@pytest.mark.parametrize("spend", [20, 60, 90])
def test_a_budget_of_money_holds_what_was_spent_and_not_what_was_thought(spend, tokens):
    quotas = Quotas()
    scope = Scope(TENANT, {"spend_per_month": 100, "tokens_per_month": 50})
    granted = quotas.reserve(quotas.holders([scope]), (7, 60), 0, IDES_S, None)

    granted.settle((tokens, spend), 0)

    assert quotas.used(TENANT, "spend_per_month", IDES_S) == spend
    assert quotas.used(TENANT, "tokens_per_month", IDES_S) == tokens


def test_a_request_that_is_given_back_has_used_no_tokens_and_no_money():
    quotas = Quotas()
    granted = quotas.reserve(quotas.holders([Scope(TENANT, {})]), (7, 60), 0, IDES_S, None)

    granted.give_back()

    assert [quotas.used(TENANT, kind, IDES_S) for kind in BUDGET_KINDS] == [0, 0, 0]


@pytest.mark.parametrize("settled_first", [True, False])
def test_a_request_ends_once(settled_first):
    quotas, limits = Quotas(), {TPM: 100, QUEUED: 9}
    granted = ask(quotas, limits, tokens=30)
    ask(quotas, limits, tokens=20)
    if not settled_first:
        granted.give_back()
    granted.settle((10, 0), 0)
    granted.give_back()

    granted.settle((90, 5), 0)

    used = 20 + (10 if settled_first else 0)
    assert quotas.left(Scope(TENANT, limits), TPM, 0).remaining == 100 - used
    assert [quotas.used(TENANT, kind, IDES_S) for kind in BUDGET_KINDS] == [used, used, 0]
    assert quotas.queued(TENANT) == 1


@pytest.mark.parametrize("limits", [[], [{QUEUED: 9}], [{QUEUED: 9}, {RPM: 9}]])
def test_a_request_that_is_over_stands_in_no_line_again(limits):
    quotas = Quotas()
    scopes = [Scope(("model", str(place)), each) for place, each in enumerate(limits)]
    for end in (lambda granted: granted.settle((3, 0), 0), Granted.give_back):
        granted = quotas.reserve(quotas.holders(scopes), (2, 0), 0, IDES_S, None)
        granted.seated(0)
        end(granted)
        granted.requeued()
        assert [quotas.queued(scope.key) for scope in scopes] == [0] * len(limits)


def test_a_request_that_falls_under_no_limits_holds_nothing_and_changes_nothing():
    quotas = Quotas()
    granted = quotas.reserve([], (5, 7), 0, IDES_S, None)
    granted.seated(0)
    granted.requeued()
    granted.seated(0)
    granted.settle((9, 9), 0)
    granted.give_back()

    assert (granted.left, granted.account.queued, granted.not_before_ms, len(quotas)) == ({}, 0, None, 0)


def test_a_request_that_goes_back_into_line_does_so_for_all_whose_limits_it_falls_under():
    quotas = Quotas()
    scopes = two_scopes({QUEUED: 9}, {RPM: 9})
    granted = quotas.reserve(quotas.holders(scopes), (2, 0), 0, IDES_S, None)
    granted.seated(0)
    assert [quotas.queued(scope.key) for scope in scopes] == [0, 0]
    granted.requeued()
    assert [quotas.queued(scope.key) for scope in scopes] == [1, 1]


def test_a_request_that_goes_back_into_line_stands_there_once_and_leaves_it_again():
    quotas = Quotas()
    granted = ask(quotas, {QUEUED: 9})
    for _ in range(2):
        granted.seated(0)
        assert quotas.queued(TENANT) == 0
        for _ in range(2):
            granted.requeued()
            assert quotas.queued(TENANT) == 1


def test_a_request_whose_time_is_up_is_not_refused_for_an_allowance_that_has_room():
    quotas, scope = Quotas(), Scope(TENANT, {RPM: 9, TPM: 9})
    for _ in range(2):
        assert quotas.reserve(quotas.holders([scope]), (1, 0), 500, IDES_S, 500).not_before_ms is None


def test_where_there_is_room_there_is_no_wait():
    fresh = Allowance(())

    assert fresh.wait_us(1, 0) == fresh.wait_us(MINUTE_US, 0) == 0


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


@pytest.mark.parametrize("kind", BUDGET_KINDS)
def test_the_most_that_is_known_to_be_used_of_a_budget_is_taken_over(kind):
    quotas = Quotas()
    for used in (40, 30):
        quotas.seed(Scope(TENANT, {}), {kind: used}, 0, IDES_S)

    assert [quotas.used(TENANT, each, IDES_S) for each in BUDGET_KINDS if each != kind] == [0, 0]
    assert quotas.used(TENANT, kind, IDES_S) == 40


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


def test_every_month_of_four_hundred_years_begins_and_ends_as_in_the_calendar():
    begins = [datetime(year, month, 1, tzinfo=UTC) for year in range(1999, 2402) for month in range(1, 13)]

    for first, following in pairwise(begins):
        number, begin_s = 12 * first.year + first.month - 1, int(first.timestamp())
        assert month_begins_s(number) == begin_s
        assert month_of(begin_s) == month_of(int(following.timestamp()) - 1) == number


def two_scopes(first: dict[str, int], second: dict[str, int]) -> list[Scope]:
    refusing = frozenset({RPM, TPM})
    return [Scope(TENANT, first, refusing), Scope(("api_token", "7"), second, refusing)]


@pytest.mark.parametrize("kind", [RPM, TPM])
@pytest.mark.parametrize(("other", "told"), [(9, (10, 8)), (8, (8, 7)), (11, (10, 8))])
def test_of_two_quotas_the_one_with_least_left_is_told_and_of_two_alike_the_first(kind, other, told):
    quotas = Quotas()
    quotas.reserve(quotas.holders(two_scopes({kind: 10}, {})), (1, 0), 0, IDES_S, None)

    granted = quotas.reserve(quotas.holders(two_scopes({kind: 10}, {kind: other})), (1, 0), 0, IDES_S, None)

    assert (granted.left[kind].limit, granted.left[kind].remaining) == told


def test_of_two_quotas_that_come_back_at_once_the_first_is_named():
    quotas = Quotas()
    scopes = two_scopes({RPM: 1}, {RPM: 1})
    quotas.reserve(quotas.holders(scopes), (1, 0), 0, IDES_S, None)

    denied = quotas.reserve(quotas.holders(scopes), (1, 0), 0, IDES_S, None)

    assert (denied.key, denied.retry_ms) == (TENANT, 60_000)


def test_a_quota_that_refuses_does_so_though_another_one_lets_requests_wait_for_longer():
    quotas = Quotas()
    waits, refuses = Scope(TENANT, {RPM: 1}), Scope(("api_token", "7"), {RPM: 2}, frozenset({RPM}))
    for _ in range(2):
        quotas.reserve(quotas.holders([refuses]), (1, 0), 0, IDES_S, None)
    quotas.reserve(quotas.holders([waits]), (1, 0), 0, IDES_S, None)

    denied = quotas.reserve(quotas.holders([waits, refuses]), (1, 0), 0, IDES_S, None)

    assert (denied.kind, denied.key, denied.retry_ms) == (RPM, ("api_token", "7"), 60_000)


def test_more_cached_tokens_than_the_prompt_has_cost_no_less():
    prices = Prices(prompt=1_000_000, cached=2_000_000)

    assert prices.spend(3, 5, 0) == 10


def test_a_day_and_a_month_say_when_the_next_one_begins():
    assert next_period_s("tokens_per_day", IDES_S) == HALF_A_DAY_S
    assert next_period_s("tokens_per_month", IDES_S) == HALF_A_MONTH_S
    assert next_period_s("spend_per_month", IDES_S) == HALF_A_MONTH_S


def test_what_is_left_of_a_minute_can_be_seen_without_taking_any():
    quotas, scope = Quotas(), Scope(TENANT, {RPM: 6, TPM: 0})
    assert quotas.left(scope, RPM, 0) == Left(6, 6, 0)
    assert len(quotas) == 0, "looking leaves nothing behind"

    ask(quotas, {RPM: 6})

    assert quotas.left(scope, RPM, 1000) == Left(6, 5, 9000)
    assert quotas.left(scope, TPM, 1000) is None
    assert quotas.left(scope, "queued", 1000) is None
