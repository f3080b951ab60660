"""What is returned to a minute's allowance leaves no trace, in whatever order it was taken and returned."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.core import allowance
from scheduling.core.allowance import Allowance

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "charge", "return", "return a part", "release"]),
        st.integers(0, 12),  # microseconds that pass before
        st.integers(1, 20),  # how much
        st.integers(0, 10**6),  # whose
    ),
    max_size=60,
)


def replayed(poured: list[list[int]]) -> int:
    """When the allowance is whole, if only these had come: pairs of time and amount."""
    whole_at_us = 0
    for at_us, amount_us in poured:
        if amount_us:
            whole_at_us = max(whole_at_us, at_us) + amount_us
    return whole_at_us


@settings(max_examples=2_000, deadline=None)
@given(STEPS)
def test_what_was_returned_was_never_taken(steps):
    places, poured, in_use, now_us = {}, [], [], 0
    machine = Allowance(places)
    with patch.object(allowance, "SPARE_MARKS", 0):
        for number, (what, gap_us, amount_us, whose) in enumerate(steps, 1):
            now_us += gap_us
            if what == "take":
                poured.append([now_us, amount_us])
                places[number] = None
                in_use.append((number, poured[-1]))
                machine.take(number, amount_us, now_us)
            elif what == "charge":
                poured.append([now_us, amount_us])
                machine.take(number, amount_us, now_us)
            elif in_use:
                place, pour = in_use.pop(whose % len(in_use))
                if what != "release":
                    part_us = pour[1] if what == "return" else min(pour[1], amount_us)
                    machine.give_back(place, part_us)
                    pour[1] -= part_us
                del places[place]
            assert machine.backlog_us(now_us) == max(0, replayed(poured) - now_us)
            if what in ("take", "charge"):
                assert len(machine._places) <= 2 * len(in_use)


STAYS = st.sampled_from([True, False, False, False, False])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(6, 20), STAYS), min_size=12, max_size=30),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 20)), max_size=20),
)
def test_marks_that_nobody_in_use_needs_may_go(takes, returns):
    """Most of those who came are gone, so marks are tidied; whoever stays gets back what is felt of it."""
    places, poured, staying, now_us = {}, [], [], 0
    machine = Allowance(places)
    with patch.object(allowance, "SPARE_MARKS", 0):
        for number, (gap_us, amount_us, stays) in enumerate(takes, 1):
            now_us += gap_us
            poured.append([now_us, amount_us])
            if stays:
                places[number] = None
                staying.append((number, poured[-1]))
            machine.take(number, amount_us, now_us)
        for whose, most_us in returns[: len(staying)]:
            place, pour = staying.pop(whose % len(staying))
            part_us = min(pour[1], most_us)
            machine.give_back(place, part_us)
            pour[1] -= part_us
            del places[place]
            assert machine.backlog_us(now_us) == max(0, replayed(poured) - now_us)


def test_two_marks_a_microsecond_apart_are_two():
    machine = Allowance(())
    for place, now_us in ((1, 0), (2, 5), (3, 6)):
        machine.take(place, 10, now_us)

    machine.give_back(2, 8)
    machine.give_back(1, 10)

    assert machine.backlog_us(6) == replayed([[0, 0], [5, 2], [6, 10]]) - 6


def test_a_backlog_that_falls_after_marks_were_tidied_is_all_that_is_still_felt():
    machine, poured = Allowance({1, 3}), []
    with patch.object(allowance, "SPARE_MARKS", 0):
        for place, now_us in enumerate((0, 8, 8, 8, 8, 8, 57), 1):
            poured.append([now_us, 10])
            machine.take(place, 10, now_us)

    machine.give_back(3, 10)

    poured[2][1] = 0
    assert machine.backlog_us(57) == replayed(poured) - 57
