"""Interactive before standard before batch: bands, reserved seats, ageing."""

from __future__ import annotations

from scheduling.core.policy import ClassRule
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import CLASSES, POOL, backend, dispatched, policy, ticket


def submit_all(machine, names, now_ms=0, **fields):
    return [event for name in names for event in machine.submit(ticket(name, **fields), now_ms)]


def names(count: int) -> list[str]:
    return [f"acme-{n}" for n in range(count)]


def test_interactive_goes_before_standard_before_batch():
    machine = Scheduler(POOL, policy(classes=CLASSES, seats=1))
    machine.submit(ticket("plug-0", priority_class="interactive"), 0)
    for name in ("batch", "standard", "interactive"):
        machine.submit(ticket(f"{name}-0", priority_class=name), 0)

    order = dispatched(machine.finish("plug-0", 1, 0))
    for _ in range(2):
        order += dispatched(machine.finish(order[-1], 1, 0))

    assert order == ["interactive-0", "standard-0", "batch-0"]


def test_reserved_seats_stay_free_for_the_class_and_better_ones():
    machine = Scheduler(POOL, policy(classes=CLASSES, seats=3))

    assert len(dispatched(submit_all(machine, names(5), priority_class="batch"))) == 2
    assert dispatched(machine.submit(ticket("beta-0", priority_class="interactive"), 0)) == ["beta-0"]


def test_an_empty_backend_serves_every_class_however_many_seats_are_reserved():
    classes = {**CLASSES, "interactive": ClassRule("interactive", 0, reserved_seats=9)}
    machine = Scheduler(POOL, policy(classes=classes, seats=2))

    assert dispatched(submit_all(machine, names(3), priority_class="batch")) == ["acme-0"]


def test_a_batch_ticket_older_than_its_bound_is_promoted():
    machine = Scheduler(POOL, policy(classes=CLASSES))
    machine.submit(ticket("plug-0", priority_class="interactive"), 0)
    machine.submit(ticket("old-0", priority_class="batch"), 0)
    submit_all(machine, names(3), 60_000, priority_class="interactive", queued_ms=60_000)

    assert machine.next_due_ms() is not None
    assert dispatched(machine.finish("plug-0", 1, 60_000)) == ["old-0"]


def test_promoted_classes_take_one_seat_in_four_and_no_more():
    machine = Scheduler(POOL, policy(classes=CLASSES))
    machine.submit(ticket("plug-0", priority_class="interactive"), 0)
    submit_all(machine, [f"old-{n}" for n in range(50)], priority_class="batch")
    submit_all(machine, names(50), 60_000, priority_class="interactive", queued_ms=60_000)

    seats = dispatched(machine.finish("plug-0", 1, 60_000))
    for _ in range(39):
        seats += dispatched(machine.finish(seats[-1], 1, 60_000))

    assert sum(name.startswith("old") for name in seats) == 10


def test_inside_a_promoted_class_the_power_user_still_does_not_block_the_others():
    machine = Scheduler(POOL, policy(classes=CLASSES))
    machine.submit(ticket("plug-0", priority_class="interactive"), 0)
    submit_all(machine, [f"heavy-{n}" for n in range(50)], priority_class="batch")
    machine.submit(ticket("light-0", priority_class="batch"), 0)
    submit_all(machine, names(50), 60_000, priority_class="interactive", queued_ms=60_000)

    seats = dispatched(machine.finish("plug-0", 1, 60_000))
    for _ in range(10):
        seats += dispatched(machine.finish(seats[-1], 1, 60_000))

    assert "light-0" in seats


def test_a_shorter_bound_promotes_tickets_that_wait_already():
    machine = Scheduler(POOL, policy(classes=CLASSES))
    machine.submit(ticket("plug-0", priority_class="interactive"), 0)
    machine.submit(ticket("old-0", priority_class="batch"), 0)
    machine.submit(ticket("acme-0", priority_class="interactive"), 0)
    classes = {**CLASSES, "batch": ClassRule("batch", 2, max_wait_ms=1_000)}

    machine.set_policy(policy(classes=classes, revision=2), 1_000)

    assert dispatched(machine.finish("plug-0", 1, 1_000)) == ["old-0"]


def test_a_class_that_no_rule_names_stands_with_the_standard_one():
    machine = Scheduler(POOL, policy(classes=CLASSES))
    machine.submit(ticket("plug-0", priority_class="interactive"), 0)
    machine.submit(ticket("batch-0", priority_class="batch"), 0)
    machine.submit(ticket("odd-0", priority_class="made-up"), 0)

    assert dispatched(machine.finish("plug-0", 1, 0)) == ["odd-0"]


def test_a_seat_that_a_class_lends_is_free_as_soon_as_its_last_ticket_went_to_another_backend():
    classes = {**CLASSES, "interactive": ClassRule("interactive", 0, reserved_seats=1, lent_seats=1)}
    rules = policy(backends=[backend("gpu-0", 2), backend("gpu-1", 1, ("qwen",))], classes=classes)
    machine = Scheduler(POOL, rules)
    machine.submit(ticket("plug-0"), 0)
    for name in ("plug-1", "vip-0"):
        machine.submit(ticket(name, model="qwen", priority_class="interactive"), 0)
    assert machine.submit(ticket("acme-0"), 0) == []

    assert dispatched(machine.finish("plug-1", 10, 0)) == ["vip-0", "acme-0"]
