"""A gate is blocked when work waited for it while it was shut: what the control law steps up on."""

from __future__ import annotations

from dataclasses import replace

from scheduling.core.limits import Limit
from scheduling.core.policy import ClassRule, TenantRule
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import POOL, backend, dispatched, policy, ticket


def blocked(machine: Scheduler, now_ms: int = 0) -> list[str]:
    return [gate.backend for gate in machine.view(now_ms).backends if gate.blocked]


def test_a_gate_that_an_aged_class_fills_while_others_wait_is_blocked():
    classes = {
        "interactive": ClassRule("interactive", 0, reserved_seats=1),
        "batch": ClassRule("batch", 2, max_wait_ms=10),
    }
    machine = Scheduler(POOL, policy(classes=classes, seats=2))
    for n in range(9):
        machine.submit(ticket(f"batch-{n}", "acme", priority_class="batch"), 0)
    assert dispatched(machine.expire(100)) == ["batch-1"]  # promoted onto the reserved seat
    machine.finish("batch-0", 1, 100)
    machine.begin_period(100)
    for n in range(1, 3):
        machine.finish(f"batch-{n}", 1, 100)
        assert blocked(machine) == []  # one of two seats is free, and reserved

    assert dispatched(machine.finish("batch-3", 1, 100)) == ["batch-4", "batch-5"]

    assert blocked(machine) == ["gpu-0"]


def test_only_gates_that_somebody_waits_for_are_blocked():
    backends = [backend("gpu-0"), *(backend(name, models=["qwen"]) for name in ("gpu-1", "gpu-2"))]
    machine = Scheduler(POOL, policy(backends=backends))
    for name, model in (("beta-0", "qwen"), ("acme-0", "llama"), ("beta-1", "qwen"), ("acme-1", "llama")):
        machine.submit(ticket(name, model=model), 0)
    assert blocked(machine) == ["gpu-0"]

    machine.submit(ticket("beta-2", model="qwen"), 0)

    assert blocked(machine) == ["gpu-0", "gpu-1", "gpu-2"]


def test_a_gate_is_not_blocked_by_those_who_wait_for_something_of_their_own():
    machine = Scheduler(POOL, policy())
    machine.submit(ticket("plug-0"), 0)
    machine.submit(ticket("parked-0", not_before_ms=900), 0)
    machine.submit(ticket("capped-0", api_token="ci", api_token_in_flight=0), 0)
    assert blocked(machine) == []
    machine.submit(ticket("acme-0"), 0)
    machine.begin_period(0)
    assert blocked(machine) == ["gpu-0"]

    machine.hold("acme-0", 0)
    machine.begin_period(0)

    assert blocked(machine) == []


def test_a_gate_is_not_blocked_by_a_paused_tenant_but_by_any_other():
    machine = Scheduler(POOL, policy())
    machine.pause("acme", 0)
    machine.submit(ticket("plug-0"), 0)
    machine.submit(ticket("acme-0"), 0)
    machine.submit(ticket("acme-1"), 0)
    machine.begin_period(0)
    assert blocked(machine) == []

    machine.submit(ticket("beta-0"), 0)

    assert blocked(machine) == ["gpu-0"]


def test_a_gate_is_not_blocked_by_a_tenant_at_its_quota_while_others_wait_elsewhere():
    tenants = {"acme": TenantRule("acme", quotas={"in_flight": 1})}
    backends = [backend("gpu-0"), backend("gpu-1", models=["qwen"])]
    machine = Scheduler(POOL, replace(policy(backends=backends), tenants=tenants))
    for name, model in (("acme-0", "llama"), ("beta-0", "llama"), ("gamma-0", "qwen"), ("acme-1", "qwen")):
        machine.submit(ticket(name, model=model), 0)
    machine.begin_period(0)
    assert blocked(machine) == ["gpu-0"]

    machine.submit(ticket("gamma-1", model="qwen"), 0)

    assert blocked(machine) == ["gpu-0", "gpu-1"]


def test_a_gate_is_blocked_by_those_whom_an_admin_moved_to_the_front_but_not_while_they_are_paused():
    machine = Scheduler(POOL, policy())
    machine.submit(ticket("plug-0"), 0)
    machine.submit(ticket("acme-0"), 0)
    machine.move_to_front("acme-0", 0)
    machine.begin_period(0)
    assert blocked(machine) == ["gpu-0"]

    machine.pause("acme", 0)
    machine.begin_period(0)

    assert blocked(machine) == []


def test_of_those_at_the_front_one_whose_tenant_may_go_is_enough_to_block_a_gate():
    machine = Scheduler(POOL, policy())
    for name in ("plug-0", "acme-0", "beta-0"):
        machine.submit(ticket(name), 0)
    for name in ("acme-0", "beta-0"):
        machine.move_to_front(name, 0)
    machine.pause("acme", 0)
    machine.begin_period(0)

    assert blocked(machine) == ["gpu-0"]


def test_a_paused_pool_blocks_no_gate():
    machine = Scheduler(POOL, policy())
    machine.submit(ticket("plug-0"), 0)
    machine.submit(ticket("acme-0"), 0)
    assert blocked(machine) == ["gpu-0"]
    machine.pause(None, 0)
    machine.submit(ticket("beta-0"), 0)
    machine.begin_period(0)
    assert blocked(machine) == []

    machine.resume(None, 0)

    assert blocked(machine) == ["gpu-0"]


def test_a_new_period_begins_with_who_waits_now():
    machine = Scheduler(POOL, policy())
    machine.submit(ticket("plug-0"), 0)
    machine.submit(ticket("acme-0"), 0)

    assert [gate.blocked for gate in machine.begin_period(0)] == [True]
    assert [gate.blocked for gate in machine.begin_period(0)] == [True]
    machine.cancel("acme-0", 0)
    assert [gate.blocked for gate in machine.begin_period(0)] == [True]
    assert [gate.blocked for gate in machine.begin_period(0)] == [False]


def test_a_backend_that_joins_while_all_are_blocked_is_blocked_in_its_turn():
    machine = Scheduler(POOL, policy(backends=[backend("gpu-0")]))
    machine.submit(ticket("plug-0"), 0)
    for n in range(3):
        machine.submit(ticket(f"acme-{n}"), 0)
    machine.set_policy(policy(backends=[backend("gpu-0"), backend("gpu-1")], revision=2), 0)

    assert blocked(machine) == ["gpu-0", "gpu-1"]


def test_a_model_that_nobody_asked_for_yet_finds_its_gate_blocked_though_all_others_are():
    machine = Scheduler(POOL, policy(backends=[backend("gpu-0"), backend("gpu-1", models=["qwen"])]))
    for n in range(2):
        machine.submit(ticket(f"acme-{n}"), 0)
    assert blocked(machine) == ["gpu-0"]
    for n in range(2):
        machine.submit(ticket(f"beta-{n}", model="qwen"), 0)

    assert blocked(machine) == ["gpu-0", "gpu-1"]


def test_a_period_that_began_before_the_first_request_sees_who_is_blocked():
    machine = Scheduler(POOL, policy())
    machine.begin_period(0)

    for n in range(2):
        machine.submit(ticket(f"acme-{n}"), 0)

    assert blocked(machine) == ["gpu-0"]


def test_a_retry_that_finds_its_other_backend_gone_is_blocked_by_the_one_it_avoided():
    machine = Scheduler(POOL, policy(backends=[backend("gpu-0"), backend("gpu-1")]))
    machine.set_limit(Limit("gpu-0", 0, 0, "test"), 0)
    for n in range(2):
        machine.submit(ticket(f"acme-{n}", attempt=2, avoid=frozenset({"gpu-0"})), 0)
    assert blocked(machine) == ["gpu-1"]

    for _ in range(3):
        machine.fail("gpu-1", 0)

    assert blocked(machine) == ["gpu-0", "gpu-1"]
