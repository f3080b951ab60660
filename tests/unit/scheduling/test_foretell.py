"""How a request would wait that came now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.policy import FAIRNESS, TenantRule
from scheduling.core.scheduler import Scheduler
from scheduling.core.view import Foretold, Newcomer
from tests.unit.scheduling.machines import CLASSES, POOL, backend, policy, ticket


def busy(*waiting: str, **fields) -> Scheduler:
    """One seat, taken, and these requests in line."""
    machine = Scheduler(POOL, policy(**fields))
    for name in ("plug-0", *waiting):
        machine.submit(ticket(name), 0)
    return machine


def place(machine: Scheduler, tenant: str = "beta", priority_class: str = "standard", model: str = "") -> int:
    return machine.foretell(Newcomer(tenant, priority_class, model), 0).position


def test_where_a_seat_is_free_nobody_waits():
    assert Scheduler(POOL, policy()).foretell(Newcomer("beta", "standard"), 0) == Foretold(0, 0, None)


def test_where_none_is_free_a_newcomer_is_next_and_learns_the_pace():
    machine = busy()
    assert machine.foretell(Newcomer("beta", "standard"), 0) == Foretold(1, None, None)

    machine.finish("plug-0", 100, 1000)
    machine.submit(ticket("plug-1"), 2000)

    assert machine.foretell(Newcomer("beta", "standard"), 4000) == Foretold(1, 2000, None)


def test_a_newcomer_stands_behind_its_own_line_and_behind_one_of_each_other_tenant():
    machine = busy("acme-0", "acme-1", "acme-2", "acme-3")

    assert place(machine, "beta") == 2
    assert place(machine, "acme") == 5


def test_who_has_just_had_much_stands_further_back():
    machine = Scheduler(POOL, policy())
    for name, cost in (("greedy-0", 1000), ("acme-0", 100), ("acme-1", 100), ("acme-2", 100)):
        machine.submit(ticket(name, cost=cost), 0)

    assert place(machine, "greedy") == 4
    assert place(machine, "beta") == 2


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_in_every_order_who_has_only_a_running_request_waits_for_others_first(fairness):
    machine = busy("acme-0", "beta-0", fairness=fairness)

    assert place(machine, "plug") == 3


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_whatever_the_order_a_newcomer_stands_where_it_then_stands(fairness):
    machine = busy("acme-0", "acme-1", "acme-2", fairness=fairness)
    foretold = place(machine, "acme")

    machine.submit(ticket("acme-3"), 0)

    assert foretold == machine.position("acme-3", 0) == 4


def test_first_come_first_served_puts_everybody_last():
    assert place(busy("acme-0", "acme-1", fairness="fifo"), "beta") == 3


def test_better_classes_and_who_was_moved_to_the_front_go_before():
    machine = busy("acme-0", classes=CLASSES)
    machine.submit(ticket("vip-0", priority_class="interactive"), 0)
    assert [place(machine, "beta", name) for name in CLASSES] == [2, 3, 3]

    machine.move_to_front("acme-0", 0)
    assert [place(machine, "beta", name) for name in CLASSES] == [3, 3, 3]


def test_a_seat_that_a_better_class_has_reserved_is_none():
    machine = Scheduler(POOL, policy(classes=CLASSES, seats=2))
    machine.submit(ticket("plug-0"), 0)

    assert [place(machine, "beta", name) for name in CLASSES] == [0, 1, 1]


def test_only_backends_that_have_the_model_count():
    machine = Scheduler(POOL, policy(backends=[backend("gpu-0"), backend("gpu-1", models=["qwen"])]))
    machine.submit(ticket("plug-0"), 0)

    assert [place(machine, model=name) for name in ("llama", "qwen", "")] == [1, 0, 0]


def test_of_a_pause_nobody_knows_the_end():
    machine = Scheduler(POOL, policy(seats=4))
    for n in range(3):
        machine.submit(ticket(f"plug-{n}"), n * 100)
    assert machine.foretell(Newcomer("beta", "standard"), 300) == Foretold(0, 0, None)

    machine.pause("beta", 300)
    assert machine.foretell(Newcomer("beta", "standard"), 300) == Foretold(1, None, None)
    assert machine.foretell(Newcomer("acme", "standard"), 300) == Foretold(0, 0, None)
    machine.pause(None, 300)
    assert machine.foretell(Newcomer("acme", "standard"), 300) == Foretold(1, None, None)


def test_who_has_left_the_line_is_not_waited_for():
    machine = Scheduler(POOL, policy(seats=2))
    for name in ("plug-0", "plug-1", "acme-0", "acme-1"):
        machine.submit(ticket(name), 0)
    assert place(machine, "plug") == 2

    for name in ("acme-0", "acme-1"):
        machine.cancel(name, 0)
    machine.finish("plug-1", 100, 0)

    assert machine.foretell(Newcomer("plug", "standard"), 0) == Foretold(0, 0, None)


def test_looking_changes_nothing():
    tenants = {"acme": TenantRule("acme", weight=3)}
    machine = Scheduler(POOL, replace(policy(), tenants=tenants))
    for name in ("plug-0", "acme-0", "beta-0"):
        machine.submit(ticket(name), 0)
    before = [machine.explain(name, 0) for name in ("acme-0", "beta-0")], machine.view(0)

    for tenant in ("acme", "beta", "gamma"):
        machine.foretell(Newcomer(tenant, "standard"), 0)

    assert ([machine.explain(name, 0) for name in ("acme-0", "beta-0")], machine.view(0)) == before
