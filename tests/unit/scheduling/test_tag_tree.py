"""The tree of start tags takes its steps in one go, and comes to what the general tree comes to."""

from __future__ import annotations

import random

import pytest

from scheduling.core.entry import Entry
from scheduling.core.hierarchy import Tree
from scheduling.core.levels import Level
from scheduling.core.tag_tree import TagTree
from scheduling.core.tags import StartTags
from tests.unit.scheduling.accounts import LANE, OTHER
from tests.unit.scheduling.machines import ticket

STEPS = 150
TENANTS, USERS = ("acme", "beta", "coop"), ("ann", "bob")


class Played:
    """One tree in a history that is told by numbers alone."""

    def __init__(self, tree: Tree, weights: dict[str, int]) -> None:
        self.tree, self.weights = tree, weights
        self.entries: dict[int, Entry] = {}
        self.waiting: list[int] = []
        self.running: list[int] = []

    def come(self, place: int, name: tuple[str, str], cost: int, lane, *, at_once: bool) -> None:
        one = ticket(f"{name[0]}-{place}", name[0], cost=cost, user=name[1], model=lane.model)
        entry = self.entries[place] = Entry(one, cost, place, lane)
        if at_once and not self.waiting:
            self.tree.pass_through(entry)
            self.running.append(place)
        else:
            self.tree.join(entry)
            self.tree.push(entry)
            self.waiting.append(place)

    def serve(self, lanes) -> None:
        entry = self.tree.pick(lanes)
        if entry is not None:
            self.tree.serve(entry)
            self.waiting.remove(entry.place)
            self.running.append(entry.place)

    def end(self, part: float, cost: int) -> None:
        if self.running:
            self.tree.settle(self.entries[self.running.pop(int(part * len(self.running)))], cost)

    def give_up(self, part: float) -> None:
        if self.waiting:
            entry = self.entries[self.waiting.pop(int(part * len(self.waiting)))]
            self.tree.step_out(entry)
            self.tree.leave(entry)

    def weigh(self, tenant: str, weight: int) -> None:
        self.weights[tenant] = weight
        self.tree.reweigh([tenant])

    def known(self) -> list[object]:
        return [self.waiting, self.running, accounts(self.tree._tenants)]


def accounts(level: Level | None) -> object:
    if level is None:
        return None
    names = (
        (
            s.name,
            s.key,
            s.lead,
            s.wakes,
            s.held,
            s.left,
            s.weight,
            s.waiting,
            s.waiting_cost,
            accounts(s.inner),
        )
        for s in level.shares.values()
    )
    return level.now, level.idle, sorted(names, key=repr)


def step(rng: random.Random, played: tuple[Played, Played], place: int) -> None:
    what, part, cost = rng.random(), rng.random(), rng.choice((0, 1, 40, 900, 2_000_000))
    name, lane = (rng.choice(TENANTS), rng.choice(USERS)), rng.choice((LANE, OTHER))
    lanes, at_once = rng.choice(([LANE], [OTHER], [LANE, OTHER])), rng.random() < 0.5
    for each in played:
        if what < 0.4:
            each.come(place, name, cost or 1, lane, at_once=at_once)
        elif what < 0.65:
            each.serve(lanes)
        elif what < 0.88:
            each.end(part, cost)
        elif what < 0.95:
            each.give_up(part)
        else:
            each.weigh(name[0], 1 + int(9 * part))


@pytest.mark.parametrize("seed", range(25))
def test_every_account_is_as_the_general_tree_has_it_after_any_history(seed):
    rng, weights = random.Random(seed), ({}, {})
    short = Played(TagTree(lambda tenant: weights[0].get(tenant, 2)), weights[0])
    long = Played(Tree(StartTags, None, lambda tenant: weights[1].get(tenant, 2)), weights[1])
    for place in range(1, STEPS):
        step(rng, (short, long), place)
        assert short.known() == long.known()

    for each in (short, long):
        while each.waiting:
            each.serve([LANE, OTHER])
        while each.running:
            each.end(0.5, 70)
    assert short.known() == long.known()
