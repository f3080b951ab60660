"""What a change of rules keeps, begins anew or forgets: bounds, allowances, pauses, boosts, lanes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.events import BoostEnded, Stranded, Unparked
from scheduling.core.limits import Limit
from scheduling.core.policy import ClassRule
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import CLASSES, POOL, backend, dispatched, policy, ticket

PATIENT = {**CLASSES, "batch": ClassRule("batch", 2, max_wait_ms=90_000)}


def waiting_batch(now_ms: int = 0) -> Scheduler:
    """One seat, taken; one ticket of batch waits until now."""
    machine = Scheduler(POOL, policy(classes=CLASSES))
    machine.submit(ticket("plug-0", priority_class="interactive"), 0)
    machine.submit(ticket("batch-0", "acme", priority_class="batch"), 0)
    machine.expire(now_ms)
    return machine


@pytest.mark.parametrize("changed_ms", [0, 70_000])
def test_a_longer_bound_counts_for_those_who_wait_or_are_overdue_already(changed_ms):
    machine = waiting_batch(changed_ms)
    machine.set_policy(policy(classes=PATIENT, revision=2), changed_ms)
    for n in range(2):
        vip = ticket(f"vip-{n}", "acme", priority_class="interactive", queued_ms=89_000)
        machine.submit(vip, 89_000)

    assert dispatched(machine.finish("plug-0", 1, 89_999)) == ["vip-0"]
    assert dispatched(machine.finish("vip-0", 1, 90_000)) == ["batch-0"]


def test_an_overdue_ticket_that_was_held_is_forgiven_too():
    machine = waiting_batch()
    machine.hold("batch-0", 0)
    machine.expire(70_000)
    machine.set_policy(policy(classes=PATIENT, revision=2), 70_000)
    machine.release("batch-0", 70_000)
    machine.submit(ticket("vip-0", "acme", priority_class="interactive", queued_ms=70_000), 70_000)

    assert dispatched(machine.finish("plug-0", 1, 70_000)) == ["vip-0"]


def test_deadlines_and_allowances_outlive_a_change_of_classes():
    machine = waiting_batch()
    parked = ticket("parked-0", not_before_ms=500)
    machine.submit(parked, 0)
    machine.submit(ticket("late-0", deadline_ms=800), 0)

    assert machine.set_policy(policy(classes=PATIENT, revision=2), 100) == []

    assert machine.next_due_ms() == 500
    assert machine.expire(500) == [Unparked(parked, 500)]
    assert [event.ticket.request_id for event in machine.expire(800)] == ["late-0"]


def test_a_pause_of_a_full_engine_and_a_boost_end_in_time_though_classes_change_meanwhile():
    machine = Scheduler(POOL, policy(classes=CLASSES))
    machine.throttle("gpu-0", 0)
    machine.submit(ticket("acme-0"), 0)
    machine.boost("acme", 3, 700, 0)

    machine.set_policy(policy(classes=PATIENT, revision=2), 100)

    assert machine.next_due_ms() == 700
    assert machine.expire(700) == [BoostEnded("acme", 700)]
    assert machine.next_due_ms() == 1_000
    assert dispatched(machine.expire(1_000)) == ["acme-0"]


def test_rules_that_are_refused_leave_the_revision_in_force():
    machine = Scheduler(POOL, policy())
    with pytest.raises(ValueError, match="lottery"):
        machine.set_policy(policy("lottery", revision=7), 0)

    machine.set_policy(policy("fifo", revision=3), 0)

    assert machine.view(0).fairness == "fifo"
    assert machine.policy.revision == 3


def test_a_pool_that_no_rule_names_is_shared_by_the_default_rule():
    machine = Scheduler("elsewhere", replace(policy("fifo"), pools={}))

    assert machine.view(0).fairness == "token_fair"
    assert machine.view(0).pool == "elsewhere"


def test_made_up_models_leave_nothing_behind():
    machine = Scheduler(POOL, policy())
    machine.submit(ticket("plug-0"), 0)

    for n in range(20):
        one = ticket(f"acme-{n}", model=f"made-up-{n}")
        assert machine.submit(one, 0) == [Stranded(one, 0)]

    assert {lane.model for lane in machine._lanes.values()} == {"llama"}


def test_a_model_that_left_the_rules_leaves_no_lane_behind_and_one_in_use_keeps_its_own():
    rules = policy(backends=[backend("gpu-0", models=("llama", "qwen"))])
    machine = Scheduler(POOL, rules)
    for name, model in (("acme-0", "llama"), ("acme-1", "qwen"), ("acme-2", "llama")):
        machine.submit(ticket(name, model=model), 0)
    lane = machine._entries["acme-2"].lane

    machine.set_policy(policy(revision=2), 0)

    assert list(machine._lanes.values()) == [lane]
    assert dispatched(machine.finish("acme-0", 1, 0)) == ["acme-2"]


def test_a_retry_is_sent_elsewhere_also_when_another_one_left_its_lane():
    machine = Scheduler(POOL, policy(backends=[backend("gpu-0"), backend("gpu-1")]))
    machine.submit(ticket("plug-0"), 0)
    machine.submit(ticket("plug-1"), 0)
    for n in range(2):
        machine.submit(ticket(f"again-{n}", "acme", attempt=2, avoid=frozenset({"gpu-0"})), 0)
    machine.cancel("again-1", 0)
    machine.finish("plug-0", 1, 0)

    assert dispatched(machine.set_limit(Limit("gpu-1", 0, 0, "shut", 0, 1.0), 0)) == ["again-0"]


def test_a_lane_of_retries_is_there_while_any_of_them_waits():
    machine = Scheduler(POOL, policy(backends=[backend("gpu-0"), backend("gpu-1")]))
    machine.submit(ticket("plug-0"), 0)
    machine.submit(ticket("plug-1"), 0)
    for n in range(2):
        machine.submit(ticket(f"again-{n}", "acme", attempt=2, avoid=frozenset({"gpu-0"})), 0)

    machine.cancel("again-1", 0)
    machine.set_limit(Limit("gpu-1", 0, 0, "shut", 0, 1.0), 0)
    machine.set_limit(Limit("gpu-1", 1, 1, "back", 0, 2.0), 0)

    assert dispatched(machine.finish("plug-0", 1, 0)) == []
    assert dispatched(machine.finish("plug-1", 1, 0)) == ["again-0"]
    assert not any(lane.avoid for lane in machine._lanes.values())
