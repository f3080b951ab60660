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
