"""Tenants, and users inside them: who is on a ticket's path, who pays, who is next, who is remembered."""

from __future__ import annotations

from zlib import crc32

import pytest

from scheduling.core import hierarchy
from scheduling.core.entry import Entry, Lane
from scheduling.core.hierarchy import SHARED_PREFIX, Tree
from scheduling.core.levels import TABLE_FOR_MS
from scheduling.core.tags import Counters, StartTags
from scheduling.core.turns import Turns
from tests.unit.scheduling.accounts import LANE, OTHER, entered
from tests.unit.scheduling.machines import ticket

MILLI = 1000


class Stand:
    """A tree with tickets to put in it; places count up."""

    def __init__(self, order=StartTags, weights: dict[str, int] | None = None) -> None:
        self.weights = weights or {}
        self.tree = Tree(order, lambda entry: entry.cost, lambda tenant: self.weights.get(tenant, 1))
        self.place = 0

    def join(
        self, tenant: str, user: str = "ann", cost: int = 100, lane: Lane = LANE, attempt: int = 1
    ) -> Entry:
        self.place += 1
        one = ticket(f"{tenant}-{self.place}", tenant, cost=cost, user=user, model=lane.model)
        entry = entered(one, cost, self.place if attempt == 1 else -self.place, lane)
        self.tree.join(entry)
        return entry

    def push(self, *args, **fields) -> Entry:
        entry = self.join(*args, **fields)
        self.tree.push(entry)
        return entry

    def serve(self, *lanes: Lane) -> Entry:
        entry = self.tree.pick(lanes or (LANE,))
        self.tree.serve(entry)
        return entry

    def tenant(self, name: str):
        return self.tree._tenants.shares[name]


def test_every_name_on_the_path_is_charged_and_gets_back_what_was_not_used():
    stand = Stand(weights={"acme": 4})
    stand.push("acme", "bob", cost=800)
    stand.push("acme", "ann", cost=800)
    stand.push("beta")

    first = stand.serve()
    acme, ann = first.shares
    assert (first.ticket.user, acme.key, ann.key) == ("ann", 200 * MILLI, 800 * MILLI)
    stand.tree.settle(first, 400)

    assert (acme.key, ann.key) == (100 * MILLI, 400 * MILLI)
    assert stand.serve().ticket.tenant == "beta"


def test_a_ticket_adopted_out_of_turn_is_charged_on_every_level_too():
    stand = Stand()
    entry = stand.join("acme", cost=300)
    stand.push("acme")

    stand.tree.adopt(entry)

    assert [share.key for share in entry.shares] == [300 * MILLI, 300 * MILLI]
    stand.tree.settle(entry, 0)
    assert [share.key for share in entry.shares] == [0, 0]


def test_what_streams_is_charged_on_every_level():
    stand = Stand(Counters)
    stand.push("acme", cost=100)
    stand.push("acme", cost=100)
    entry = stand.serve()

    stand.tree.progress(entry, 700)
    assert [share.key for share in entry.shares] == [700 * MILLI, 700 * MILLI]
    stand.tree.progress(entry, 900)
    stand.tree.settle(entry, 1000)

    assert [share.key for share in entry.shares] == [1000 * MILLI, 1000 * MILLI]


def test_a_users_own_line_goes_in_order_over_all_open_lanes_retries_first():
    stand = Stand()
    for lane in (OTHER, LANE, OTHER):
        stand.push("acme", lane=lane)
    stand.push("acme", lane=OTHER, attempt=2)
    stand.push("acme", lane=LANE, attempt=2)

    assert [stand.serve(LANE, OTHER).place for _ in range(5)] == [-5, -4, 1, 2, 3]


def test_of_several_lanes_the_name_that_is_furthest_behind_goes_first():
    stand = Stand()
    stand.push("acme", lane=LANE, cost=500)
    stand.push("acme", lane=LANE)
    stand.push("beta", lane=OTHER, cost=500)
    stand.push("beta", lane=OTHER)

    order = [stand.serve(OTHER, LANE).ticket.tenant for _ in range(4)]

    assert order == ["acme", "beta", "acme", "beta"]


def test_a_user_begins_to_wait_once_and_so_does_its_tenant():
    stand = Stand(Turns)
    for user in ("ann", "bob", "ann"):
        stand.push("acme", user)
    stand.push("beta", "cat")

    assert [stand.serve().ticket.user for _ in range(4)] == ["ann", "cat", "bob", "ann"]


def test_a_tenant_waits_until_its_last_user_has_left_the_line():
    stand = Stand()
    ann, bob = stand.push("acme", "ann"), stand.push("acme", "bob")

    stand.tree.step_out(ann)
    assert stand.tree.pick([LANE]) is bob
    stand.tree.step_out(bob)

    assert stand.tree.pick([LANE]) is None
    assert not stand.tree._tenants.serves(LANE)


def test_who_leaves_unserved_is_charged_nothing_and_forgotten():
    stand = Stand()
    stay, go = stand.push("acme"), stand.push("beta", "bob")
    stand.tree.step_out(go)

    stand.tree.leave(go)

    assert (stand.tenant("beta").held, stand.tenant("beta").key) == (0, 0)
    assert stand.tenant("beta").inner.idle == 1
    stand.tree.step_out(stay)
    stand.tree.leave(stay)
    assert not stand.tree._tenants.shares


def test_a_tenant_knows_how_much_waits_in_it():
    stand = Stand()
    stand.push("acme", cost=300)
    stand.push("acme", "bob", cost=500)
    acme = stand.tenant("acme")
    assert (acme.waiting, acme.mean_cost) == (2, 400)

    stand.serve()

    assert (acme.waiting, acme.mean_cost) == (1, 500)


def test_weights_hold_between_tenants_and_not_between_users():
    stand = Stand(weights={"acme": 3, "ann": 50})
    for _ in range(40):
        for tenant, user in (("acme", "ann"), ("acme", "bob"), ("beta", "cat")):
            stand.push(tenant, user)

    users = [stand.serve().ticket.user for _ in range(40)]

    assert (users.count("ann"), users.count("bob"), users.count("cat")) == (15, 15, 10)


@pytest.mark.parametrize(("named", "key"), [(None, 50), (["acme"], 50), (["beta", "ghost"], 100)])
def test_new_weights_are_obeyed_for_the_tenants_that_are_named_or_for_all(named, key):
    stand = Stand()
    stand.push("acme")
    stand.push("acme")
    stand.push("beta")
    stand.serve()
    stand.weights = {"acme": 2, "beta": 1}

    stand.tree.reweigh(named)

    assert stand.tenant("acme").key == key * MILLI


def test_a_tenant_shut_out_of_one_model_is_served_in_another():
    stand = Stand()
    stand.push("acme")
    other = stand.push("acme", lane=OTHER)
    stand.push("beta")

    stand.tree.close("acme", {"llama"})

    assert stand.tree.pick([LANE, OTHER]) is other
    assert stand.tree.pick([LANE]).ticket.tenant == "beta"
    stand.tree.close("acme", None)
    assert stand.tree.pick([LANE]).ticket.tenant == "acme"


def test_a_tenant_that_comes_while_shut_out_waits_until_it_is_let_in():
    stand = Stand()
    stand.tree.close("acme", {"llama"})
    entry = stand.push("acme")
    assert stand.tree.pick([LANE]) is None

    stand.tree.close("acme", None)

    assert stand.tree.pick([LANE]) is entry
    assert not stand.tree._shut


def test_names_beyond_the_bound_share_lines_by_their_hash_and_known_ones_keep_their_own(monkeypatch):
    monkeypatch.setattr(hierarchy, "NAMES_TRACKED", 3)
    stand = Stand()
    for user in ("ann", "bob", "cat", "dan", "eve", "dan"):
        stand.push("acme", user)

    users = stand.tenant("acme").inner.shares
    dan, eve = (f"{SHARED_PREFIX}{crc32(name) % 128}" for name in (b"dan", b"eve"))

    assert {"ann", "bob", "cat"} < set(users)
    assert {name for name in users if name.startswith(SHARED_PREFIX)} == {dan, eve}
    assert users[dan].waiting == 2
    assert all(share.weight == 1 for share in users.values())


def test_the_bound_is_on_users_and_not_on_tenants(monkeypatch):
    monkeypatch.setattr(hierarchy, "NAMES_TRACKED", 1)
    stand = Stand(weights={"beta": 7})
    for tenant in ("acme", "beta", "gamma"):
        stand.push(tenant)

    assert set(stand.tree._tenants.shares) == {"acme", "beta", "gamma"}
    assert stand.tenant("beta").weight == 7


def test_a_name_that_no_encoding_knows_shares_a_line_like_any_other(monkeypatch):
    monkeypatch.setattr(hierarchy, "NAMES_TRACKED", 0)
    stand = Stand()

    entry = stand.push("acme", "\ud800")

    assert stand.tree.pick([LANE]) is entry


def test_a_place_counts_the_own_line_and_those_of_all_rivals():
    stand = Stand()
    mine = [stand.push("acme") for _ in range(6)]
    for _ in range(6):
        stand.push("beta")
    served = stand.serve()
    assert served is mine[0]

    assert [stand.tree.ahead(each, 0) for each in mine[1:4]] == [1, 3, 5]


def test_places_are_read_from_a_table_for_half_a_second():
    stand = Stand()
    last = [stand.push("acme") for _ in range(4)][-1]
    assert stand.tree.ahead(last, 1_000) == 3
    for _ in range(9):
        stand.push("beta")

    assert stand.tree.ahead(last, 1_000 + TABLE_FOR_MS - 1) == 3
    assert stand.tree.ahead(last, 1_000 + TABLE_FOR_MS) == 6


def test_rivals_are_other_tenants_with_something_in_line():
    stand = Stand()
    mine = stand.push("acme")
    stand.push("acme", "bob")
    stand.push("beta")
    stand.push("beta")
    runs = stand.push("gamma")
    stand.tree.serve(runs)

    assert stand.tree.rivals(mine) == 1
