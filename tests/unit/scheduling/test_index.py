"""The index of a lane: every name that waits there, by the key that it has now."""

from __future__ import annotations

import random

import pytest

from scheduling.core.levels import Level
from scheduling.core.orders import LEVELS
from scheduling.core.share import Share
from scheduling.core.tags import StartTags
from tests.unit.scheduling.accounts import LANE, OTHER, release, turns, waiting

NAMES = [f"name-{n:02}" for n in range(12)]
STEPS = 300


def standing(level: Level, lane) -> list[tuple[int, str]]:
    """The names of an index and the keys that it knows them by, in its order."""
    index = level.lanes[lane]
    return [(index.key, index.name)] if isinstance(index, Share) else [place[:2] for place in index]


def assert_every_index_is_true(level: Level) -> None:
    """Whoever waits in a lane stands in its index, once, under its key, and nobody else does."""
    for lane in (LANE, OTHER):
        known = sorted((share.key, share.name) for share in level.shares.values() if lane in share.lanes)
        assert known == (standing(level, lane) if lane in level.lanes else [])
        assert level.first(lane) is (level.shares[known[0][1]] if known else None)


def some_step(level: Level, rng: random.Random, running: list) -> None:
    """Something that a name may go through."""
    share, lane, price = level.shares[rng.choice(NAMES)], rng.choice((LANE, OTHER)), rng.randrange(900_000)
    match rng.randrange(5):
        case 0:
            if lane in share.lanes:
                level.leave(share, lane)
            else:
                level.enter(share, lane, rng.choice((1, -1)))
        case 1 if running:
            level.settle(*running.pop(rng.randrange(len(running))), rng.choice((0, price)))
        case 2:
            level.reweigh(share, rng.choice((1, 3, 1000)))
        case 3:
            running.append((share, level.adopt(share, price)))
        case 4 if first := level.first(lane):
            running.append((first, level.charge(first, price)))


@pytest.mark.parametrize("order", sorted(LEVELS))
def test_names_stand_by_the_keys_that_they_have_whatever_changes_them(order):
    level, rng = LEVELS[order](), random.Random(order)
    running = []
    for name in NAMES:
        waiting(level, name, rng.choice((1, 2, 5)), lane=rng.choice((LANE, OTHER)))
    for _ in range(STEPS):
        some_step(level, rng, running)
        assert_every_index_is_true(level)
    assert len({share.key for share in level.shares.values()}) > 1


def test_names_with_one_key_stand_by_name():
    level = StartTags()
    for name in reversed(NAMES):
        waiting(level, name)

    assert standing(level, LANE) == [(0, name) for name in NAMES]
    assert turns(level, 1_000, len(NAMES)) == NAMES


def test_who_waits_no_more_or_is_forgotten_stands_in_no_index():
    level = StartTags()
    kept, out, gone = (waiting(level, name, tickets=1) for name in ("kept", "out", "gone"))
    level.leave(out, LANE)
    level.leave(gone, LANE)
    release(level, gone)
    level.adopt(kept, 900)
    level.adopt(out, 100)

    assert standing(level, LANE) == [(900, "kept")]


def test_a_name_alone_in_its_lane_needs_no_index():
    level = StartTags()
    ann = waiting(level, "ann")
    level.settle(ann, level.charge(ann, 500), 0)

    assert level.lanes[LANE] is ann
    bob = waiting(level, "bob")
    assert len(level.lanes[LANE]) == 2
    level.leave(ann, LANE)
    assert level.first(LANE) is bob
