"""What people read: the words of every reason, the place in line, and the estimate of the wait."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.limits import Limit
from scheduling.core.policy import TenantRule
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import CLASSES, POOL, backend, dispatched, policy, ticket


def texts(machine: Scheduler, name: str, now_ms: int = 0) -> list[str]:
    return [reason.text for reason in machine.explain(name, now_ms).reasons]


def full(**fields) -> Scheduler:
    """One seat, taken."""
    machine = Scheduler(POOL, policy(**fields))
    machine.submit(ticket("plug-0", priority_class="interactive"), 0)
    return machine


def test_rivals_are_counted_from_the_widest_circle_in():
    machine = full(classes=CLASSES)
    for name in ("vip-0", "vip-1"):
        machine.submit(ticket(name, priority_class="interactive"), 0)
    for name in ("acme-0", "acme-1", "acme-2", "beta-0", "beta-1", "gamma-0"):
        machine.submit(ticket(name), 0)

    assert texts(machine, "acme-2") == [
        "backend gpu-0 has as many requests in flight as it may (1)",
        "2 requests of better classes wait",
        "2 other tenants wait in class standard: the turn of acme is to come",
        "tenant acme has 2 more requests in line",
    ]
    assert texts(machine, "beta-1")[-1] == "tenant beta has 1 more request in line"
    assert texts(machine, "gamma-0")[-1].startswith("2 other tenants wait")
    assert len(texts(machine, "vip-0")) == 2


def test_quotas_of_seats_are_named_when_they_are_used_up_and_not_before():
    tenants = {
        "acme": TenantRule("acme", quotas={"in_flight": 2}, model_quotas={"llama": {"in_flight": 3}}),
        "beta": TenantRule("beta", model_quotas={"llama": {"in_flight": 1}, "qwen": {"in_flight": 1}}),
        "gamma": TenantRule("gamma", quotas={"in_flight": 2}, model_quotas={"qwen": {"in_flight": 1}}),
    }
    rules = policy(backends=[backend("gpu-0", 4, ("llama", "qwen"))])
    machine = Scheduler(POOL, replace(rules, tenants=tenants))
    for name in ("acme-0", "acme-1", "acme-2", "beta-0", "beta-1"):
        machine.submit(ticket(name), 0)
    for name in ("gamma-2", "beta-2", "gamma-0"):
        machine.submit(ticket(name, model="qwen"), 0)
    machine.submit(ticket("gamma-1"), 0)

    assert texts(machine, "acme-2")[0] == "tenant acme has 2 requests in flight, as many as it may"
    assert not any("llama" in text for text in texts(machine, "acme-2"))
    assert texts(machine, "beta-1")[0] == "tenant beta has 1 requests for llama in flight, as many as it may"
    assert not any("qwen" in text for text in texts(machine, "beta-2"))
    assert texts(machine, "gamma-0")[0] == "tenant gamma has 1 requests for qwen in flight, as many as it may"
    assert not any("gamma has" in text and "in flight" in text for text in texts(machine, "gamma-1"))


def test_every_backend_says_for_itself_why_it_takes_nobody():
    backends = [backend("gpu-0", 1), backend("gpu-1", 5), backend("gpu-2", 5, draining=True)]
    rules = policy(backends=backends, window=1, admission="first_token_window")
    machine = Scheduler(POOL, rules)
    for n in range(2):
        machine.submit(ticket(f"plug-{n}"), 0)
    machine.submit(ticket("acme-0"), 0)

    assert texts(machine, "acme-0") == [
        "backend gpu-0 has as many requests in flight as it may (1)",
        "backend gpu-1 still owes 1 first tokens, as many as it may",
        "backend gpu-2 drains",
    ]


def test_a_backend_that_is_left_alone_says_until_when():
    machine = Scheduler(POOL, policy(seats=2))
    machine.throttle("gpu-0", 100)
    machine.submit(ticket("acme-0"), 200)

    (reason,) = machine.explain("acme-0", 200).reasons

    assert (reason.code, reason.until_ms) == ("backend_left_alone", 1_100)
    assert machine.explain("acme-0", 1_099).reasons == (reason,)
    assert dispatched(machine.expire(1_100)) == ["acme-0"]


def test_a_cause_without_an_end_names_none():
    machine = full()
    machine.submit(ticket("acme-0"), 0)

    assert [reason.until_ms for reason in machine.explain("acme-0", 0).reasons] == [None]


def test_a_request_at_the_front_has_only_the_backends_to_wait_for():
    machine = full(classes=CLASSES, seats=1)
    machine.submit(ticket("vip-0", priority_class="interactive"), 0)
    machine.submit(ticket("acme-0", priority_class="batch"), 0)
    machine.move_to_front("acme-0", 0)

    assert [reason.code for reason in machine.explain("acme-0", 0).reasons] == [
        "backend_full",
        "moved_to_front",
    ]
    assert machine.position("acme-0", 0) == 1
    assert machine.position("vip-0", 0) == 2


def test_reserved_seats_are_open_to_whom_an_admin_moved_to_the_front():
    machine = Scheduler(POOL, policy(classes=CLASSES, seats=2))
    machine.submit(ticket("plug-0", priority_class="batch"), 0)
    machine.submit(ticket("acme-0", priority_class="batch"), 0)
    machine.pause(None, 0)
    assert [reason.code for reason in machine.explain("acme-0", 0).reasons] == [
        "pool_paused",
        "backend_reserved",
    ]

    machine.move_to_front("acme-0", 0)

    assert [reason.code for reason in machine.explain("acme-0", 0).reasons] == [
        "pool_paused",
        "moved_to_front",
    ]


def test_the_front_line_goes_in_the_order_in_which_it_was_made():
    machine = full()
    for n in range(5):
        machine.submit(ticket(f"acme-{n}"), 0)
    for name in ("acme-3", "acme-1", "acme-4"):
        machine.move_to_front(name, 0)

    assert [machine.position(f"acme-{n}", 0) for n in range(5)] == [4, 2, 5, 1, 3]


def test_who_stands_aside_is_placed_behind_all_who_stand_in_line():
    machine = full(classes=CLASSES)
    machine.submit(ticket("held-0", priority_class="interactive"), 0)
    machine.submit(ticket("parked-0", not_before_ms=900), 0)
    machine.submit(ticket("acme-0"), 0)
    machine.hold("held-0", 0)

    assert machine.position("acme-0", 0) == 1
    assert machine.position("held-0", 0) == machine.position("parked-0", 0) == 2


def test_a_place_counts_better_classes_and_not_the_worse_ones():
    machine = full(classes=CLASSES)
    for name, priority_class in (
        ("a-0", "batch"),
        ("b-0", "standard"),
        ("b-1", "standard"),
        ("a-1", "batch"),
    ):
        machine.submit(ticket(name, priority_class=priority_class), 0)

    assert machine.position("b-0", 0) == 1
    assert machine.position("a-0", 0) == 3
    assert machine.position("a-1", 0) == 4


def paced(**fields) -> Scheduler:
    """A seat a second so far, at 1,000 and 2,000 ms; twenty of acme still wait."""
    machine = Scheduler(POOL, policy(**fields))
    for n in range(22):
        machine.submit(ticket(f"acme-{n}"), 0)
    for n in range(2):
        machine.finish(f"acme-{n}", 100, 1_000 * (n + 1))
    return machine


def test_a_wait_is_foretold_once_and_held_against_what_became_of_it():
    machine = paced()
    told = machine.explain("acme-3", 2_000)
    machine.explain("acme-3", 2_900)  # whoever asks again is told anew; the first word counts

    assert (told.position, told.wait_ms, told.error_ms) == (1, 666, None)
    machine.finish("acme-2", 100, 3_000)
    assert machine.explain("acme-4", 3_000).error_ms == 334


def test_a_held_request_has_no_end_to_foretell():
    machine = paced()
    machine.hold("acme-9", 2_000)

    assert machine.explain("acme-9", 2_000).wait_ms is None
    assert machine.explain("acme-8", 2_000).wait_ms is not None
    machine.pause(None, 2_000)
    assert machine.explain("acme-8", 2_000).wait_ms is None


def test_a_parked_request_waits_for_its_allowance_and_for_its_turn():
    machine = paced()
    machine.submit(ticket("soon-0", not_before_ms=2_010), 2_000)

    assert machine.explain("soon-0", 2_000).wait_ms == machine.explain("soon-0", 2_000).position * 2_000 // 3


@pytest.mark.parametrize(("free", "codes"), [(True, []), (False, ["backend_full", "backend_full"])])
def test_backends_are_named_only_when_none_would_take_the_request(free, codes):
    machine = Scheduler(POOL, policy(backends=[backend("gpu-0", 1), backend("gpu-1", 1)]))
    machine.submit(ticket("plug-0"), 0)
    if not free:
        machine.submit(ticket("plug-1"), 0)
    machine.pause(None, 0)
    machine.submit(ticket("acme-0"), 0)

    told = [reason.code for reason in machine.explain("acme-0", 0).reasons]

    assert told == ["pool_paused", *codes]


def test_a_shut_backend_says_so_by_its_cap():
    machine = Scheduler(POOL, policy(seats=2))
    machine.set_limit(Limit("gpu-0", 1, 0, "shut", 0, 1.0), 0)
    machine.submit(ticket("acme-0"), 0)

    assert texts(machine, "acme-0") == ["backend gpu-0 has as many requests in flight as it may (0)"]
