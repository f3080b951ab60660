"""Allowances: never more than a minute's worth, and everything comes back from what never ran."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduling.core.quota import MINUTE_US, PER_MINUTE, QUEUED, Denied, Granted, Quotas

MINUTE_MS = MINUTE_US // 1000


def test_a_tenant_without_quotas_may_always_come():
    quotas = Quotas()
    for now_ms in range(1000):
        assert quotas.reserve("a", {}, now_ms) == Granted()


def test_a_whole_minutes_worth_may_come_at_once_and_no_more():
    quotas = Quotas()
    verdicts = [quotas.reserve("a", {PER_MINUTE: 3}, 0) for _ in range(4)]
    assert [getattr(verdict, "remaining", None) for verdict in verdicts] == [2, 1, 0, None]
    assert verdicts[3] == Denied(PER_MINUTE, 3, retry_ms=20_000)


def test_the_time_to_retry_is_the_time_at_which_one_is_granted():
    quotas = Quotas()
    quotas.reserve("a", {PER_MINUTE: 1}, 0)
    denied = quotas.reserve("a", {PER_MINUTE: 1}, 10)
    assert denied == Denied(PER_MINUTE, 1, retry_ms=MINUTE_MS - 10)
    assert isinstance(quotas.reserve("a", {PER_MINUTE: 1}, 10 + denied.retry_ms - 1), Denied)
    assert isinstance(quotas.reserve("a", {PER_MINUTE: 1}, 10 + denied.retry_ms), Granted)


def test_the_queue_quota_counts_only_those_in_line():
    quotas = Quotas()
    assert isinstance(quotas.reserve("a", {QUEUED: 1}, 0), Granted)
    assert quotas.reserve("a", {QUEUED: 1}, 0) == Denied(QUEUED, 1)
    quotas.seated("a")
    assert isinstance(quotas.reserve("a", {QUEUED: 1}, 0), Granted)


def test_a_request_refused_by_its_queue_quota_takes_nothing_of_the_minute():
    quotas = Quotas()
    limits = {QUEUED: 1, PER_MINUTE: 2}
    quotas.reserve("a", limits, 0)
    for _ in range(5):
        assert quotas.reserve("a", limits, 0) == Denied(QUEUED, 1)
    quotas.seated("a")
    assert quotas.reserve("a", limits, 0).remaining == 0


def test_one_tenants_requests_take_nothing_of_anothers():
    quotas = Quotas()
    quotas.reserve("a", {PER_MINUTE: 1}, 0)
    assert isinstance(quotas.reserve("b", {PER_MINUTE: 1}, 0), Granted)


def test_a_quota_of_zero_lets_nobody_in():
    assert Quotas().reserve("a", {PER_MINUTE: 0}, 0) == Denied(PER_MINUTE, 0)


def test_a_tenant_that_still_owes_is_not_forgotten():
    quotas = Quotas()
    granted = quotas.reserve("a", {PER_MINUTE: 1}, 0)
    quotas.forget_idle(10 * MINUTE_MS)
    quotas.seated("a")  # was remembered: it stood in line
    quotas.forget_idle(1)
    assert isinstance(quotas.reserve("a", {PER_MINUTE: 1}, 1), Denied)
    quotas.forget_idle(MINUTE_MS)
    assert quotas.queued("a") == 0
    assert granted.step_us == MINUTE_US


@given(
    limit=st.integers(1, 50),
    gaps_ms=st.lists(st.integers(0, 5000), min_size=1, max_size=150),
)
def test_no_minute_sees_more_than_twice_the_limit(limit, gaps_ms):
    """GCRA with a burst of one minute's worth: a window of a minute holds the burst and one refill."""
    quotas, now_ms, granted_ms = Quotas(), 0, []
    for gap_ms in gaps_ms:
        now_ms += gap_ms
        if isinstance(quotas.reserve("a", {PER_MINUTE: limit}, now_ms), Granted):
            quotas.seated("a")
            granted_ms.append(now_ms)
    for at_ms in granted_ms:
        assert sum(at_ms <= other < at_ms + MINUTE_MS for other in granted_ms) <= 2 * limit


@given(
    limit=st.integers(1, 20),
    keeps=st.lists(st.booleans(), min_size=1, max_size=60),
    gap_ms=st.integers(0, 3000),
)
def test_requests_that_gave_back_leave_no_trace(limit, keeps, gap_ms):
    """The same history without the requests that never ran gives the others the same verdicts."""
    limits = {PER_MINUTE: limit}
    with_them, without = Quotas(), Quotas()
    for number, keep in enumerate(keeps):
        now_ms = number * gap_ms
        verdict = with_them.reserve("a", limits, now_ms)
        if not keep:
            if isinstance(verdict, Granted):
                with_them.give_back("a", verdict)
            continue
        assert verdict == without.reserve("a", limits, now_ms)
        if isinstance(verdict, Granted):
            with_them.seated("a")
            without.seated("a")
    assert with_them.queued("a") == without.queued("a") == 0


@pytest.mark.parametrize("limit", [1, 7, 600, 60_000, 10**9])
def test_what_remains_and_what_is_granted_agree(limit):
    quotas = Quotas()
    first = quotas.reserve("a", {PER_MINUTE: limit}, 0)
    assert (first.limit, first.remaining) == (limit, limit - 1)
