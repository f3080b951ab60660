"""What engines are told to go by: class first, then fair tags, never what a client says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.engine_order import RANK
from scheduling.core.events import Dispatched
from scheduling.core.policy import Policy
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import CLASSES, POOL, policy, ticket


def rules(mode: str = "alone", fairness: str = "token_fair", **fields) -> Policy:
    made = policy(fairness, seats=1, **fields)
    return replace(made, pools={POOL: replace(made.pools[POOL], engine_priority=mode)})


def machine(*fields, **more) -> Scheduler:
    return Scheduler(POOL, rules(*fields, **more))


def order(made: Scheduler, name: str, cost: int = 100, **fields) -> int | None:
    """What the request is sent with; it must be seated at once."""
    (event,) = made.submit(ticket(name, cost=cost, **fields), 0)
    assert isinstance(event, Dispatched)
    return event.engine_order


def test_nothing_is_sent_unless_the_pool_says_so():
    assert order(machine("off"), "acme-0") is None
    assert order(machine("with_window"), "acme-0") == 0


def test_a_tenants_requests_come_one_after_the_other_and_tenants_side_by_side():
    made = machine()

    assert [order(made, f"heavy-{n}") for n in range(4)] == [0, 100, 200, 300]
    assert [order(made, f"light-{n}", 50) for n in range(3)] == [0, 50, 100]


def test_a_weight_counts_as_many_times():
    made = machine(weights={"acme": 4, "beta": 1})

    assert [order(made, f"acme-{n}") for n in range(3)] == [0, 25, 50]
    assert [order(made, f"beta-{n}") for n in range(3)] == [0, 100, 200]


def test_what_costs_less_than_a_token_of_weight_still_moves_the_order():
    made = machine(weights={"acme": 1000})

    assert [order(made, f"acme-{n}", 400) for n in range(4)] == [0, 0, 0, 1]
    assert [order(made, f"beta-{n}", 0) for n in range(3)] == [0, 1, 2]


def test_what_costs_nothing_beside_its_weight_moves_the_order_by_the_least_there_is():
    made = machine(weights={"acme": 1000})
    made.boost("acme", 10, 1_000, 0)

    orders = [order(made, f"acme-{n}", 1) for n in range(1001)]

    assert orders == [0] * 1000 + [1]


def test_another_weight_holds_for_later_requests_only():
    made = machine(weights={"acme": 1})
    sent = [order(made, f"acme-{n}") for n in range(3)]
    made.set_policy(rules(weights={"acme": 100}, revision=2), 0)

    assert sent == [0, 100, 200]
    assert [order(made, f"acme-{n}") for n in range(3, 6)] == [300, 301, 302]


def test_a_boost_counts_as_a_weight():
    made = machine()
    made.boost("acme", 10, 1_000, 0)

    assert [order(made, f"acme-{n}") for n in range(3)] == [0, 10, 20]


def test_who_comes_late_begins_where_the_engines_queue_is_now():
    made = machine()
    for n in range(4):
        order(made, f"heavy-{n}")
    for n in range(2):
        made.start(f"heavy-{n}", 0)

    assert order(made, "light-0") == 200


def test_a_first_token_out_of_order_moves_no_clock():
    made = machine()
    for n in range(3):
        order(made, f"heavy-{n}")
    made.start("heavy-1", 0)
    made.start("heavy-1", 0)

    assert order(made, "light-0") == 0


def test_when_all_have_begun_to_answer_the_last_of_them_is_now():
    made = machine()
    for n in range(3):
        order(made, f"heavy-{n}")
        made.start(f"heavy-{n}", 0)

    assert order(made, "light-0") == 200
    assert order(made, "heavy-3") == 300


def test_whoever_leaves_without_a_first_token_is_in_nobodys_way():
    made = machine()
    for n in range(3):
        order(made, f"heavy-{n}")
    made.finish("heavy-0", 0, 0, refund=True)

    assert order(made, "light-0") == 100


def test_when_the_engines_are_empty_all_is_forgotten():
    made = machine()
    for n in range(3):
        order(made, f"heavy-{n}")
    for n in range(3):
        made.finish(f"heavy-{n}", 100, 0)

    assert order(made, "heavy-9") == 0


def test_a_better_class_comes_first_whatever_its_tenant_has_had():
    made = machine(classes=CLASSES)
    orders = [order(made, f"{name}-{n}", 10**9, priority_class=name) for name in CLASSES for n in range(3)]

    assert orders == sorted(orders)
    assert [each // RANK for each in orders] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [each % RANK for each in orders[3:6]] == [0, 10**9, 2 * 10**9]


def test_first_come_first_served_sends_the_class_alone():
    made = machine(fairness="fifo", classes=CLASSES)

    assert [order(made, f"acme-{n}", priority_class="batch") for n in range(2)] == [2 * RANK, 2 * RANK]


def test_who_went_in_before_orders_were_sent_moves_no_clock():
    made = machine("off")
    order(made, "acme-0")
    made.set_policy(rules(revision=2), 0)
    assert [order(made, f"beta-{n}") for n in range(2)] == [0, 100]
    made.start("acme-0", 0)
    made.finish("acme-0", 100, 0)

    assert order(made, "gamma-0") == 0
    assert order(made, "beta-2") == 200


def test_orders_begin_anew_when_they_were_not_sent_for_a_while():
    made = machine()
    for n in range(3):
        order(made, f"acme-{n}")
    made.set_policy(rules("off", revision=2), 0)
    made.set_policy(rules(revision=3), 0)

    assert order(made, "acme-3") == 0


@pytest.mark.parametrize("busy", [0, 1])
def test_tenants_that_owe_nothing_are_forgotten(busy):
    made = machine()
    for n in range(500):
        order(made, f"tenant{n}-0")
        order(made, f"stays-{n}")
        made.start(f"tenant{n}-0", 0)
        if n >= busy:
            made.start(f"stays-{n}", 0)
    ends = made._engine_order._ends

    assert (len(ends) > 400) == bool(busy)
    assert len(ends) <= 501
