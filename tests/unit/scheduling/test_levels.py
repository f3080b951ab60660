"""What every order keeps of the names on one level: who waits where, who is shut out, who is forgotten."""

from __future__ import annotations

import pytest

from scheduling.core.levels import SLACK, Level
from scheduling.core.position import Curve
from scheduling.core.tags import Counters, EqualTags, StartTags
from scheduling.core.turns import Loads, Rounds, Turns
from tests.unit.scheduling.accounts import LANE, OTHER, hold, opened, release, turns, waiting

ORDERS = pytest.mark.parametrize("order", [StartTags, EqualTags, Counters, Turns, Rounds, Loads])


def ended(level: Level, name: str, price: int) -> None:
    """A name whose only ticket was served for so much and is over."""
    share = opened(level, name)
    stamp = level.adopt(share, price)
    level.settle(share, stamp, price)
    release(level, share)


def test_idle_names_are_swept_when_there_are_many_but_for_those_that_still_owe():
    level = StartTags()
    busy = waiting(level, "busy", tickets=400)
    level.charge(busy, 500)
    level.charge(busy, 500)
    for n in range(SLACK):
        ended(level, f"even-{n}", 0)
    assert len(level.shares) == SLACK + 1

    ended(level, "owes", 700)

    assert set(level.shares) == {"busy", "owes"}
    assert SLACK == 64


def test_who_owed_and_was_passed_is_swept_too():
    level = StartTags()
    busy = waiting(level, "busy", tickets=400)
    ended(level, "owes", 500)
    level.charge(busy, 500)
    level.charge(busy, 1)
    assert level.now == 500

    for n in range(SLACK):
        ended(level, f"even-{n}", 0)

    assert set(level.shares) == {"busy"}


def test_a_sweep_that_finds_little_lets_twice_as_many_gather_before_the_next():
    level = StartTags()
    waiting(level, "busy", tickets=400)
    for n in range(SLACK + 1):
        ended(level, f"owes-{n}", 700)

    for n in range(2 * SLACK + 1):
        ended(level, f"even-{n}", 0)
    assert len(level.shares) == 1 + (SLACK + 1) + (2 * SLACK + 1)
    ended(level, "even-more", 0)

    assert len(level.shares) == 1 + (SLACK + 1)
    assert level.idle == SLACK + 1


def test_the_next_sweep_is_due_as_early_as_ever_when_all_was_forgotten():
    level = StartTags()
    busy = waiting(level, "busy", tickets=1)
    for n in range(SLACK + 1):
        ended(level, f"owes-{n}", 700)
    level.leave(busy, LANE)
    release(level, busy)
    waiting(level, "busy")

    for n in range(SLACK + 1):
        ended(level, f"even-{n}", 0)

    assert set(level.shares) == {"busy"}


def test_a_name_that_was_forgotten_is_no_candidate():
    level = StartTags()
    gone = waiting(level, "ann", tickets=1)
    bob, _ = waiting(level, "bob"), waiting(level, "cat")
    level.leave(gone, LANE)
    release(level, gone)
    for n in range(SLACK):
        ended(level, f"even-{n}", 0)
    assert "ann" not in level.shares

    assert level.first(LANE) is bob


def test_a_name_that_holds_a_ticket_is_never_swept():
    level = StartTags()
    waiting(level, "busy", tickets=400)
    runs = opened(level, "runs")

    for n in range(3 * SLACK):
        ended(level, f"even-{n}", 0)

    assert level.shares["runs"] is runs


@ORDERS
def test_when_nobody_holds_a_ticket_all_begins_anew(order):
    level = order()
    both = [opened(level, name) for name in ("ann", "bob")]
    for share in both:
        level.settle(share, level.adopt(share, 9_000_000), 9_000_000)
    level.table = (5, Curve([]))
    for share in both:
        release(level, share)
    fresh = order()

    assert not level.shares
    assert (level.now, level.idle, level.table) == (fresh.now, 0, None)


@ORDERS
def test_an_only_name_is_as_new_when_its_last_ticket_has_ended(order):
    level = order()
    ann = waiting(level, "ann", tickets=1)
    level.leave(ann, LANE)
    level.settle(ann, level.charge(ann, 9_000_000), 9_000_000)

    release(level, ann)

    assert list(level.shares) == ["ann"]
    assert (ann.key, ann.tally, ann.lead, ann.held) == (order.START, 0, 0, 0)
    assert (level.now, level.idle) == (order.START, 1)
    hold(level, ann)
    level.enter(ann, LANE)
    bob = waiting(level, "bob")
    assert {level.first(LANE).name, *turns(level, 5_000_000, 2)} == {"ann", bob.name}


def test_ties_go_by_name():
    level = StartTags()
    for name in ("cat", "ann", "bob"):
        waiting(level, name)

    assert turns(level, 100, 6) == ["ann", "bob", "cat"] * 2


@ORDERS
def test_who_waits_in_one_lane_is_no_candidate_for_another(order):
    level = order()
    waiting(level, "ann", lane=LANE)

    assert level.first(OTHER) is None
    assert not level.serves(OTHER)
    assert level.serves(LANE)


def test_a_name_that_waits_in_two_lanes_begins_to_wait_once():
    level = StartTags()
    ann = waiting(level, "ann")

    level.enter(ann, OTHER)
    assert ann.wakes == 1
    level.leave(ann, LANE)
    assert level.first(OTHER) is ann
    level.leave(ann, OTHER)
    level.enter(ann, OTHER)

    assert ann.wakes == 2


def test_a_charge_in_one_lane_counts_in_the_other():
    level = StartTags()
    ann, _ = waiting(level, "ann"), waiting(level, "bob")
    level.enter(ann, OTHER)
    waiting(level, "cat", lane=OTHER)

    level.charge(ann, 100)

    assert level.first(LANE).name == "bob"
    assert level.first(OTHER).name == "cat"


def test_a_refund_counts_in_every_lane_at_once():
    level = StartTags()
    ann, bob = waiting(level, "ann"), waiting(level, "bob")
    level.enter(ann, OTHER)
    waiting(level, "cat", lane=OTHER)
    stamp = level.charge(ann, 900)
    level.charge(bob, 10)
    assert level.first(LANE) is bob
    assert level.first(OTHER).name == "cat"

    level.settle(ann, stamp, 0)

    assert level.first(LANE) is ann
    assert level.first(OTHER) is ann


def test_a_lane_is_gone_when_the_last_who_waited_left():
    level = StartTags()
    ann, bob = waiting(level, "ann"), waiting(level, "bob")

    level.leave(ann, LANE)
    assert level.first(LANE) is bob
    level.leave(bob, LANE)

    assert level.first(LANE) is None
    assert not level.lanes


def test_who_is_shut_out_of_a_model_is_passed_over_there_and_only_there():
    level = StartTags()
    ann = waiting(level, "ann")
    level.enter(ann, OTHER)
    bob = waiting(level, "bob")

    level.set_shut(ann, {"llama"})

    assert level.first(LANE) is bob
    assert level.first(OTHER) is ann
    level.set_shut(ann, None)
    assert level.first(LANE) is ann


def test_who_begins_to_wait_while_shut_out_is_served_when_let_in_and_not_after_it_left():
    level = StartTags()
    ann = opened(level, "ann")
    level.set_shut(ann, {"llama"})
    level.enter(ann, LANE)
    assert level.first(LANE) is None

    level.set_shut(ann, None)
    assert level.first(LANE) is ann
    level.set_shut(ann, {"llama"})
    level.leave(ann, LANE)
    level.set_shut(ann, None)

    assert level.first(LANE) is None


def test_a_name_shut_out_of_two_models_waits_in_both():
    level = StartTags()
    ann = opened(level, "ann")
    level.set_shut(ann, {"llama", "qwen"})
    level.enter(ann, LANE)
    level.enter(ann, OTHER)

    level.leave(ann, OTHER)
    level.set_shut(ann, None)

    assert level.serves(LANE)
    assert not level.serves(OTHER)


def test_the_lowest_key_is_that_of_who_waits_longest_unserved_in_any_lane():
    level = StartTags()
    assert level.lowest() is None
    ann, bob = waiting(level, "ann"), waiting(level, "bob", lane=OTHER)
    level.charge(ann, 700)
    level.charge(bob, 300)

    assert level.lowest() == 300


def test_only_who_has_tickets_in_line_is_counted_as_waiting():
    level = StartTags()
    ann, _ = waiting(level, "ann"), opened(level, "bob")
    ann.waiting = 1

    assert level.waiting_shares() == [ann]
