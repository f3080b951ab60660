"""Start tags and token counters, charge by charge: what a name owes, and when its next ticket starts."""

from __future__ import annotations

import pytest

from scheduling.core.tags import LAG_LIMIT, TURN, Counters, EqualTags, StartTags
from tests.unit.scheduling.accounts import LANE, OTHER, away_and_back, opened, turns, waiting


def test_a_charge_is_the_price_over_the_weight_and_time_moves_to_its_start():
    level = StartTags()
    heavy, light = waiting(level, "heavy", 4), waiting(level, "light", 1)

    level.charge(heavy, 800)
    level.charge(light, 800)
    level.charge(heavy, 800)

    assert (heavy.key, light.key, level.now) == (400, 800, 200)


def test_time_stands_still_while_somebody_catches_up():
    level = StartTags()
    late, busy = waiting(level, "late"), waiting(level, "busy")
    level.charge(busy, 500)
    level.charge(busy, 500)

    level.charge(late, 100)

    assert (late.key, level.now) == (100, 500)


def test_whoever_catches_up_gets_back_so_much_and_no_more():
    level = StartTags()
    shut, barely, busy = waiting(level, "shut"), waiting(level, "barely"), waiting(level, "busy")
    barely.key = 500
    level.charge(busy, LAG_LIMIT + 501)
    level.charge(busy, 100)

    level.charge(shut, 100)
    level.charge(barely, 100)

    assert level.now == LAG_LIMIT + 501
    assert shut.key == level.now - LAG_LIMIT + 100 == 601
    assert barely.key == 601


def test_a_charge_too_small_for_the_weight_still_moves_the_turn():
    level = StartTags()
    share = waiting(level, "acme", 1000)

    stamp = level.charge(share, 999)

    assert share.key == 1
    level.settle(share, stamp, 0)
    assert share.key == 0


def test_a_ticket_out_of_turn_is_charged_and_time_stands_still():
    level = StartTags()
    share = waiting(level, "acme", 2)
    level.charge(share, 300)

    stamp = level.adopt(share, 500)

    assert (share.key, level.now) == (400, 0)
    level.settle(share, stamp, 100)
    assert share.key == 200


def test_the_real_price_takes_the_place_of_the_estimate():
    level = StartTags()
    share = waiting(level, "acme", 4)
    dear, cheap = level.charge(share, 400), level.charge(share, 400)

    level.settle(share, dear, 4000)
    assert share.key == 1100
    level.settle(share, cheap, 0)
    assert share.key == 1000


def test_a_charge_is_undone_at_the_weight_in_force_when_the_lead_has_been_scaled():
    level = StartTags()
    share = waiting(level, "acme", 2)
    stamp = level.charge(share, 1200)

    level.reweigh(share, 3)

    assert (share.weight, share.key) == (3, 400)
    level.settle(share, stamp, 0)
    assert share.key == 0


def test_another_weight_scales_what_a_name_is_ahead_and_behind_by():
    level = StartTags()
    ahead, behind, busy = waiting(level, "ahead", 2), waiting(level, "behind", 2), waiting(level, "busy")
    level.charge(busy, 600)
    level.charge(busy, 600)
    ahead.key, behind.key = 1000, 200

    level.reweigh(ahead, 4)
    level.reweigh(behind, 4)

    assert (ahead.key, behind.key) == (600 + 200, 600 - 200)


def test_who_comes_back_starts_at_the_time_and_pays_its_lead_no_further():
    level = StartTags()
    poor, rich, busy = waiting(level, "poor"), waiting(level, "rich"), waiting(level, "busy")
    level.charge(rich, 5000)
    level.charge(busy, 600)
    level.charge(busy, 600)

    away_and_back(level, poor)
    away_and_back(level, rich)

    assert (poor.key, poor.lead) == (600, 0)
    assert (rich.key, rich.lead) == (5000, 4400)


def test_who_was_forgiven_while_away_gets_back_only_what_it_still_owes():
    level = StartTags()
    share, busy = waiting(level, "acme", 2), waiting(level, "busy")
    first, second = level.charge(share, 2000), level.adopt(share, 2000)
    level.charge(busy, 500)
    level.charge(busy, 500)
    away_and_back(level, share)
    assert (share.key, share.lead) == (2000, 1500)

    level.settle(share, first, 0)
    assert (share.key, share.lead) == (1000, 500)
    level.settle(share, second, 0)
    assert (share.key, share.lead) == (500, 0)


def test_not_even_the_smallest_charge_comes_back_as_credit():
    level = StartTags()
    share, busy = waiting(level, "acme", 1000), waiting(level, "busy")
    stamp = level.charge(share, 1)
    level.charge(busy, 500)
    level.charge(busy, 500)
    away_and_back(level, share)

    level.settle(share, stamp, 0)

    assert (share.key, share.lead) == (500, 0)


def test_the_smallest_refund_acts_on_the_next_pick():
    level = StartTags()
    zoe, bob = waiting(level, "zoe"), waiting(level, "bob")
    stamp = level.charge(zoe, 1)
    level.charge(bob, 1)
    assert level.first(LANE) is bob

    level.settle(zoe, stamp, 0)

    assert level.first(LANE) is zoe


def test_what_is_still_owed_is_scaled_with_the_weight():
    level = StartTags()
    share, busy = waiting(level, "acme", 2), waiting(level, "busy")
    stamp = level.charge(share, 4000)
    level.charge(busy, 500)
    level.charge(busy, 500)
    away_and_back(level, share)

    level.reweigh(share, 6)

    assert (share.key, share.lead) == (1000, 500)
    level.settle(share, stamp, 0)
    assert (share.key, share.lead) == (500, 0)


def test_a_price_above_the_estimate_counts_in_full_after_a_time_away():
    level = StartTags()
    share = waiting(level, "acme")
    stamp = level.charge(share, 100)
    away_and_back(level, share)

    level.settle(share, stamp, 700)

    assert (share.key, share.lead) == (700, 100)


@pytest.mark.parametrize(("waiting_cost", "tickets", "step"), [(900, 3, 150_000), (0, 3, 1), (0, 0, 1)])
def test_a_line_of_tokens_drains_by_its_mean_price_over_the_weight(waiting_cost, tickets, step):
    level = StartTags()
    share = waiting(level, "acme", 2)
    level.charge(share, 500)
    share.waiting, share.waiting_cost = tickets, waiting_cost

    assert level.drain(share) == (250, step, tickets)


def test_a_single_ticket_that_waits_is_its_own_mean():
    level = StartTags()
    share = waiting(level, "acme")
    share.waiting, share.waiting_cost = 1, 60

    assert level.drain(share).step == 60_000


def test_weighted_turns_cost_the_same_whatever_the_ticket_costs():
    level = EqualTags()
    share = waiting(level, "acme", 4)

    dear, gift = level.charge(share, 9_999_999), level.adopt(share, 1)

    assert share.key == 2 * TURN // 4 == 500_000
    level.settle(share, dear, 77)
    assert share.key == 500_000
    level.settle(share, gift, 0)
    assert share.key == 250_000


def test_a_weighted_turn_that_is_given_back_leaves_no_trace():
    level = EqualTags()
    share = waiting(level, "acme")

    level.settle(share, level.charge(share, 5), 0)

    assert share.key == 0


def test_a_line_of_weighted_turns_drains_a_ticket_a_turn():
    level = EqualTags()
    share = waiting(level, "acme", 4)
    level.charge(share, 1)
    share.waiting = 7

    assert level.drain(share) == (250_000, 250_000, 7)


def test_a_counter_is_charged_what_was_said_since_the_last_time():
    level = Counters()
    share = waiting(level, "acme", 2)
    stamp = level.charge(share, 100)

    stamp = level.progress(share, stamp, 300)
    assert share.key == 150
    stamp = level.progress(share, stamp, 700)
    assert share.key == 350
    level.settle(share, stamp, 760)
    assert share.key == 380


def test_what_was_said_before_a_time_away_is_not_given_back_as_credit():
    level = Counters()
    share, busy = waiting(level, "acme"), waiting(level, "busy")
    stamp = level.progress(share, level.charge(share, 100), 300)
    level.charge(busy, 5000)
    away_and_back(level, share)
    assert share.key == 5000

    level.settle(share, stamp, 0)

    assert share.key == 5000


def test_a_counter_above_the_time_owes_what_is_above_it_though_somebody_lags_behind():
    level = Counters()
    waiting(level, "lags", lane=OTHER)
    acme, busy = waiting(level, "acme"), waiting(level, "busy")
    level.charge(acme, 700)
    level.charge(busy, 500)
    level.charge(busy, 500)

    away_and_back(level, acme)

    assert (level.now, acme.key, acme.lead) == (500, 700, 200)


def test_a_counter_that_begins_to_wait_is_lifted_to_the_lowest_of_those_who_wait():
    level = Counters()
    for name in ("acme", "beta", "gamma"):
        waiting(level, name)
    for name, owed in (("acme", 900), ("beta", 400), ("gamma", 700)):
        level.charge(level.shares[name], owed)
    late = opened(level, "late")

    level.enter(late, LANE)

    assert late.key == 400
    assert turns(level, 200, 3) == ["beta", "late", "beta"]


@pytest.mark.parametrize("order", [StartTags, EqualTags, Counters])
@pytest.mark.parametrize(("key", "now"), [(700, 500), (500, 500), (300, 500)])
def test_to_be_served_while_nobody_waits_is_to_begin_to_wait_and_be_charged(order, key, now):
    one, other = order(), order()
    one.now = other.now = now
    short, long = opened(one, "ann", weight=3), opened(other, "ann", weight=3)
    short.key = long.key = key
    stamp = one.pass_through(short, 1, 1)
    other.enter(long, LANE, 1)
    assert (stamp, one.now) == (other.charge(long, 1), other.now)
    assert (short.key, short.lead, short.wakes, short.tally) == (long.key, long.lead, long.wakes, long.tally)
