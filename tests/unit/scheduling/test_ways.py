"""Where a ticket stands is looked up once for all like it, and anew when the rules are others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core import machine
from scheduling.core.entry import Entry
from scheduling.core.events import Stranded
from scheduling.core.policy import TenantRule
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import CLASSES, POOL, backend, dispatched, policy, ticket

TWO = {"acme": TenantRule("acme", quotas={"in_flight": 2})}


def ask(made: Scheduler, name: str, **fields) -> Entry:
    made.submit(ticket(name, **fields), 0)
    return made._entries[name]


def test_tickets_that_are_alike_go_one_way():
    made = Scheduler(POOL, policy(seats=9))
    one, other = ask(made, "acme-0"), ask(made, "acme-1")

    assert (one.lane, one.band, one.roster) == (other.lane, other.band, other.roster)
    assert len(made._ways) == 1


@pytest.mark.parametrize(
    "other",
    [{"tenant": "beta"}, {"model": "qwen"}, {"priority_class": "batch"}, {"avoid": frozenset({"gpu-1"})}],
)
def test_tickets_that_differ_in_what_counts_go_ways_of_their_own(other):
    backends = [backend("gpu-0", 9, ("llama", "qwen")), backend("gpu-1", 9, ("llama", "qwen"))]
    made = Scheduler(POOL, policy(backends=backends, classes=CLASSES))
    usual, one = ask(made, "acme-0"), ask(made, "acme-1", **{"tenant": "acme", **other})

    assert (one.lane is usual.lane) is not ("model" in other or "avoid" in other)
    assert (one.band is usual.band) is ("priority_class" not in other)
    assert (one.roster is usual.roster) is ("tenant" not in other)
    assert one.backend != "gpu-1" or "avoid" not in other
    assert len(made._ways) == (1 if "avoid" in other else 2)


def test_who_avoids_a_backend_leaves_no_way_behind():
    backends = [backend("gpu-0", 9), backend("gpu-1", 9)]
    made = Scheduler(POOL, policy(backends=backends))
    ask(made, "acme-0", avoid=frozenset({"gpu-1"}))

    assert not made._ways
    assert not made._lanes


def test_who_waited_for_another_backend_than_the_one_it_avoids_leaves_no_line_behind():
    made = Scheduler(POOL, policy(backends=[backend("gpu-0"), backend("gpu-1")]))
    for n in range(2):
        made.submit(ticket(f"acme-{n}"), 0)
    made.submit(ticket("acme-2", avoid=frozenset({"gpu-1"})), 0)

    assert dispatched(made.finish("acme-0", 1, 0)) == ["acme-2"]
    assert [lane.avoid for lane in made._lanes.values()] == [frozenset()]


def test_a_model_without_a_backend_leaves_no_way_behind():
    made = Scheduler(POOL, policy())
    assert [type(event) for event in made.submit(ticket("acme-0", model="none"), 0)] == [Stranded]

    assert not made._ways
    assert not made._lanes


def test_of_too_many_ways_all_are_forgotten_and_who_runs_is_still_counted(monkeypatch):
    monkeypatch.setattr(machine, "MOST_WAYS", 3)
    made = Scheduler(POOL, replace(policy(seats=99), tenants=TWO))
    ask(made, "acme-0")
    for name in "abcdefg":
        ask(made, f"{name}-0")
        made.finish(f"{name}-0", 1, 0)
        assert len(made._ways) <= 3

    assert dispatched(made.submit(ticket("acme-1"), 0)) == ["acme-1"]
    assert dispatched(made.submit(ticket("acme-2"), 0)) == []
    assert dispatched(made.finish("acme-0", 1, 0)) == ["acme-2"]
    assert list(made.roster) == ["acme"]


def test_a_way_is_looked_up_anew_when_its_tenant_is_suspended_and_when_it_is_let_in_again():
    made = Scheduler(POOL, policy(seats=9))
    ask(made, "acme-0")
    out = {"acme": TenantRule("acme", suspended=True)}

    made.set_policy(replace(policy(seats=9, revision=2), tenants=out), 0)
    assert [type(event) for event in made.submit(ticket("acme-1"), 0)] == [Stranded]
    made.set_policy(policy(seats=9, revision=3), 0)
    assert dispatched(made.submit(ticket("acme-1"), 0)) == ["acme-1"]


def test_a_way_leads_to_the_backends_and_the_quota_of_the_rules_in_force():
    made = Scheduler(POOL, policy(backends=[backend("gpu-0", 9)]))
    line = ask(made, "acme-0").roster

    rules = policy(backends=[backend("gpu-1", 9)], revision=2)
    made.set_policy(replace(rules, tenants=TWO), 0)

    assert ask(made, "acme-1").backend == "gpu-1"
    assert dispatched(made.submit(ticket("acme-2"), 0)) == []
    assert made._entries["acme-1"].roster is line, "who runs goes on being counted"


def test_of_several_backends_one_that_is_open_has_a_seat_at_once():
    made = Scheduler(POOL, policy(backends=[backend("gpu-0", 1), backend("gpu-1", 1)]))
    both = [Entry(ticket(f"acme-{n}")) for n in range(2)]

    assert [made.seat_at_once(entry, 0) for entry in both] == [True, True]
    assert [entry.backend for entry in both] == ["gpu-0", "gpu-1"]
    assert not made.seat_at_once(Entry(ticket("acme-2")), 0)
