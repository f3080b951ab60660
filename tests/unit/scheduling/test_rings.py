"""Turns and loads, step by step: who is at which place of the ring."""

from __future__ import annotations

from scheduling.core.turns import LOAD, TURN_BITS, Loads, Turns
from tests.unit.scheduling.accounts import LANE, away_and_back, turns, waiting

# One turn each


def test_everybody_has_one_turn_in_the_order_in_which_they_began_to_wait():
    level = Turns()
    for name in ("zoe", "ann", "mia"):
        waiting(level, name, weight=5)

    assert turns(level, 9_999, 6) == ["zoe", "ann", "mia"] * 2


def test_a_retry_goes_before_all_who_wait_and_the_latest_retry_first():
    level = Turns()
    names = [waiting(level, name) for name in ("ann", "bob", "cat")]
    away_and_back(level, names[2], retry=True)
    away_and_back(level, names[1], retry=True)

    assert turns(level, 1, 4) == ["bob", "cat", "ann", "bob"]


def test_the_turn_of_a_refunded_ticket_comes_back():
    level = Turns()
    ann, _ = waiting(level, "ann"), waiting(level, "bob")
    stamp = level.charge(ann, 100)
    assert level.first(LANE).name == "bob"

    level.settle(ann, stamp, 0)

    assert level.first(LANE) is ann


def test_a_ticket_that_cost_something_keeps_its_turn():
    level = Turns()
    ann, _ = waiting(level, "ann"), waiting(level, "bob")

    level.settle(ann, level.charge(ann, 100), 1)

    assert level.first(LANE).name == "bob"


def test_a_turn_given_back_after_a_time_away_is_lost():
    level = Turns()
    ann, _ = waiting(level, "ann"), waiting(level, "bob")
    stamp = level.charge(ann, 100)
    away_and_back(level, ann)

    level.settle(ann, stamp, 0)

    assert turns(level, 1, 2) == ["bob", "ann"]


def test_of_two_turns_given_back_the_earlier_one_counts():
    level = Turns()
    ann, _ = waiting(level, "ann"), waiting(level, "bob")
    first, second = level.charge(ann, 100), level.charge(ann, 100)

    level.settle(ann, first, 0)
    key = ann.key
    level.settle(ann, second, 0)

    assert ann.key == key
    assert level.first(LANE) is ann


def test_a_ticket_out_of_turn_takes_no_turn_and_gives_none_back():
    level = Turns()
    ann, bob = waiting(level, "ann"), waiting(level, "bob")
    level.charge(ann, 1)
    level.charge(bob, 1)
    key = ann.key

    level.settle(ann, level.adopt(ann, 100), 0)

    assert ann.key == key
    assert turns(level, 1, 2) == ["ann", "bob"]


def test_another_weight_is_remembered_and_changes_nobodys_turn():
    level = Turns()
    ann, bob = waiting(level, "ann"), waiting(level, "bob")

    level.reweigh(bob, 900)

    assert bob.weight == 900
    assert level.first(LANE) is ann


def test_a_line_of_turns_drains_one_ticket_a_round():
    level = Turns()
    ann = waiting(level, "ann")
    ann.waiting = 7

    assert level.drain(ann) == (0, 1, 7)


# Requests in flight


def test_who_has_fewest_in_flight_for_its_weight_is_next():
    level = Loads()
    for name, weight in (("ann", 1), ("bob", 2)):
        waiting(level, name, weight)

    assert turns(level, 77, 6) == ["ann", "bob", "bob", "ann", "bob", "bob"]


def test_an_end_takes_a_request_out_of_flight_and_keeps_the_place_among_equals():
    level = Loads()
    ann, bob = waiting(level, "ann"), waiting(level, "bob")
    stamp = level.charge(ann, 1)
    level.charge(bob, 1)
    assert ann.tally == 1

    level.settle(ann, stamp, 500)

    assert ann.tally == 0
    assert level.first(LANE) is ann
    level.charge(ann, 1)
    assert level.first(LANE) is bob


def test_a_ticket_out_of_turn_is_in_flight_like_any_other():
    level = Loads()
    ann, bob = waiting(level, "ann", 3), waiting(level, "bob", 3)
    place = ann.key

    stamps = [level.adopt(ann, 1), level.adopt(ann, 1)]

    assert ann.key == (2 * LOAD // 3) << TURN_BITS | place
    assert level.first(LANE) is bob
    level.settle(ann, stamps[0], 1)
    assert ann.key == (LOAD // 3) << TURN_BITS | place
    level.reweigh(ann, 7)
    assert ann.key == (LOAD // 7) << TURN_BITS | place
    level.settle(ann, stamps[1], 1)
    assert ann.key == place


def test_an_odd_load_is_no_part_of_the_place_among_equals():
    level = Loads()
    ann = waiting(level, "ann", 3)
    place = ann.key
    stamps = [level.adopt(ann, 1) for _ in range(5)]
    assert ann.key == (5 * LOAD // 3) << TURN_BITS | place

    for weight in (7, 3, 9, 6, 11):
        level.reweigh(ann, weight)
        assert ann.key == (5 * LOAD // weight) << TURN_BITS | place
    for n, stamp in enumerate(stamps):
        level.settle(ann, stamp, 1)
        assert ann.key == ((4 - n) * LOAD // 11) << TURN_BITS | place


def test_a_retry_goes_before_its_equals_and_not_before_those_with_less_in_flight():
    level = Loads()
    ann, bob = waiting(level, "ann"), waiting(level, "bob")
    level.charge(ann, 1)

    away_and_back(level, ann, retry=True)

    assert level.first(LANE) is bob


def test_another_weight_is_another_load_at_the_same_place():
    level = Loads()
    ann, bob = waiting(level, "ann"), waiting(level, "bob")
    level.charge(ann, 1)
    level.charge(bob, 1)
    level.charge(ann, 1)
    place = ann.key & ((1 << TURN_BITS) - 1)

    level.reweigh(ann, 4)

    assert ann.weight == 4
    assert ann.key == (LOAD // 2) << TURN_BITS | place
    assert level.first(LANE) is ann


def test_a_retry_is_first_among_those_with_the_same_load():
    level = Loads()
    _, bob = waiting(level, "ann"), waiting(level, "bob")

    away_and_back(level, bob, retry=True)

    assert level.first(LANE) is bob


def test_who_begins_to_wait_is_last_among_those_with_the_same_load():
    level = Loads()
    zoe, _ = waiting(level, "zoe"), waiting(level, "ann")

    assert level.first(LANE) is zoe


def test_a_line_of_loads_drains_by_weight():
    level = Loads()
    ann, bob = waiting(level, "ann", 4), waiting(level, "bob", 100_000)
    ann.waiting = 5

    assert level.drain(ann) == (0, 250, 5)
    assert level.drain(bob).step == 1
