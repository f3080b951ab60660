"""The index of a lane: every name that waits there once, by key, and who is next."""

from __future__ import annotations

from scheduling.core.levels import SLACK, Level
from scheduling.core.tags import StartTags
from tests.unit.scheduling.accounts import LANE, opened, release, turns, waiting

NAMES = [f"name-{n:02}" for n in range(12)]


def spread() -> Level:
    """Twelve names that wait; the later in the list, the earlier its turn."""
    level = StartTags()
    for name in NAMES:
        waiting(level, name)
    for n, name in enumerate(NAMES):
        level.adopt(level.shares[name], 10_000 * (len(NAMES) - n))
    return level


def churn(level: Level, times: int) -> None:
    """One name is charged, seen by the index, and refunded, again and again."""
    share = level.shares[NAMES[3]]
    for n in range(times):
        stamp = level.adopt(share, 1_000_000 + n)
        level.first(LANE)
        level.settle(share, stamp, 0)


def names(level: Level) -> list[str]:
    return [name for _, name, _ in level.lanes[LANE]]


def test_charges_and_refunds_leave_every_name_in_the_index_once_and_in_its_place():
    level = spread()
    level.adopt(level.shares[NAMES[3]], -90_000)  # before all others, so that the index looks at it each time

    churn(level, 100)

    order = [NAMES[3], *(name for name in reversed(NAMES) if name != NAMES[3])]
    assert names(level) == order
    assert turns(level, 1_000_000_000, len(NAMES)) == order


def test_whoever_waits_no_more_is_out_of_the_index_wherever_its_charges_had_put_it():
    level = spread()
    gone, out = waiting(level, "zoe-gone", tickets=1), waiting(level, "zoe-out")
    level.adopt(out, 500_000)
    level.adopt(gone, -90_000)
    assert level.first(LANE) is gone
    level.leave(out, LANE)
    level.leave(gone, LANE)
    release(level, gone)
    for n in range(SLACK):
        release(level, opened(level, f"even-{n}"))
    assert "zoe-gone" not in level.shares

    assert set(names(level)) == set(NAMES)
    assert turns(level, 1_000_000_000, len(NAMES)) == list(reversed(NAMES))


def test_names_with_one_key_go_by_their_names_however_they_came_to_it():
    level = StartTags()
    for name in ("eve", "bob", "dan", "ann", "cat"):
        waiting(level, name)
    level.settle(level.shares["ann"], level.adopt(level.shares["ann"], 700), 0)
    level.adopt(level.shares["cat"], -700)
    level.adopt(level.shares["cat"], 700)

    assert turns(level, 1_000, 5) == ["ann", "bob", "cat", "dan", "eve"]


def test_a_name_alone_in_its_lane_needs_no_index():
    level = StartTags()
    ann = waiting(level, "ann")
    level.settle(ann, level.charge(ann, 500), 0)

    assert level.lanes[LANE] is ann
    bob = waiting(level, "bob")
    assert names(level) == ["ann", "bob"]
    level.leave(ann, LANE)
    assert level.first(LANE) is bob
