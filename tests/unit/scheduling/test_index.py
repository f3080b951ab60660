"""The index of a lane: names by key, stale entries swept, whoever is forgotten gone from it."""

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


def churn(level: Level, times: int) -> list[int]:
    """One name is charged, seen by the index, and refunded, again and again; how large the index was."""
    share = level.shares[NAMES[3]]
    sizes = []
    for n in range(times):
        stamp = level.adopt(share, 1_000_000 + n)
        level.first(LANE)
        level.settle(share, stamp, 0)
        sizes.append(len(level.lanes[LANE].heap))
    return sizes


def test_stale_entries_are_swept_when_they_outnumber_the_names():
    level = spread()
    share = level.shares[NAMES[3]]
    level.adopt(share, -90_000)  # before all others, so that the index looks at it each time

    sizes = churn(level, 10 * SLACK)

    assert max(sizes) == 2 * len(NAMES) + SLACK
    assert min(sizes[SLACK:]) < 2 * len(NAMES)


def test_a_sweep_keeps_every_name_in_its_place():
    level = spread()
    level.adopt(level.shares[NAMES[3]], -90_000)
    churn(level, 3 * SLACK)

    order = turns(level, 1_000_000_000, len(NAMES))

    assert order == [NAMES[3], *(name for name in reversed(NAMES) if name != NAMES[3])]


def test_a_sweep_drops_whoever_was_forgotten_or_waits_no_more():
    level = spread()
    gone, out = waiting(level, "zoe-gone", tickets=1), waiting(level, "zoe-out")
    level.adopt(out, 500_000)
    level.adopt(level.shares[NAMES[3]], -90_000)
    level.leave(out, LANE)
    level.leave(gone, LANE)
    release(level, gone)
    for n in range(SLACK):
        release(level, opened(level, f"even-{n}"))
    assert "zoe-gone" not in level.shares

    churn(level, 3 * SLACK)

    assert {name for _, name in level.lanes[LANE].heap} == set(NAMES)


def test_a_name_alone_in_its_lane_needs_no_index():
    level = StartTags()
    ann = waiting(level, "ann")
    level.settle(ann, level.charge(ann, 500), 0)

    assert level.lanes[LANE] is ann
    bob = waiting(level, "bob")
    assert level.lanes[LANE].active == 2
    level.leave(ann, LANE)
    assert level.first(LANE) is bob
