"""Deficit round robin, step by step: which round a name is in, and with what in hand."""

from __future__ import annotations

import pytest

from scheduling.core.turns import QUANTUM, TURN_BITS, Rounds
from tests.unit.scheduling.accounts import LANE, OTHER, away_and_back, opened, turns, waiting


def rounds(share) -> int:
    """The round in which the name is served."""
    return share.key >> TURN_BITS


def test_a_round_gives_every_name_a_quantum_times_its_weight():
    level = Rounds()
    for name, weight in (("ann", 1), ("bob", 3)):
        waiting(level, name, weight)

    assert turns(level, QUANTUM // 2, 16) == (["ann"] * 2 + ["bob"] * 6) * 2


def test_who_begins_to_wait_is_last_in_its_round():
    level = Rounds()
    for name in ("zoe", "ann", "mia"):
        waiting(level, name)
    away_and_back(level, level.shares["ann"])

    assert turns(level, QUANTUM, 6) == ["zoe", "mia", "ann"] * 2


def test_a_name_with_something_left_is_served_and_may_overdraw_it():
    level = Rounds()
    ann, _ = waiting(level, "ann"), waiting(level, "bob")
    begun = rounds(ann)

    level.charge(ann, QUANTUM - 1)
    assert (ann.tally, rounds(ann)) == (1, begun)
    assert level.first(LANE) is ann
    level.charge(ann, 3 * QUANTUM)

    assert rounds(ann) == begun + 3
    assert ann.tally == 1


def test_a_deficit_of_nothing_waits_for_the_next_round():
    level = Rounds()
    ann, _ = waiting(level, "ann"), waiting(level, "bob")
    begun = rounds(ann)

    level.charge(ann, QUANTUM)

    assert (rounds(ann), ann.tally) == (begun + 1, QUANTUM)


def test_time_is_the_round_of_who_was_served_last():
    level = Rounds()
    ann, bob = waiting(level, "ann"), waiting(level, "bob")
    begun = rounds(ann)
    level.charge(ann, 5 * QUANTUM)
    assert level.now >> TURN_BITS == begun
    level.charge(bob, QUANTUM)
    level.charge(bob, QUANTUM)
    assert level.now >> TURN_BITS == begun + 1

    late = opened(level, "late")
    level.enter(late, LANE)

    assert rounds(late) == begun + 2
    assert late.tally == QUANTUM


def test_time_does_not_go_back_with_who_is_served_in_an_earlier_round():
    level = Rounds()
    ann, bob = waiting(level, "ann"), waiting(level, "bob", lane=OTHER)
    begun = rounds(ann)
    for _ in range(3):
        level.charge(bob, QUANTUM)

    level.charge(ann, 1)

    assert level.now >> TURN_BITS == begun + 2


def test_the_real_cost_takes_the_place_of_the_estimate_in_the_deficit():
    level = Rounds()
    ann, _ = waiting(level, "ann", 2), waiting(level, "bob")
    begun = rounds(ann)
    stamp = level.charge(ann, QUANTUM)

    level.settle(ann, stamp, QUANTUM + 400)
    assert (rounds(ann), ann.tally) == (begun, QUANTUM - 400)
    stamp = level.charge(ann, 100)
    level.settle(ann, stamp, 5 * QUANTUM)

    assert (rounds(ann), ann.tally) == (begun + 3, 2 * QUANTUM - 400)


def test_a_refund_wins_back_the_rounds_that_the_estimate_cost():
    level = Rounds()
    ann, bob = waiting(level, "ann"), waiting(level, "bob")
    begun = rounds(ann)
    level.charge(bob, 1)
    stamp = level.charge(ann, 4 * QUANTUM)
    assert (rounds(ann), ann.tally) == (begun + 4, QUANTUM)

    level.settle(ann, stamp, 0)

    assert (rounds(ann), ann.tally) == (begun, QUANTUM)


@pytest.mark.parametrize(
    ("used", "won", "left"), [(3 * QUANTUM, 1, QUANTUM), (2 * QUANTUM + 1, 2, QUANTUM - 1)]
)
def test_no_more_rounds_are_won_back_than_were_not_used(used, won, left):
    level = Rounds()
    ann, bob = waiting(level, "ann"), waiting(level, "bob")
    begun = rounds(ann)
    level.charge(bob, 1)
    stamp = level.charge(ann, 4 * QUANTUM)

    level.settle(ann, stamp, used)

    assert (rounds(ann), ann.tally) == (begun + 4 - won, left)


def test_a_refund_wins_back_no_round_that_is_over():
    level = Rounds()
    ann, bob = waiting(level, "ann"), waiting(level, "bob")
    begun = rounds(ann)
    stamp = level.charge(ann, 4 * QUANTUM)
    for _ in range(3):
        level.charge(bob, QUANTUM)

    level.settle(ann, stamp, 0)

    assert rounds(ann) == begun + 2
    assert ann.tally == 3 * QUANTUM


@pytest.mark.parametrize(
    ("used", "won", "left"), [(0, 1, QUANTUM), (QUANTUM - 1, 1, 1), (QUANTUM, 0, QUANTUM)]
)
def test_a_round_is_won_back_by_whoever_has_something_left_of_it(used, won, left):
    level = Rounds()
    ann, bob = waiting(level, "ann"), waiting(level, "bob")
    begun = rounds(ann)
    level.charge(bob, 1)
    stamp = level.charge(ann, QUANTUM)

    level.settle(ann, stamp, used)

    assert (rounds(ann), ann.tally) == (begun + 1 - won, left)


def test_in_the_round_under_way_refunds_pile_up():
    level = Rounds()
    ann, bob = waiting(level, "ann"), waiting(level, "bob")
    begun = rounds(ann)
    stamps = [level.charge(ann, QUANTUM // 2), level.charge(ann, QUANTUM)]
    for _ in range(2):
        level.charge(bob, QUANTUM)

    for stamp in stamps:
        level.settle(ann, stamp, 0)

    assert (rounds(ann), ann.tally) == (begun + 1, 2 * QUANTUM)


def test_a_refund_after_a_time_away_moves_nobody_back_when_its_round_has_come():
    level = Rounds()
    ann, bob = waiting(level, "ann"), waiting(level, "bob")
    begun = rounds(ann)
    stamp = level.charge(ann, 1)
    away_and_back(level, ann)
    for _ in range(2):
        level.charge(bob, QUANTUM)
    assert rounds(ann) == level.now >> TURN_BITS == begun + 1

    level.settle(ann, stamp, 0)

    assert (rounds(ann), ann.tally) == (begun + 1, QUANTUM)


def test_who_was_away_meanwhile_gets_no_more_than_a_quantum_back():
    level = Rounds()
    ann, bob = waiting(level, "ann", 2), waiting(level, "bob")
    stamp = level.charge(ann, QUANTUM)
    for _ in range(5):
        level.charge(bob, QUANTUM)
    away_and_back(level, ann)
    assert ann.tally == 2 * QUANTUM

    level.settle(ann, stamp, 0)

    assert ann.tally == 2 * QUANTUM


def test_a_ticket_out_of_turn_is_spent_and_time_stands_still():
    level = Rounds()
    ann, _ = waiting(level, "ann"), waiting(level, "bob")
    begun = rounds(ann)
    now = level.now

    level.adopt(ann, 2 * QUANTUM)

    assert (rounds(ann), level.now) == (begun + 2, now)


def test_who_comes_back_in_debt_sits_out_its_rounds_all_the_same():
    level = Rounds()
    ann, _ = waiting(level, "ann"), waiting(level, "bob")
    begun = rounds(ann)
    level.charge(ann, 4 * QUANTUM + 7)

    away_and_back(level, ann)

    assert (rounds(ann), ann.tally) == (begun + 4, QUANTUM - 7)


def test_rounds_still_to_sit_out_shrink_with_a_larger_weight():
    level = Rounds()
    ann, _ = waiting(level, "ann"), waiting(level, "bob")
    begun = rounds(ann)
    level.charge(ann, 8 * QUANTUM)
    assert rounds(ann) == begun + 8

    level.reweigh(ann, 4)

    assert ann.weight == 4
    assert rounds(ann) - (level.now >> TURN_BITS) == 2
    assert ann.tally == QUANTUM


def test_who_comes_back_into_the_round_that_it_waits_for_has_no_more_than_it_had_left():
    level = Rounds()
    ann, _ = waiting(level, "ann"), waiting(level, "bob")
    begun = rounds(ann)
    level.charge(ann, QUANTUM + 7)

    away_and_back(level, ann)

    assert (rounds(ann), ann.tally) == (begun + 1, QUANTUM - 7)


@pytest.mark.parametrize(("weight", "left"), [(4, 4 * QUANTUM), (1, QUANTUM)])
def test_who_sits_out_one_round_has_the_quantum_of_its_new_weight_in_the_next(weight, left):
    level = Rounds()
    ann, _ = waiting(level, "ann", 2), waiting(level, "bob")
    begun = rounds(ann)
    level.charge(ann, 2 * QUANTUM)

    level.reweigh(ann, weight)

    assert (rounds(ann), ann.tally) == (begun + 1, left)


def test_a_smaller_weight_leaves_no_more_than_its_own_quantum():
    level = Rounds()
    ann, _ = waiting(level, "ann", 6), waiting(level, "bob")
    begun = rounds(ann)
    level.charge(ann, 1)

    level.reweigh(ann, 2)

    assert (rounds(ann), ann.tally) == (begun, 2 * QUANTUM)


@pytest.mark.parametrize(("cost", "tickets", "step"), [(3000, 3, 500), (0, 3, 1), (0, 0, 1), (700, 1, 350)])
def test_a_line_of_deficits_drains_by_its_mean_price(cost, tickets, step):
    level = Rounds()
    ann, bob = waiting(level, "ann", 2), waiting(level, "bob")
    level.charge(bob, 1)
    level.charge(ann, 4 * QUANTUM)
    ann.waiting, ann.waiting_cost = tickets, cost

    assert level.drain(ann) == (2000, step, tickets)


def test_a_line_whose_round_has_come_drains_from_now_on():
    level = Rounds()
    ann, bob = waiting(level, "ann"), waiting(level, "bob", lane=OTHER)
    for _ in range(4):
        level.charge(bob, QUANTUM)

    assert level.drain(ann).start == 0


def test_who_was_away_wins_back_the_rounds_it_owes_but_not_the_one_under_way():
    level = Rounds()
    ann, _ = waiting(level, "ann"), waiting(level, "bob")
    begun = rounds(ann)
    stamp = level.charge(ann, 4 * QUANTUM)
    away_and_back(level, ann)
    assert rounds(ann) == begun + 4

    level.settle(ann, stamp, 0)

    assert (rounds(ann), ann.tally) == (begun + 1, QUANTUM)
