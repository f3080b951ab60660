"""Every order against the bound that its policy card states, and against max-min fair shares."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.core.policy import FAIRNESS
from scheduling.core.scheduler import Scheduler
from scheduling.core.ticket import Ticket
from tests.unit.scheduling.contest import Contest
from tests.unit.scheduling.fair_play import serve_some, water_fill
from tests.unit.scheduling.machines import POOL, dispatched, policy, serve_all, ticket

BOUNDED = ["round_robin", "weighted_round_robin", "deficit_round_robin", "vtc", "token_fair"]
SHARING = [name for name in FAIRNESS if name != "fifo"]


@pytest.mark.parametrize("fairness", BOUNDED)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1_000_000))
def test_two_tenants_that_always_wait_stay_within_the_cards_bound(fairness, seed):
    contest = Contest(fairness, seed, steps=250)

    assert contest.gap <= contest.bound


@pytest.mark.parametrize("fairness", ["deficit_round_robin", "vtc", "token_fair"])
@settings(max_examples=25, deadline=None)
@given(
    costs=st.dictionaries(
        st.sampled_from(("acme", "beta", "gamma")),
        st.lists(st.integers(1, 3000), min_size=1, max_size=30),
        min_size=2,
    ),
    weights=st.fixed_dictionaries(dict.fromkeys(("acme", "beta", "gamma"), st.integers(1, 20))),
    share=st.floats(0.05, 1.0),
)
def test_service_by_tokens_is_max_min_fair(fairness, costs, weights, share):
    charged = serve_some(costs, weights, share, 2, fairness)
    fair = water_fill({name: sum(line) for name, line in costs.items()}, weights, sum(charged.values()))

    round_of = 2 * 1000 if fairness == "deficit_round_robin" else 0
    slack = round_of + max(max(line) / weights[name] for name, line in costs.items())
    for name, line in costs.items():
        assert abs(charged[name] - fair[name]) <= weights[name] * slack + max(line) + 1


@pytest.mark.parametrize("seed", range(5))
def test_least_in_flight_seats_whoever_has_fewest_for_its_weight(seed):
    rng = random.Random(seed)
    weights = {"acme": 1, "beta": 2, "gamma": 5}
    machine = Scheduler(POOL, policy("least_in_flight", weights=weights, seats=9))
    running, in_flight = [], dict.fromkeys(weights, 0)
    for n in range(60):
        for tenant in weights:
            running += dispatched(machine.submit(ticket(f"{tenant}-{n}", cost=rng.randint(1, 3000)), 0))
    for name in running:
        in_flight[name.partition("-")[0]] += 1

    for _ in range(60):
        ended = running.pop(rng.randrange(len(running)))
        in_flight[ended.partition("-")[0]] -= 1
        (seated,) = dispatched(machine.finish(ended, 100, 0))
        tenant = seated.partition("-")[0]
        assert in_flight[tenant] / weights[tenant] == min(n / weights[t] for t, n in in_flight.items())
        in_flight[tenant] += 1
        running.append(seated)


def test_least_in_flight_with_one_seat_goes_round():
    machine = Scheduler(POOL, policy("least_in_flight"))
    running = dispatched(machine.submit(ticket("plug-0"), 0))
    for n in range(3):
        for tenant in ("acme", "beta", "gamma"):
            machine.submit(ticket(f"{tenant}-{n}"), 0)

    order = [name.partition("-")[0] for name in serve_all(machine, running)][1:]

    assert order == ["acme", "beta", "gamma"] * 3


def test_weighted_round_robin_gives_turns_by_weight_evenly_mixed():
    machine = Scheduler(POOL, policy("weighted_round_robin", weights={"acme": 3, "beta": 1}))
    running = dispatched(machine.submit(ticket("plug-0"), 0))
    for n in range(40):
        machine.submit(ticket(f"acme-{n}", cost=9000), 0)
        machine.submit(ticket(f"beta-{n}", cost=1), 0)

    order = [name[:4] for name in serve_all(machine, running, limit=41)][1:]

    assert all(order[n : n + 4].count("beta") == 1 for n in range(0, 40, 4))


def test_vtc_charges_what_was_said_so_a_long_answer_waits_its_turn():
    machine = Scheduler(POOL, policy("vtc", seats=2))
    for name in ("acme-long", "beta-short"):
        machine.submit(ticket(name, prompt_tokens=100, completion_tokens=1), 0)
    for n in range(4):
        machine.submit(ticket(f"acme-{n}", prompt_tokens=100), 0)
        machine.submit(ticket(f"beta-{n}", prompt_tokens=100), 0)

    machine.progress("acme-long", 150, 0)  # beside it beta may have three more prompts
    order = []
    running = ["beta-short"]
    for _ in range(5):
        running = dispatched(machine.finish(running[0], 100, 0))
        order += running

    assert order == ["beta-0", "beta-1", "beta-2", "acme-0", "beta-3"]


def test_telling_the_same_progress_twice_charges_it_once():
    def order_after(*said: int) -> list[str]:
        machine = Scheduler(POOL, policy("vtc", seats=2))
        for name in ("acme-long", "beta-short"):
            machine.submit(ticket(name), 0)
        for n in range(9):
            machine.submit(ticket(f"acme-{n}"), 0)
            machine.submit(ticket(f"beta-{n}"), 0)
        for tokens in said:
            machine.progress("acme-long", tokens, 0)
        return serve_all(machine, ["beta-short"], limit=12)

    assert order_after(50, 150, 150) == order_after(150)


@pytest.mark.parametrize("fairness", SHARING)
def test_a_tenant_with_a_thousand_users_gets_no_more_than_its_share(fairness):
    machine = Scheduler(POOL, policy(fairness))
    running = dispatched(machine.submit(ticket("plug-0"), 0))
    for n in range(1000):
        machine.submit(ticket(f"many-{n}", user=f"user-{n}"), 0)
    for n in range(60):
        machine.submit(ticket(f"lone-{n}"), 0)

    order = [name[:4] for name in serve_all(machine, running, limit=101)][1:]

    assert 45 <= order.count("lone") <= 55


@pytest.mark.parametrize("fairness", SHARING)
def test_the_users_of_a_tenant_take_turns_as_tenants_do(fairness):
    machine = Scheduler(POOL, policy(fairness))
    running = dispatched(machine.submit(ticket("plug-0"), 0))
    for n in range(100):
        machine.submit(ticket(f"ann-{n}", "acme", user="ann"), 0)
    for n in range(40):
        machine.submit(ticket(f"bob-{n}", "acme", user="bob"), 0)

    order = [name[:3] for name in serve_all(machine, running, limit=61)][1:]

    assert 25 <= order.count("bob") <= 35


class AgentTicket(Ticket):
    """A ticket with a third name: which of the user's agents asks."""

    @property
    def path(self) -> tuple[str, ...]:
        return (self.tenant, *self.user.split("/"))


@pytest.mark.parametrize("fairness", SHARING)
def test_a_third_level_shares_as_the_two_above_it_do(fairness):
    machine = Scheduler(POOL, policy(fairness))
    running = []
    fields = {
        "pool": POOL,
        "model": "llama",
        "tenant": "acme",
        "priority_class": "standard",
        "prompt_tokens": 100,
        "completion_tokens": 0,
        "queued_ms": 0,
    }
    for n in range(60):
        for user in ("ann/writer", "ann/reader", "bob/coder"):
            name = f"{user.replace('/', '_')}-{n}"
            running += dispatched(machine.submit(AgentTicket(request_id=name, user=user, **fields), 0))

    order = [name.partition("-")[0] for name in serve_all(machine, running, limit=80)]

    assert 35 <= order.count("bob_coder") <= 45
    assert abs(order.count("ann_writer") - order.count("ann_reader")) <= 10


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_when_all_is_over_no_order_remembers_anybody(fairness):
    machine = Scheduler(POOL, policy(fairness, seats=2))
    running = []
    for n in range(40):
        running += dispatched(machine.submit(ticket(f"tenant{n % 7}-{n}", user=f"user{n % 3}"), 0))
    serve_all(machine, running)

    (band,) = machine.bands
    tree = vars(band.fairness)
    assert machine.is_idle
    assert len(tree["_tenants"].shares if "_tenants" in tree else tree["_waiting"]) <= 1


@pytest.mark.parametrize("fairness", SHARING)
def test_a_thousand_tenants_that_came_and_went_leave_hardly_an_account_behind(fairness):
    machine = Scheduler(POOL, policy(fairness, seats=3))
    machine.submit(ticket("stays-0", cost=300), 0)
    for n in range(1000):
        for name in (f"guest{n}-0", f"stays-{n + 1}"):
            assert dispatched(machine.submit(ticket(name, cost=300), 0)) == [name]
        machine.finish(f"guest{n}-0", 300, 0)
        machine.finish(f"stays-{n}", 300, 0)

    (band,) = machine.bands

    assert len(band.fairness._tenants.shares) < 150
