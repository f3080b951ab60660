"""What an admin does to a standing line: boost, pause, hold, cancel, move to the front."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.events import (
    Boosted,
    BoostEnded,
    Cancelled,
    Dispatched,
    Held,
    MovedToFront,
    Paused,
    Released,
    Resumed,
)
from scheduling.core.policy import FAIRNESS, TenantRule
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import CLASSES, POOL, dispatched, policy, serve_all, ticket


def two_lines(fairness: str = "token_fair", **fields) -> tuple[Scheduler, list[str]]:
    """One seat, taken; sixty tickets of acme and of beta wait."""
    machine = Scheduler(POOL, policy(fairness, **fields))
    running = dispatched(machine.submit(ticket("plug-0"), 0))
    for n in range(60):
        machine.submit(ticket(f"acme-{n}"), 0)
        machine.submit(ticket(f"beta-{n}"), 0)
    return machine, running


@pytest.mark.parametrize("fairness", ["weighted_round_robin", "deficit_round_robin", "vtc", "token_fair"])
def test_a_boost_multiplies_the_weight_of_those_who_wait_already_and_ends_by_itself(fairness):
    machine, running = two_lines(fairness)

    assert machine.boost("acme", 3, 1_000, 0) == [Boosted("acme", 3, 1_000, 0)]
    during = serve_all(machine, running, limit=41)[1:]
    assert machine.next_due_ms() == 1_000
    assert machine.expire(1_000) == [BoostEnded("acme", 1_000)]
    after = serve_all(machine, during[-1:], limit=41)[1:]

    assert 27 <= sum(name.startswith("acme") for name in during) <= 33
    assert 10 <= sum(name.startswith("acme") for name in after) <= 22


def test_a_boost_can_be_taken_back_and_never_outlives_its_end():
    machine, _ = two_lines()
    machine.boost("acme", 5, 1_000, 0)

    assert machine.view(0).tenants[0].boost == 5
    assert machine.boost("acme", 1, 1_000, 10) == [BoostEnded("acme", 10)]
    assert machine.boost("acme", 7, 5, 10) == []
    assert machine.view(10).tenants[0].boost == 1


@pytest.mark.parametrize("factor", [0, -1, 101])
def test_a_boost_out_of_range_is_refused(factor):
    machine, _ = two_lines()

    with pytest.raises(ValueError, match=r"boost of acme is .*; it must be from 1 to 100"):
        machine.boost("acme", factor, 1_000, 0)


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_a_paused_tenant_keeps_its_place_and_is_not_served(fairness):
    machine, running = two_lines(fairness)

    assert machine.pause("acme", 0) == [Paused("acme", 0)]
    order = serve_all(machine, running, limit=11)[1:]

    assert all(name.startswith("beta") for name in order)
    assert machine.view(0).tenants[0].paused
    assert machine.resume("acme", 0) == [Resumed("acme", 0)]
    assert machine.resume("acme", 0) == []
    assert "acme-0" in serve_all(machine, order[-1:], limit=12)  # a round of deficit_round_robin is ten long


def test_a_tenant_that_was_paused_comes_back_without_credit():
    machine, running = two_lines()
    machine.pause("acme", 0)
    order = serve_all(machine, running, limit=31)
    machine.resume("acme", 0)

    after = serve_all(machine, order[-1:], limit=21)[1:]

    assert 9 <= sum(name.startswith("acme") for name in after) <= 11


def test_a_paused_pool_seats_nobody_and_goes_on_where_it_was():
    machine, running = two_lines()

    assert machine.pause(None, 0) == [Paused(None, 0)]
    assert machine.pause(None, 0) == []
    assert machine.finish(running[0], 100, 0) == []
    assert machine.view(0).paused
    resumed, *events = machine.resume(None, 5)
    assert resumed == Resumed(None, 5)
    assert dispatched(events) == ["acme-0"]


def test_a_pause_of_a_tenant_that_has_nothing_waiting_holds_for_what_comes():
    machine = Scheduler(POOL, policy(seats=3))
    machine.pause("acme", 0)

    assert dispatched(machine.submit(ticket("acme-0"), 0)) == []
    assert dispatched(machine.submit(ticket("beta-0"), 0)) == ["beta-0"]
    assert dispatched(machine.resume("acme", 1)) == ["acme-0"]


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_a_held_ticket_stands_aside_until_it_is_released(fairness):
    machine, running = two_lines(fairness)
    one = ticket("acme-0")

    assert machine.hold("acme-0", 3) == [Held(one, 3)]
    assert machine.hold("acme-0", 4) == []
    order = serve_all(machine, running, limit=21)
    assert "acme-0" not in order
    assert machine.is_waiting("acme-0")
    assert machine.release("acme-0", 5) == [Released(one, 5)]
    assert machine.release("acme-0", 5) == []
    assert "acme-0" in serve_all(machine, order[-1:])


def test_a_held_ticket_that_is_released_onto_a_free_seat_runs_at_once():
    machine = Scheduler(POOL, policy(seats=1))
    machine.submit(ticket("plug-0"), 0)
    machine.submit(ticket("acme-0"), 0)
    machine.hold("acme-0", 0)
    machine.finish("plug-0", 100, 0)

    released, seated = machine.release("acme-0", 9)

    assert (type(released), type(seated)) == (Released, Dispatched)


def test_what_a_flow_owes_is_not_forgotten_while_its_ticket_is_held():
    machine = Scheduler(POOL, policy(seats=2))
    for name in ("acme-big", "plug-0"):
        machine.submit(ticket(name, cost=50_000 if name == "acme-big" else 100), 0)
    for n in range(9):
        machine.submit(ticket(f"acme-{n}"), 0)
    for n in range(9):
        machine.hold(f"acme-{n}", 0)
        machine.submit(ticket(f"beta-{n}"), 0)
    seated = dispatched(machine.finish("acme-big", 50_000, 0))
    for n in range(9):
        machine.release(f"acme-{n}", 0)
        seated += dispatched(machine.finish(f"beta-{n}", 100, 0)) if n < 4 else []

    assert all(name.startswith("beta") for name in seated)


def test_a_held_ticket_still_expires_and_can_be_cancelled():
    machine, _ = two_lines()
    machine.submit(ticket("late-0", deadline_ms=50), 0)
    machine.hold("late-0", 0)
    machine.hold("acme-3", 0)

    assert [event.ticket.request_id for event in machine.expire(50)] == ["late-0"]
    assert machine.cancel("acme-3", 60) == [Cancelled(ticket("acme-3"), 60)]
    assert machine.cancel("acme-3", 60) == []


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_a_ticket_moved_to_the_front_goes_before_every_class_and_its_flow_pays(fairness):
    machine = Scheduler(POOL, policy(fairness, classes=CLASSES))
    machine.submit(ticket("plug-0", priority_class="interactive"), 0)
    for n in range(5):
        machine.submit(ticket(f"acme-{n}", priority_class="interactive"), 0)
        machine.submit(ticket(f"beta-{n}", priority_class="batch"), 0)

    assert machine.move_to_front("beta-4", 0) == [MovedToFront(ticket("beta-4", priority_class="batch"), 0)]
    assert machine.move_to_front("beta-4", 0) == []
    assert machine.position("beta-4", 0) == 1
    assert dispatched(machine.finish("plug-0", 100, 0)) == ["beta-4"]


def test_moving_to_the_front_is_not_free():
    machine, running = two_lines()
    machine.move_to_front("acme-50", 0)

    order = [name[:4] for name in serve_all(machine, running, limit=13)][1:]

    assert order == ["acme", "beta"] * 6


def test_a_ticket_at_the_front_still_obeys_the_pause_of_its_tenant_and_its_quota():
    machine = Scheduler(POOL, policy(seats=1))
    running = dispatched(machine.submit(ticket("plug-0"), 0))
    machine.submit(ticket("acme-0"), 0)
    machine.submit(ticket("beta-0"), 0)
    machine.move_to_front("acme-0", 0)
    machine.pause("acme", 0)

    assert dispatched(machine.finish(running[0], 100, 0)) == ["beta-0"]
    assert dispatched(machine.finish("beta-0", 100, 0)) == []
    assert dispatched(machine.resume("acme", 0)) == ["acme-0"]


def test_a_change_of_rules_leaves_those_aside_where_they_are():
    machine, running = two_lines()
    machine.hold("acme-0", 0)
    machine.move_to_front("beta-9", 0)
    machine.pause("acme", 0)

    machine.set_policy(replace(policy("fifo", revision=2), tenants={"beta": TenantRule("beta", 2)}), 0)
    order = serve_all(machine, running)

    assert order[1] == "beta-9"
    assert len(order) == 61
    assert not any(name.startswith("acme") for name in order)
    machine.resume("acme", 0)
    machine.release("acme-0", 0)
