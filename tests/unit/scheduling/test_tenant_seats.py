"""A tenant's ``in_flight`` quota: so many seats of the pool, and no more, whoever else waits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.policy import TenantRule
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import CLASSES, POOL, backend, dispatched, policy, ticket

ORDERS = pytest.mark.parametrize("fairness", ["fifo", "round_robin", "token_fair"])


def rules(in_flight: int | None = 1, fairness: str = "token_fair", **fields):
    quotas = {} if in_flight is None else {"in_flight": in_flight}
    return replace(policy(fairness, **fields), tenants={"acme": TenantRule("acme", quotas=quotas)})


@pytest.mark.parametrize(
    "quotas", [{"quotas": {"in_flight": 0}}, {"model_quotas": {"qwen": {"in_flight": 0}}}]
)
def test_a_rule_under_which_nobody_would_ever_go_is_refused_and_names_the_mend(quotas):
    with pytest.raises(ValueError, match="in_flight of tenant acme is 0; suspend it to let nobody in"):
        TenantRule("acme", **quotas)


def submit_all(machine, *names, **fields) -> list[str]:
    return [seated for name in names for seated in dispatched(machine.submit(ticket(name, **fields), 0))]


@ORDERS
def test_a_tenant_at_its_limit_is_passed_over_and_delays_nobody(fairness):
    machine = Scheduler(POOL, rules(1, fairness, seats=3))

    seated = submit_all(machine, "acme-0", "acme-1", "acme-2", "beta-0", "beta-1")

    assert seated == ["acme-0", "beta-0", "beta-1"]


@ORDERS
def test_its_own_seat_goes_to_its_own_next_ticket(fairness):
    machine = Scheduler(POOL, rules(1, fairness, seats=3))
    submit_all(machine, "acme-0", "acme-1", "acme-2", "beta-0")

    assert dispatched(machine.finish("beta-0", 100, 1)) == []
    assert dispatched(machine.finish("acme-0", 100, 1)) == ["acme-1"]


@ORDERS
def test_a_limit_that_is_lifted_or_narrowed_counts_for_those_that_wait(fairness):
    machine = Scheduler(POOL, rules(2, fairness, seats=5))
    submit_all(machine, *(f"acme-{n}" for n in range(5)))

    assert dispatched(machine.set_policy(rules(3, fairness, seats=5), 1)) == ["acme-2"]
    machine.set_policy(rules(1, fairness, seats=5), 2)
    assert dispatched(machine.finish("acme-0", 100, 3) + machine.finish("acme-1", 100, 3)) == []
    assert dispatched(machine.set_policy(rules(None, fairness, seats=5), 4)) == ["acme-3", "acme-4"]


@ORDERS
def test_the_limit_holds_over_classes_models_and_a_change_of_order(fairness):
    backends = [backend("gpu-0", 9, ("llama", "qwen"))]
    machine = Scheduler(POOL, rules(2, fairness, backends=backends, classes=CLASSES))
    submit_all(machine, "acme-0", "acme-1", priority_class="batch")

    assert submit_all(machine, "acme-2", priority_class="interactive", model="qwen") == []
    for other in ("fifo", "token_fair", "round_robin"):
        assert machine.set_policy(rules(2, other, backends=backends, classes=CLASSES), 1) == []
    assert dispatched(machine.finish("acme-1", 100, 2)) == ["acme-2"]


def test_a_tenant_that_waits_for_itself_saves_up_no_credit():
    machine = Scheduler(POOL, rules(1, seats=2))
    submit_all(machine, *(f"acme-{n}" for n in range(9)))
    submit_all(machine, *(f"beta-{n}" for n in range(60)))
    for n in range(40):  # beta is served by one seat all the time, acme's request stays
        machine.finish(f"beta-{n}", 1000, n)
    machine.set_policy(rules(None, seats=2), 50)

    seated = dispatched(machine.finish("acme-0", 100, 51))
    for _ in range(7):
        seated += dispatched(machine.finish(seated[-1], 100, 52))

    assert 3 <= sum(name.startswith("beta") for name in seated) <= 5


def test_a_gate_is_not_blocked_by_those_who_wait_for_their_own_seats():
    machine = Scheduler(POOL, rules(1, seats=2))
    submit_all(machine, "acme-0", "beta-0", "acme-1")

    assert not any(gate.blocked for gate in machine.view(1).backends)


@ORDERS
def test_a_flood_at_the_limit_can_leave_and_come_back(fairness):
    machine = Scheduler(POOL, rules(1, fairness, seats=3))
    submit_all(machine, "acme-0", "acme-1", "acme-2")
    machine.cancel("acme-1", 1)
    machine.cancel("acme-2", 1)
    submit_all(machine, "acme-3")

    assert dispatched(machine.finish("acme-0", 100, 2)) == ["acme-3"]
    assert dispatched(machine.finish("acme-3", 100, 3)) == []
    assert machine.is_idle
    assert not machine.view(4).tenants
