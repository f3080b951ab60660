"""token_fair: who gets how much, against its stated bound and an independent reckoning."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.fair_play import (
    Rivalry,
    pick_after_a_refund,
    seats_after_a_refund,
    serve_some,
    water_fill,
)
from tests.unit.scheduling.machines import POOL, dispatched, policy, serve_all, ticket

COSTS = st.lists(st.integers(1, 3000), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1_000_000))
def test_two_tenants_that_always_wait_stay_within_one_charge_of_each(seed):
    rivalry = Rivalry(seed)

    assert rivalry.gap <= rivalry.bound


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1_000_000))
def test_wrong_estimates_and_refunds_widen_the_gap_by_no_more_than_they_were_wrong(seed):
    rivalry = Rivalry(seed, wrong_by=800)

    assert rivalry.gap <= rivalry.bound


@settings(max_examples=80, deadline=None)
@given(
    costs=st.dictionaries(st.sampled_from(("acme", "beta", "gamma", "delta")), COSTS, min_size=2),
    weights=st.fixed_dictionaries(dict.fromkeys(("acme", "beta", "gamma", "delta"), st.integers(1, 20))),
    share=st.floats(0.05, 1.0),
    seats=st.integers(1, 4),
)
def test_service_is_max_min_fair_within_one_charge(costs, weights, share, seats):
    charged = serve_some(costs, weights, share, seats)
    fair = water_fill({name: sum(line) for name, line in costs.items()}, weights, sum(charged.values()))

    slack = max(max(line) / weights[name] for name, line in costs.items())
    for name, line in costs.items():
        assert abs(charged[name] - fair[name]) <= weights[name] * slack + max(line) + 1


def test_the_reckoning_itself_gives_the_textbook_answer():
    shares = water_fill({"a": 2, "b": 8, "c": 10}, {"a": 1, "b": 1, "c": 2}, 14)

    assert shares == pytest.approx({"a": 2, "b": 4, "c": 8})


def test_weight_three_gets_three_of_four_tokens_though_its_requests_are_tiny():
    weights = {"tiny": 3, "huge": 1}
    costs = {"tiny": [20] * 3000, "huge": [4000] * 15}

    charged = serve_some(costs, weights, 0.6, 4)

    # One huge request is 4,000 of 72,000 tokens.
    assert charged["tiny"] / sum(charged.values()) == pytest.approx(0.75, abs=0.06)


def test_a_tenant_that_was_away_comes_back_level_and_without_credit():
    machine = Scheduler(POOL, policy())
    running = dispatched(machine.submit(ticket("acme-0"), 0))
    for n in range(1, 200):
        machine.submit(ticket(f"acme-{n}"), 0)
    order = serve_all(machine, running, limit=100)
    running = order[-1:]

    for n in range(50):
        machine.submit(ticket(f"beta-{n}"), 0)
    after = [name[:4] for name in serve_all(machine, running, limit=41)][1:]

    assert 19 <= after.count("beta") <= 21


def test_many_open_estimates_that_were_too_high_bank_no_credit():
    machine = Scheduler(POOL, policy(seats=6))
    for n in range(4):
        machine.submit(ticket(f"sly-{n}", cost=100_000), 0)
    running = dispatched(machine.submit(ticket("acme-x"), 0) + machine.submit(ticket("acme-y"), 0))
    for n in range(3000):
        machine.submit(ticket(f"acme-{n}"), 0)
    serve_all(machine, running, limit=2600)  # time passes what sly was charged
    machine.submit(ticket("sly-back"), 0)  # it waits again, level with acme …

    seats = []
    for n in range(4):  # … and then its estimates turn out to have been far too high
        machine.submit(ticket(f"sly-more{n}"), 0)
        seats += dispatched(machine.finish(f"sly-{n}", 1, 0))

    assert sum(name.startswith("sly") for name in seats) <= 3


def test_when_nobody_has_work_all_debts_are_forgotten():
    machine = Scheduler(POOL, policy())
    machine.submit(ticket("acme-0", cost=1_000_000), 0)
    machine.finish("acme-0", 1_000_000, 0)

    running = dispatched(machine.submit(ticket("plug-0"), 0))
    for n in range(4):
        machine.submit(ticket(f"acme-{n}"), 0)
        machine.submit(ticket(f"beta-{n}"), 0)
    order = [name[:4] for name in serve_all(machine, running)][1:]

    assert order == ["acme", "beta"] * 4


def test_a_weight_change_reorders_those_who_wait_already_from_the_next_pick_on():
    machine = Scheduler(POOL, policy(weights={"acme": 1, "beta": 1}))
    running = dispatched(machine.submit(ticket("plug-0"), 0))
    for n in range(60):
        machine.submit(ticket(f"acme-{n}"), 0)
        machine.submit(ticket(f"beta-{n}"), 0)
    before = serve_all(machine, running, limit=21)

    machine.set_policy(policy(weights={"acme": 1, "beta": 9}, revision=2), 0)
    after = serve_all(machine, before[-1:], limit=21)[1:]

    assert sum(name.startswith("acme") for name in before) == 10
    assert sum(name.startswith("beta") for name in after) in {17, 18, 19}


def test_a_smaller_weight_does_not_starve_a_tenant_that_is_far_ahead():
    machine = Scheduler(POOL, policy(weights={"acme": 1000, "beta": 1}, seats=1))
    running = dispatched(machine.submit(ticket("acme-x", cost=100_000), 0))
    for n in range(40):
        machine.submit(ticket(f"acme-{n}"), 0)
        machine.submit(ticket(f"beta-{n}"), 0)

    machine.set_policy(policy(weights={"acme": 1, "beta": 1}, revision=2), 0)
    machine.finish("acme-x", 100, 0)
    order = serve_all(machine, ["beta-0"], limit=20)

    assert running == ["acme-x"]
    assert 9 <= sum(name.startswith("acme") for name in order) <= 11


@pytest.mark.parametrize("seed", range(10))
def test_a_refunded_request_changes_nobodys_turn(seed):
    assert seats_after_a_refund(seed, refunded=True) == seats_after_a_refund(seed, refunded=False)


def test_a_refund_acts_on_the_very_next_pick():
    assert pick_after_a_refund() == "acme-0"


@pytest.mark.parametrize("seed", range(10))
def test_a_newcomer_starts_level_with_those_who_wait(seed):
    rivalry = Rivalry(seed)
    rivalry.welcome("late")

    assert rivalry.gap <= rivalry.bound


def test_users_share_their_tenants_turn_equally():
    machine = Scheduler(POOL, policy(weights={"acme": 1, "beta": 1}))
    running = dispatched(machine.submit(ticket("plug-0"), 0))
    for n in range(100):
        machine.submit(ticket(f"ann-{n}", "acme", user="ann"), 0)
    for n in range(10):
        machine.submit(ticket(f"bob-{n}", "acme", user="bob"), 0)
        machine.submit(ticket(f"cat-{n}", "beta", user="cat"), 0)

    order = [name[:3] for name in serve_all(machine, running, limit=41)][1:]

    assert [order[:20].count(user) for user in ("ann", "bob", "cat")] == [5, 5, 10]


def test_a_client_that_makes_up_users_gains_nothing_and_costs_bounded_memory(monkeypatch):
    monkeypatch.setattr("scheduling.core.hierarchy.NAMES_TRACKED", 50)
    monkeypatch.setattr("scheduling.core.hierarchy.SHARED_LINES", 4)
    machine = Scheduler(POOL, policy())
    running = dispatched(machine.submit(ticket("plug-0"), 0))
    for n in range(500):
        machine.submit(ticket(f"acme-{n}", user=f"made-up-{n}"), 0)
    for n in range(20):
        machine.submit(ticket(f"beta-{n}"), 0)

    tracked = machine.bands.of("standard").fairness._tenants.shares["acme"].inner.shares
    order = [name[:4] for name in serve_all(machine, running, limit=41)][1:]

    assert len(tracked) <= 54
    assert order.count("beta") == 20


def test_a_request_that_costs_nothing_still_moves_its_tenants_turn():
    machine = Scheduler(POOL, policy())
    running = dispatched(machine.submit(ticket("plug-0"), 0))
    for n in range(10):
        machine.submit(ticket(f"acme-{n}", cost=0), 0)
        machine.submit(ticket(f"beta-{n}", cost=0), 0)

    seated = dispatched(machine.finish(running[0], 0, 0)) + dispatched(machine.finish("acme-0", 0, 0))

    assert len(seated) == 2
