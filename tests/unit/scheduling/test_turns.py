"""Whose turn it is under fifo and round_robin, and what a change of rules does to a standing line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.events import Stranded
from scheduling.core.policy import FAIRNESS, TenantRule
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import POOL, backend, dispatched, policy, serve_all, ticket


def plugged(fairness: str) -> tuple[Scheduler, list[str]]:
    """A machine whose one seat is taken, so that everything that follows waits."""
    machine = Scheduler(POOL, policy(fairness))
    return machine, dispatched(machine.submit(ticket("plug-0"), 0))


def test_in_fifo_a_power_user_blocks_the_others():
    machine, running = plugged("fifo")
    for n in range(50):
        machine.submit(ticket(f"heavy-{n}"), 0)
    machine.submit(ticket("light-0"), 0)

    assert serve_all(machine, running).index("light-0") == 51


@pytest.mark.parametrize("fairness", ["round_robin", "token_fair"])
def test_a_power_user_does_not_block_the_others(fairness):
    machine, running = plugged(fairness)
    for n in range(50):
        machine.submit(ticket(f"heavy-{n}"), 0)
    machine.submit(ticket("light-0"), 0)

    assert serve_all(machine, running).index("light-0") <= 2


def test_round_robin_serves_tenants_in_turn_and_their_users_in_turn():
    machine = Scheduler(POOL, policy("round_robin", backends=[backend("gpu-0", 1, ("llama", "qwen"))]))
    running = dispatched(machine.submit(ticket("plug-0"), 0))
    for n in range(4):
        machine.submit(ticket(f"ann-{n}", "acme", user="ann"), 0)
        machine.submit(ticket(f"bob-{n}", "acme", user="bob", model="qwen"), 0)
        machine.submit(ticket(f"cat-{n}", "beta", user="cat"), 0)

    order = [name.partition("-")[0] for name in serve_all(machine, running)][1:]

    assert order[:8] == ["ann", "cat", "bob", "cat"] * 2


def test_round_robin_counts_requests_so_long_ones_win():
    machine, running = plugged("round_robin")
    for n in range(5):
        machine.submit(ticket(f"long-{n}", cost=10_000), 0)
        machine.submit(ticket(f"tiny-{n}", cost=10), 0)

    order = [name[:4] for name in serve_all(machine, running)][1:]

    assert order == ["long", "tiny"] * 5


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_a_retry_goes_before_first_attempts_of_its_flow(fairness):
    machine, running = plugged(fairness)
    for n in range(3):
        machine.submit(ticket(f"acme-{n}"), 0)
    machine.submit(ticket("acme-again", attempt=2), 0)

    assert serve_all(machine, running)[1] == "acme-again"


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_tickets_of_one_flow_go_in_order(fairness):
    machine, running = plugged(fairness)
    names = [f"acme-{n}" for n in range(30)]
    for name in names:
        machine.submit(ticket(name), 0)

    assert serve_all(machine, running)[1:] == names


@pytest.mark.parametrize("before", FAIRNESS)
@pytest.mark.parametrize("after", FAIRNESS)
def test_a_change_of_fairness_keeps_every_ticket_and_reorders_them_at_once(before, after):
    machine, running = plugged(before)
    fresh, fresh_running = plugged(after)
    for one in [ticket(f"heavy-{n}") for n in range(20)] + [ticket(f"light-{n}") for n in range(3)]:
        machine.submit(one, 0)
        fresh.submit(one, 0)

    machine.set_policy(policy(after, revision=2), 0)

    assert serve_all(machine, running) == serve_all(fresh, fresh_running)


def test_what_runs_during_a_change_to_token_fair_still_counts():
    machine = Scheduler(POOL, policy("fifo", seats=3))
    for name in ("acme-x", "acme-y", "plug-0"):
        machine.submit(ticket(name, cost=1000), 0)
    for n in range(5):
        machine.submit(ticket(f"acme-{n}"), 0)
        machine.submit(ticket(f"beta-{n}"), 0)

    machine.set_policy(policy("token_fair", seats=3, revision=2), 0)

    assert dispatched(machine.finish("plug-0", 1000, 0)) == ["beta-0"]


def test_an_older_revision_is_ignored():
    machine, running = plugged("token_fair")
    machine.set_policy(policy("round_robin", revision=7), 0)
    machine.set_policy(policy("fifo", revision=6), 0)

    assert machine.view(0).fairness == "round_robin"
    assert machine.set_policy(policy("fifo", backends=[], revision=6), 0) == []
    assert running == ["plug-0"]


def test_an_unknown_fairness_is_refused_and_changes_nothing():
    machine, running = plugged("token_fair")
    machine.submit(ticket("acme-0"), 0)

    with pytest.raises(ValueError, match=r"must be one of fifo, round_robin, .*token_fair"):
        machine.set_policy(policy("lottery", backends=[], revision=2), 0)

    assert serve_all(machine, running) == ["plug-0", "acme-0"]


def test_tickets_whose_model_nobody_has_any_more_are_stranded():
    machine, _ = plugged("token_fair")
    waiting = ticket("acme-0")
    machine.submit(waiting, 3)

    events = machine.set_policy(policy(backends=[backend("gpu-0", 1, ("qwen",))], revision=2), 9)

    assert events == [Stranded(waiting, 9)]
    assert not machine.is_waiting("acme-0")


def test_tickets_wait_while_their_only_backend_drains():
    machine, running = plugged("token_fair")
    machine.submit(ticket("acme-0"), 0)
    draining = policy(backends=[backend("gpu-0", 1, draining=True)], revision=2)

    assert machine.set_policy(draining, 0) == []
    assert machine.finish(running[0], 100, 0) == []
    assert machine.is_waiting("acme-0")
    assert dispatched(machine.set_policy(policy(revision=3), 0)) == ["acme-0"]


def test_the_tickets_of_a_suspended_tenant_leave_the_line():
    machine, _ = plugged("token_fair")
    machine.submit(ticket("acme-0"), 0)
    machine.submit(ticket("beta-0"), 0)
    rules = replace(policy(revision=2), tenants={"acme": TenantRule("acme", suspended=True)})

    events = machine.set_policy(rules, 0)
    late = machine.submit(ticket("acme-1"), 0)

    assert [event.ticket.request_id for event in events + late] == ["acme-0", "acme-1"]
    assert all(isinstance(event, Stranded) for event in events + late)
    assert machine.is_waiting("beta-0")


def test_a_request_cannot_stand_in_line_twice():
    machine, _ = plugged("fifo")

    with pytest.raises(ValueError, match="plug-0 is already waiting or running"):
        machine.submit(ticket("plug-0"), 0)


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_places_in_line_are_about_right(fairness):
    machine, running = plugged(fairness)
    for n in range(40):
        machine.submit(ticket(f"heavy-{n}"), 0)
    for n in range(5):
        machine.submit(ticket(f"light-{n}"), 0)
    names = [f"heavy-{n}" for n in range(40)] + [f"light-{n}" for n in range(5)]
    said = {name: machine.position(name, 0) for name in names}

    order = serve_all(machine, running)[1:]

    # Deficit round robin serves a whole quantum at a time: ten of these requests.
    roughly = 10 if fairness == "deficit_round_robin" else 3
    assert max(abs(said[name] - (order.index(name) + 1)) for name in names) <= roughly
    assert machine.position("heavy-0", 0) is None


def test_a_place_reckons_with_weights_and_the_length_of_requests():
    machine = Scheduler(POOL, policy(weights={"rich": 4, "poor": 1}))
    running = dispatched(machine.submit(ticket("plug-0"), 0))
    for n in range(60):
        machine.submit(ticket(f"rich-{n}"), 0)
        machine.submit(ticket(f"poor-{n}"), 0)

    said = machine.position("poor-9", 0)
    order = serve_all(machine, running)[1:]

    assert said == pytest.approx(order.index("poor-9") + 1, abs=4)


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_a_retry_that_was_the_first_to_come_of_all_goes_to_the_head_again_after_it_was_held(fairness):
    machine = Scheduler(POOL, policy(fairness))
    machine.pause(None, 0)
    machine.submit(ticket("acme-again", attempt=2), 0)
    machine.hold("acme-again", 0)
    for n in range(3):
        machine.submit(ticket(f"acme-{n}"), 0)

    machine.release("acme-again", 0)

    assert machine.position("acme-again", 0) == 1
    assert dispatched(machine.resume(None, 0)) == ["acme-again"]
