"""Tickets that may not go for a reason of their own: an allowance to come, a cap, a quota of their model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.events import Dispatched, Parked, Unparked
from scheduling.core.limits import Limit
from scheduling.core.policy import FAIRNESS, TenantRule
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import POOL, backend, dispatched, policy, ticket


def test_a_ticket_is_parked_until_its_allowance_comes_and_says_so():
    machine = Scheduler(POOL, policy())
    one = ticket("acme-0", not_before_ms=500)

    assert machine.submit(one, 0) == [Parked(one, 0)]
    assert machine.next_due_ms() == 500
    assert machine.expire(499) == []
    assert machine.expire(500) == [Unparked(one, 500), Dispatched(one, 500, "gpu-0")]


def test_a_ticket_that_is_parked_while_others_of_its_model_wait_says_so_too():
    machine = Scheduler(POOL, policy())
    machine.submit(ticket("acme-0"), 0)
    machine.submit(ticket("acme-1"), 0)
    one = ticket("acme-2", not_before_ms=500)

    assert machine.submit(one, 0) == [Parked(one, 0)]


def test_an_allowance_that_came_already_parks_nobody():
    machine = Scheduler(POOL, policy())

    assert dispatched(machine.submit(ticket("acme-0", not_before_ms=3), 3)) == ["acme-0"]


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_a_parked_ticket_stands_in_nobodys_way(fairness):
    machine = Scheduler(POOL, policy(fairness))
    machine.submit(ticket("acme-0", not_before_ms=500), 0)

    assert dispatched(machine.submit(ticket("acme-1"), 0)) == ["acme-1"]
    assert dispatched(machine.submit(ticket("beta-0"), 0)) == []
    assert dispatched(machine.finish("acme-1", 100, 1)) == ["beta-0"]


def test_a_parked_ticket_keeps_what_its_flow_owes():
    machine = Scheduler(POOL, policy(seats=2))
    machine.submit(ticket("acme-big", cost=50_000), 0)
    running = dispatched(machine.submit(ticket("beta-x"), 0))
    machine.submit(ticket("acme-0", not_before_ms=500), 0)
    for n in range(20):
        machine.submit(ticket(f"beta-{n}"), 0)
    machine.finish("acme-big", 50_000, 1)
    machine.expire(500)

    order = []
    for _ in range(8):
        running = dispatched(machine.finish(running[0], 100, 501))
        order += running

    assert not any(name.startswith("acme") for name in order)


def test_a_parked_ticket_expires_and_ages_as_others_do():
    machine = Scheduler(POOL, policy())
    machine.submit(ticket("acme-0", not_before_ms=500, deadline_ms=200), 0)

    assert [event.ticket.request_id for event in machine.expire(200)] == ["acme-0"]
    assert machine.is_idle


def test_an_api_token_has_no_more_going_than_its_cap():
    machine = Scheduler(POOL, policy(seats=5))
    capped = {"api_token": "ci", "api_token_in_flight": 2}
    seated = []
    for n in range(4):
        seated += dispatched(machine.submit(ticket(f"acme-{n}", **capped), 0))
    seated += dispatched(machine.submit(ticket("acme-free"), 0))

    assert seated == ["acme-0", "acme-1", "acme-free"]
    assert dispatched(machine.finish("acme-1", 100, 1)) == ["acme-2"]
    assert machine.cancel("acme-3", 1)
    assert dispatched(machine.finish("acme-0", 100, 1)) == []


def test_the_next_of_an_api_token_goes_to_any_backend_though_the_one_that_was_freed_is_shut():
    machine = Scheduler(POOL, policy(backends=[backend("gpu-0"), backend("gpu-1", 1, ("qwen",))]))
    capped = {"api_token": "ci", "api_token_in_flight": 1}
    machine.submit(ticket("acme-0", **capped), 0)
    assert machine.submit(ticket("acme-1", model="qwen", **capped), 0) == []
    machine.set_limit(Limit("gpu-0", 0, 0, "shut", 0, 1.0), 0)

    assert dispatched(machine.finish("acme-0", 100, 1)) == ["acme-1"]


def test_two_api_tokens_do_not_share_a_cap():
    machine = Scheduler(POOL, policy(seats=5))

    seated = [
        seated
        for token in ("one", "two")
        for n in range(2)
        for seated in dispatched(
            machine.submit(ticket(f"acme-{token}-{n}", api_token=token, api_token_in_flight=1), 0)
        )
    ]

    assert seated == ["acme-one-0", "acme-two-0"]


def test_a_quota_of_one_model_passes_over_that_model_only():
    rules = policy(backends=[backend("gpu-0", 5, ("llama", "qwen"))])
    tenants = {"acme": TenantRule("acme", model_quotas={"qwen": {"in_flight": 1}})}
    machine = Scheduler(POOL, replace(rules, tenants=tenants))

    seated = []
    for n in range(3):
        seated += dispatched(machine.submit(ticket(f"qwen-{n}", "acme", model="qwen"), 0))
        seated += dispatched(machine.submit(ticket(f"llama-{n}", "acme"), 0))

    assert seated == ["qwen-0", "llama-0", "llama-1", "llama-2"]
    assert dispatched(machine.finish("qwen-0", 100, 1)) == ["qwen-1"]


def test_a_quota_of_one_model_counts_what_runs_already_when_it_is_set():
    rules = policy(backends=[backend("gpu-0", 5, ("llama", "qwen"))])
    machine = Scheduler(POOL, rules)
    machine.submit(ticket("qwen-0", "acme", model="qwen"), 0)
    tenants = {"acme": TenantRule("acme", model_quotas={"qwen": {"in_flight": 1}})}

    machine.set_policy(replace(rules, tenants=tenants, revision=2), 0)

    assert dispatched(machine.submit(ticket("qwen-1", "acme", model="qwen"), 0)) == []
    assert dispatched(machine.finish("qwen-0", 100, 1)) == ["qwen-1"]
