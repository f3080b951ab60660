"""A path may have more names than a tenant and a user: a third one is served by the same rules."""

from __future__ import annotations

from types import SimpleNamespace

from scheduling.core import hierarchy
from scheduling.core.hierarchy import Tree
from scheduling.core.tag_tree import TagTree
from scheduling.core.tags import StartTags
from tests.unit.scheduling.accounts import LANE, entered


def test_a_third_name_has_a_line_and_a_place_of_its_own():
    tree = Tree(StartTags, lambda entry: entry.cost, lambda tenant: 1)
    agents = [("acme", "ann", "writer"), ("acme", "ann", "reader"), ("acme", "bob", "coder")]
    size = {"prompt_tokens": 100, "completion_tokens": 0, "kv_completion_tokens": 0}
    lines = {p: [entered(SimpleNamespace(path=p, **size), 100, 0, LANE) for _ in range(4)] for p in agents}
    for place in range(4):
        for number, entry in enumerate(lines[path][place] for path in agents):
            entry.place = 1 + 3 * place + number
            tree.join(entry)
            tree.push(entry)

    assert [entry.shares[-1].waiting for entry in (lines[path][0] for path in agents)] == [4, 4, 4]
    assert [tree.ahead(entry, 0) for entry in lines["acme", "bob", "coder"]] == [0, 2, 4, 6]
    assert [tree.ahead(entry, 0) for entry in lines["acme", "ann", "writer"]] == [0, 4, 8, 10]
    for _ in range(4):
        tree.serve(tree.pick([LANE]))
    left = {path: [one for one in lines[path] if one.place in one.shares[-1].lines[LANE]] for path in agents}

    assert [[tree.ahead(one, 900) for one in left[path]] for path in agents] == [[0, 4, 6], [0, 4, 6], [0, 2]]
    gone = left["acme", "bob", "coder"][0]
    costs = [share.cost_in_line() for share in gone.shares]
    tree.step_out(gone)
    assert [share.cost_in_line() for share in gone.shares] == [cost - 100 for cost in costs]


def test_a_third_name_is_charged_at_once_as_if_it_had_stood_in_line():
    size = {"prompt_tokens": 100, "completion_tokens": 0, "kv_completion_tokens": 0}
    known = []
    for kind, at_once in ((Tree, False), (Tree, True), (TagTree, True)):
        tree = kind(StartTags, None, lambda tenant: 2)
        for place, agent in enumerate(("writer", "reader", "writer"), 1):
            one = SimpleNamespace(path=("acme", "ann", agent), **size)
            entry = entered(one, 100 * place, place, LANE)
            if at_once:
                tree.pass_through(entry)
            else:
                tree.join(entry)
                tree.push(entry)
                tree.serve(entry)
        paid, charges = [], entry.charges
        while charges is not None:
            share, *_, charges = charges
            paid.append((share.name, share.key, share.held, share.wakes))
        known.append(paid)

    assert known[0] == known[1] == known[2]
    assert [name for name, *_ in known[1]] == ["writer", "ann", "acme"]
    assert [held for _, _, held, _ in known[1]] == [2, 3, 3]


def test_names_that_share_a_line_share_the_third_names_inside_it(monkeypatch):
    monkeypatch.setattr(hierarchy, "NAMES_TRACKED", 0)
    monkeypatch.setattr(hierarchy, "SHARED_LINES", 1)
    size = {"prompt_tokens": 100, "completion_tokens": 0, "kv_completion_tokens": 0}
    tree, ends = Tree(StartTags, None, lambda tenant: 1), []
    for place, user in enumerate(("ann", "bob"), 1):
        entry = entered(SimpleNamespace(path=("acme", user, "writer"), **size), 100, place, LANE)
        tree.stand(entry)
        ends.append(entry.shares)

    assert ends[0] == ends[1]
    assert [share.waiting for share in ends[1]] == [2, 2, 2]
    tree.serve(tree.pick([LANE]))
    assert tree.pick([LANE]).place == 2
