"""Nearly always all is at hand and seen at once: the short way and the long one come to the same."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.core.allowance import width_us
from scheduling.core.holder import UNKNOWN
from scheduling.core.policy import QUOTA_KINDS
from scheduling.core.quota import Denied, Quotas, Scope

TENANT = ("tenant", "a")
RPM, TPM = "requests_per_minute", "tokens_per_minute"
IDES_S = int(datetime(2025, 7, 15, 12, tzinfo=UTC).timestamp())
COUNTED = tuple(kind for kind in QUOTA_KINDS if kind != "in_flight")  # the scheduler obeys that one

LIMITS = st.dictionaries(st.sampled_from(QUOTA_KINDS), st.sampled_from([0, 1, 3, 40, 600]))
REQUESTS = st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 90), st.integers(0, 40)), max_size=25)


def known() -> Quotas:
    """A machine that knows the tenant, of which nothing is used."""
    quotas = Quotas()
    quotas.reserve(quotas.holders([Scope(TENANT, {})]), (0, 0), 0, IDES_S, None).give_back()
    return quotas


def seen_at_once(quotas, holders):
    """What is granted without weighing; None if the limits are to be weighed."""
    with patch.object(Quotas, "_weigh", lambda *_: Denied("weighed", TENANT, 0)):
        verdict = quotas.reserve(holders, (1, 1), 0, IDES_S, None)
    return None if isinstance(verdict, Denied) else verdict


@settings(max_examples=120, deadline=None)
@given(LIMITS, LIMITS, st.sets(st.sampled_from([RPM, TPM])), REQUESTS)
def test_what_is_seen_at_once_and_what_is_weighed_are_the_same(first, second, refusing, requests):
    """Nearly always all is at hand, and nothing else is looked at: were it, the verdict would be no other."""
    scopes = [Scope(TENANT, first, frozenset(refusing)), Scope(("api_token", "7"), second)]
    seen, weighed, now_ms = Quotas(), Quotas(), 0
    for gap_ms, tokens, spend in requests:
        now_ms += gap_ms
        verdict = seen.reserve(seen.holders(scopes), (tokens, spend), now_ms, IDES_S, now_ms + 20_000)
        holders = weighed.holders(scopes)
        for holder in holders:
            holder.account = UNKNOWN
        other = weighed.reserve(holders, (tokens, spend), now_ms, IDES_S, now_ms + 20_000)
        if isinstance(verdict, Denied):
            assert verdict == other
            continue
        assert (verdict.not_before_ms, verdict.left) == (other.not_before_ms, other.left)
        assert verdict.left == {
            kind: min(told, key=lambda left: left.remaining)
            for kind in (RPM, TPM)
            if (told := [left for scope in scopes if (left := seen.left(scope, kind, now_ms))])
        }
        if verdict.not_before_ms is None:
            for granted in (verdict, other):
                granted.settle((tokens // 2, spend), now_ms)


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("kinds", [(), *((kind,) for kind in COUNTED), COUNTED])
def test_all_that_a_limit_allows_is_seen_at_once_to_the_last_of_it_and_not_one_more(kinds, limit):
    quotas = known()
    holders = quotas.holders([Scope(TENANT, dict.fromkeys(kinds, limit))])
    for _ in range(limit):
        granted = seen_at_once(quotas, holders)
        assert TPM not in kinds or granted.tokens_us == width_us(1, limit)

    assert (seen_at_once(quotas, holders) is None) == bool(kinds)


def test_a_limit_of_zero_is_never_seen_to_have_room_whatever_the_other_one_has():
    for limits in ({RPM: 0, TPM: 9}, {RPM: 9, TPM: 0}, {RPM: 0}, {TPM: 0}):
        quotas = known()
        assert seen_at_once(quotas, quotas.holders([Scope(TENANT, limits)])) is None


@pytest.mark.parametrize("waits", [False, True])
def test_a_request_that_no_limit_of_tokens_was_set_for_gives_none_of_them_back(waits):
    quotas, limited, free = Quotas(), Scope(TENANT, {TPM: 60}), Scope(TENANT, {RPM: 1})
    quotas.reserve(quotas.holders([limited]), (10, 0), 0, IDES_S, None)
    if waits:
        quotas.reserve(quotas.holders([free]), (5, 0), 0, IDES_S, None)
    granted = quotas.reserve(quotas.holders([free]), (5, 0), 0, IDES_S, None)
    before_us = quotas._accounts[TENANT].tokens.whole_at_us

    granted.give_back()

    assert quotas._accounts[TENANT].tokens.whole_at_us == before_us
