"""How many tickets of all lines leave before a time: the curve behind places in line."""

from __future__ import annotations

from scheduling.core.position import Curve, Drain


def test_a_line_loses_one_ticket_every_step_from_its_start_until_it_is_empty():
    curve = Curve([Drain(100, 10, 3)])

    assert [curve.before(at) for at in (0, 99, 100, 110, 120, 130, 500)] == [0, 0, 0, 1, 2, 3, 3]


def test_lines_drain_side_by_side():
    curve = Curve([Drain(0, 10, 5), Drain(20, 5, 4)])

    assert [curve.before(at) for at in (0, 20, 30, 40, 50, 90)] == [0, 2, 5, 8, 9, 9]


def test_lines_that_start_or_end_together_count_together():
    curve = Curve([Drain(10, 4, 5), Drain(10, 2, 10), Drain(30, 1, 3)])

    assert [curve.before(at) for at in (10, 14, 30, 33, 99)] == [0, 3, 15, 18, 18]


def test_between_two_tickets_a_place_is_rounded():
    curve = Curve([Drain(0, 100, 2)])

    assert [curve.before(at) for at in (49, 51, 149, 151)] == [0, 1, 1, 2]


def test_a_line_without_steps_leaves_at_once_and_is_counted_in_full():
    curve = Curve([Drain(50, 0, 7)])

    assert [curve.before(at) for at in (50, 53, 57, 58)] == [0, 3, 7, 7]


def test_lines_may_start_before_the_beginning_of_time():
    curve = Curve([Drain(-30, 10, 2)])

    assert [curve.before(at) for at in (-31, -20, 0)] == [0, 1, 2]


def test_nobody_leaves_where_nobody_waits():
    assert Curve([]).before(1_000) == 0
    assert Curve([Drain(5, 1, 0)]).before(1_000) == 0
