"""Names that were forgotten and come back are as new, and cost no new objects where they are few."""

from __future__ import annotations

import pytest

from scheduling.core.levels import SLACK
from scheduling.core.tags import Counters, EqualTags, StartTags
from scheduling.core.turns import Loads, Rounds, Turns
from tests.unit.scheduling.accounts import opened, release


@pytest.mark.parametrize("order", [StartTags, EqualTags, Counters, Turns, Rounds, Loads])
def test_who_comes_back_after_all_was_forgotten_is_as_new_with_another_weight(order):
    level, fresh = order(), order()
    ann, bob = (opened(level, name) for name in ("ann", "bob"))
    for share in (ann, bob):
        level.settle(share, level.pass_through(share, 1, 9_000_000), 18_000_000)
    ann.inner = inside = order()
    for share in (ann, bob):
        release(level, share)
    opened(level, "cat")
    level.now += 700

    back, new = opened(level, "ann", weight=3), opened(fresh, "ann", weight=3)

    assert level.shares["ann"] is back
    assert (back.key, back.weight, back.held) == (level.now, 3, 1)
    assert (back.lead, back.tally) == (new.lead, new.tally) == (0, 0)
    assert back is ann, "the object is used again"
    assert back.inner is inside


def test_of_many_names_that_are_forgotten_no_object_is_kept():
    level = StartTags()
    lost = [opened(level, f"{n}") for n in range(SLACK + 1)]
    for share in lost:
        release(level, share)
    assert not level.shares

    kept = [opened(level, f"{n}") for n in range(SLACK)]
    assert not set(map(id, kept)) & set(map(id, lost))
    for share in kept:
        release(level, share)
    assert [opened(level, f"{n}") for n in range(SLACK)] == kept
