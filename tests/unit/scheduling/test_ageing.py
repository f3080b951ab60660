"""Who is promoted when several classes have waited too long, and what a change of rules keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.limits import Limit
from scheduling.core.policy import FAIRNESS, ClassRule
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import CLASSES, POOL, backend, dispatched, policy, serve_all, ticket


def besieged(*overdue: str) -> Scheduler:
    """One seat, taken; of each class named forty tickets wait too long, and fifty of the best one wait."""
    machine = Scheduler(POOL, policy(classes=CLASSES))
    machine.submit(ticket("plug-0", priority_class="interactive"), 0)
    for name in overdue:
        for n in range(40):
            machine.submit(ticket(f"{name}-{n}", "acme", priority_class=name), 0)
    for n in range(50):
        best = ticket(f"vip-{n}", "acme", priority_class="interactive", queued_ms=60_000)
        machine.submit(best, 60_000)
    return machine


def seats(machine: Scheduler, count: int, running: str = "plug-0", now_ms: int = 60_000) -> list[str]:
    """The classes of the next seats."""
    order = []
    for _ in range(count):
        (running,) = dispatched(machine.finish(running, 1, now_ms))
        order.append(running.partition("-")[0])
    return order


def test_overdue_classes_are_promoted_in_turn_the_better_one_first():
    vip = ["vip"] * 3

    order = seats(besieged("standard", "batch"), 16)

    assert order == ["standard", *vip, "batch", *vip] * 2


@pytest.mark.parametrize("kv_tokens", [None, 10_000])
def test_a_promotion_delays_nobody_at_the_front(kv_tokens):
    machine = besieged("batch")
    machine.set_limit(Limit("gpu-0", 1, 1, "read", 0, 1.0, kv_tokens=kv_tokens), 60_000)
    assert dispatched(machine.finish("plug-0", 1, 60_000)) == ["batch-0"]
    machine.move_to_front("vip-9", 60_000)

    assert dispatched(machine.finish("batch-0", 1, 60_000)) == ["vip-9"]


def test_a_paused_tenants_tickets_for_several_models_grow_overdue_and_go_when_it_is_resumed():
    machine = Scheduler(POOL, policy(classes=CLASSES, backends=[backend("gpu-0", 5, ("llama", "qwen"))]))
    machine.pause("acme", 0)
    for n, model in enumerate(("llama", "qwen")):
        machine.submit(ticket(f"acme-{n}", model=model), 0)

    assert machine.expire(60_000) == []
    assert dispatched(machine.resume("acme", 60_000)) == ["acme-0", "acme-1"]


def test_who_would_go_anyway_leaves_the_promotion_to_another_class():
    machine = Scheduler(POOL, policy(classes=CLASSES))
    machine.submit(ticket("plug-0", priority_class="interactive"), 0)
    for n in range(5):
        for name in ("interactive", "batch"):
            machine.submit(ticket(f"{name}-{n}", "acme", priority_class=name), 0)

    order = seats(machine, 6)

    assert order == ["batch", "interactive", "interactive", "interactive", "batch", "interactive"]


def test_seats_given_in_the_usual_order_count_towards_the_next_promotion():
    machine = besieged("batch")

    assert seats(machine, 5) == ["batch", "vip", "vip", "vip", "batch"]


def test_seats_passed_on_while_all_wait_in_one_line_count_towards_the_next_promotion():
    classes = {"best": ClassRule("best", 0), "batch": ClassRule("batch", 1, max_wait_ms=10)}
    machine = Scheduler(POOL, policy(classes=classes))
    machine.submit(ticket("plug-0", priority_class="best"), 0)
    machine.submit(ticket("batch-0", priority_class="batch"), 0)
    for n in range(9):
        machine.submit(ticket(f"best-{n}", priority_class="best"), 0)

    assert seats(machine, 3, now_ms=10) == ["batch", "best", "best"]
    machine.submit(ticket("batch-1", priority_class="batch"), 10)  # it has waited long elsewhere

    assert seats(machine, 3, "best-1", now_ms=10) == ["best", "batch", "best"]


def test_a_ticket_that_left_unserved_promotes_nobody():
    machine = besieged("batch")
    for n in range(40):
        machine.cancel(f"batch-{n}", 60_000)

    assert seats(machine, 2) == ["vip", "vip"]


def test_more_lent_than_reserved_makes_no_seats():
    classes = {**CLASSES, "interactive": ClassRule("interactive", 0, reserved_seats=1, lent_seats=3)}
    machine = Scheduler(POOL, policy(classes=classes, seats=2))

    seated = []
    for n in range(4):
        seated += dispatched(machine.submit(ticket(f"acme-{n}", priority_class="batch"), 0))

    assert seated == ["acme-0", "acme-1"]


def test_a_class_holds_nothing_back_from_itself():
    machine = Scheduler(POOL, policy(classes=CLASSES, seats=2))
    machine.submit(ticket("plug-0", priority_class="interactive"), 0)
    machine.pause(None, 0)
    machine.submit(ticket("vip-0", priority_class="interactive"), 0)

    assert [reason.code for reason in machine.explain("vip-0", 0).reasons] == ["pool_paused"]


@pytest.mark.parametrize("odd", ["made-up", "standard"])
def test_without_a_standard_class_an_unknown_one_stands_with_the_worst(odd):
    classes = {name: ClassRule(name, rank) for rank, name in enumerate(("gold", "silver", "iron", "scrap"))}
    machine = Scheduler(POOL, policy(classes=classes))
    machine.submit(ticket("plug-0", priority_class="gold"), 0)
    machine.submit(ticket("odd-0", "acme", priority_class=odd), 0)
    for name in ("scrap", "iron", "silver", "gold"):
        machine.submit(ticket(f"{name}-0", "acme", priority_class=name), 0)

    assert seats(machine, 5) == ["gold", "silver", "iron", "odd", "scrap"]


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_a_change_of_a_classs_bound_keeps_the_order_of_all_who_wait(fairness):
    def order_after(*changes) -> list[str]:
        machine = Scheduler(POOL, policy(fairness, classes=CLASSES))
        machine.submit(ticket("acme-big", cost=9_000), 0)
        for n in range(6):
            machine.submit(ticket(f"acme-{n}"), 0)
            machine.submit(ticket(f"beta-{n}"), 0)
        running = dispatched(machine.finish("acme-big", 9_000, 0))
        for change in changes:
            machine.set_policy(change, 0)
        return serve_all(machine, running)

    patient = {**CLASSES, "batch": replace(CLASSES["batch"], max_wait_ms=90_000)}

    assert order_after(policy(fairness, classes=patient, revision=2)) == order_after()
