"""The tree of start tags leaves every account as the tree does that asks each of its levels."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from scheduling.core.entry import Entry
from scheduling.core.hierarchy import Tree
from scheduling.core.levels import MILLI
from scheduling.core.tag_tree import TagTree
from scheduling.core.tags import LAG_LIMIT, Counters, StartTags
from tests.unit.scheduling.accounts import LANE, OTHER, entered
from tests.unit.scheduling.machines import ticket

STEPS = 150
COSTS = (1, 40, 100, 900)


class Grove:
    """The same tickets in both trees."""

    def __init__(self, order: type[StartTags], rng: random.Random) -> None:
        self.rng = rng
        self.weights = {"acme": 1, "beta": 3, "gamma": 7}
        self.trees = [kind(order, None, self.weights.__getitem__) for kind in (Tree, TagTree)]
        self.waiting: list[list[Entry]] = []
        self.running: list[list[Entry]] = []
        self.place = 0

    def come(self) -> list[Entry]:
        self.place += 1
        rng, tenant = self.rng, self.rng.choice(sorted(self.weights))
        one = ticket(f"{tenant}-{self.place}", tenant, user=rng.choice("ab"))
        place = self.place if rng.random() < 0.9 else -self.place
        cost, lane = rng.choice((0, *COSTS)), rng.choice((LANE, OTHER))
        return [entered(one, cost, place, lane) for _ in self.trees]

    def each(self, act: Callable, entries: list[Entry], *more) -> None:
        for tree, entry in zip(self.trees, entries, strict=True):
            act(tree, entry, *more)

    def step(self) -> None:
        dice = self.rng.random()
        if dice < 0.25 and not self.waiting:
            self.running.append(self.come())
            self.each(lambda tree, entry: tree.pass_through(entry), self.running[-1])
        elif dice < 0.35:
            self.waiting.append(self.come())
            self.each(lambda tree, entry: tree.stand(entry), self.waiting[-1])
        elif dice < 0.55 and self.waiting:
            picked = [tree.pick((LANE, OTHER)) for tree in self.trees]
            assert len({entry.place for entry in picked}) == 1
            self.waiting.remove(picked)
            self.running.append(picked)
            self.each(lambda tree, entry: tree.serve(entry), picked)
        elif dice < 0.6:
            self.weights[self.rng.choice(sorted(self.weights))] = self.rng.choice((1, 2, 7, 1000))
            for tree in self.trees:
                tree.reweigh()
        elif self.running:
            ended = self.running.pop(self.rng.randrange(len(self.running)))
            self.each(lambda tree, entry, cost: tree.settle(entry, cost), ended, self.rng.choice((0, *COSTS)))


def known(tree: Tree):
    """All that a tree knows of its names."""
    levels = [tree._tenants, *(share.inner for share in tree._tenants.shares.values())]
    return [(level.now, level.idle, [_account(share) for share in level.shares.values()]) for level in levels]


def _account(share):
    counts = (share.held, share.waiting, share.wakes)
    standing = {lane: index and [place[:2] for place in index] for lane, index in share.lanes.items()}
    return (share.name, share.weight, share.key, share.lead, counts, standing)


@pytest.mark.parametrize("order", [StartTags, Counters])
@pytest.mark.parametrize("seed", range(12))
def test_both_trees_say_the_same_of_everybody_after_every_step(order, seed):
    grove = Grove(order, random.Random(seed))
    longest = 0
    for _ in range(STEPS):
        grove.step()
        one, other = map(known, grove.trees)
        assert one == other
        longest = max(longest, len(grove.waiting))
    assert grove.place > STEPS // 8
    assert longest > 2


def test_both_trees_let_a_name_catch_up_no_more_than_so_far():
    trees = [kind(StartTags, None, lambda tenant: 1) for kind in (Tree, TagTree)]
    for tree in trees:
        late = entered(ticket("acme-0", "acme"), 7, 1, OTHER)
        tree.stand(late)
        for place in (2, 3, 4):
            one = entered(ticket(f"beta-{place}", "beta"), 400_000, place)
            tree.stand(one)
            tree.serve(one)
        tree.serve(late)

    one, other = map(known, trees)
    assert one == other
    assert trees[1]._tenants.shares["acme"].key == 800_000 * MILLI - LAG_LIMIT + 7 * MILLI
