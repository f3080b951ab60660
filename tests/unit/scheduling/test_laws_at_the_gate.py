"""What each admission law leaves to the gate: a window, a cap, a grant, or nothing at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.limits import Limit
from scheduling.core.policy import Policy
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import POOL, backend, dispatched, policy, ticket


def rules(admission: str, *, seats: int = 4, revision: int = 1, learns: bool = False, **pool) -> Policy:
    made = policy(seats=seats, admission=admission, window=1, revision=revision)
    backends = {name: replace(rule, learns_cap=learns) for name, rule in made.backends.items()}
    return replace(made, pools={POOL: replace(made.pools[POOL], **pool)}, backends=backends)


def flooded(made: Policy, limit: Limit | None = None, requests: int = 40) -> tuple[Scheduler, int]:
    """The machine, and how many it seated."""
    machine = Scheduler(POOL, made)
    if limit:
        machine.set_limit(limit, 0)
    return machine, sum(len(dispatched(machine.submit(ticket(f"acme-{n}"), 0))) for n in range(requests))


def read(cap: int, at_s: float = 1.0, window: int = 1, **fields) -> Limit:
    return Limit("gpu-0", window, cap, "read", 0, at_s, running=0, **fields)


@pytest.mark.parametrize("law", ["queue_target", "tpot_target", "static_cap", "gradient"])
def test_all_laws_but_the_window_are_caps(law):
    assert flooded(rules(law))[1] == 4
    assert flooded(rules(law), read(3))[1] == 3
    assert flooded(rules("first_token_window"), read(3))[1] == 1


def test_a_cap_of_zero_is_shut_until_the_next_reading():
    machine, seated = flooded(rules("queue_target"), read(0))

    assert seated == 0
    assert machine.next_due_ms() is None
    assert len(dispatched(machine.set_limit(read(4, 2.0), 0))) == 4


def test_what_was_sent_counts_against_the_grant_until_the_next_reading():
    machine, seated = flooded(rules("queue_target", seats=9, counts_sent=True), read(9, grant=2))
    assert seated == 2
    assert machine.start("acme-0", 1) == machine.finish("acme-0", 10, 2) == []
    reason = machine.explain("acme-9", 2).reasons[0]
    assert (reason.code, reason.until_ms) == ("backend_grant", None)
    assert "was sent as many as its queue had room for" in reason.text

    assert len(dispatched(machine.set_limit(read(9, 2.0, grant=3), 3))) == 3
    assert dispatched(machine.set_limit(read(9, 3.0, grant=0), 4)) == []
    assert dispatched(machine.set_limit(read(9, 4.0), 5)) == [
        "acme-5",
        "acme-6",
        "acme-7",
        "acme-8",
        "acme-9",
    ]


def test_before_the_first_reading_nothing_is_granted_and_the_cap_alone_holds():
    assert flooded(rules("queue_target", counts_sent=True))[1] == 4


def test_the_same_rules_again_give_no_new_grant():
    machine, seated = flooded(rules("queue_target", seats=9, counts_sent=True), read(9, grant=2))

    assert seated == 2
    assert machine.set_policy(rules("queue_target", seats=9, counts_sent=True, revision=2), 0) == []


@pytest.mark.parametrize(("law", "counts_sent"), [("queue_target", False), ("static_cap", True)])
def test_a_grant_holds_no_longer_than_its_law(law, counts_sent):
    machine, _ = flooded(rules("queue_target", counts_sent=True), read(9, grant=1))

    assert len(dispatched(machine.set_policy(rules(law, counts_sent=counts_sent, revision=2), 0))) == 3
    machine, seated = flooded(rules(law, counts_sent=counts_sent), read(9, grant=1))
    assert seated == 4


def test_a_backend_that_was_away_has_what_is_left_of_its_grant_whatever_law_held_meanwhile():
    granting = rules("queue_target", seats=9, counts_sent=True)
    machine, _ = flooded(granting, read(9, grant=2), requests=1)
    machine.set_policy(policy(backends=[backend("gpu-1")], revision=2), 0)
    machine.set_policy(replace(granting, revision=3), 0)

    assert [dispatched(machine.submit(ticket(f"beta-{n}"), 0)) for n in range(2)] == [["beta-0"], []]


def test_a_window_needs_no_grant():
    assert flooded(rules("first_token_window", counts_sent=True), read(9, window=3, grant=0))[1] == 3


def test_an_engines_word_on_its_seats_replaces_the_first_guess_up_to_a_bound():
    assert flooded(rules("static_cap", learns=True))[1] == 4
    assert flooded(rules("static_cap", learns=True), read(20))[1] == 20
    machine, _ = flooded(rules("static_cap", learns=True), read(5_000), 0)
    assert machine.view(0).backends[0].cap == 4_096
    machine.set_policy(rules("static_cap", learns=True, revision=2), 0)
    assert machine.view(0).backends[0].cap == 4_096
    machine.set_policy(rules("static_cap", revision=3), 0)
    assert machine.view(0).backends[0].cap == 4


@pytest.mark.parametrize("law", ["first_token_window", "queue_target", "static_cap"])
def test_an_engine_that_schedules_alone_gets_all_that_waits(law):
    limit = read(2, window=1, grant=0, kv_tokens=10)
    machine, seated = flooded(rules(law, engine_priority="alone", counts_sent=True), limit)

    assert seated == 40
    assert machine.view(0).backends[0].kv_tokens is None
    assert flooded(rules(law, engine_priority="alone"), read(0, window=0), 3)[1] == 3
    assert flooded(rules(law, engine_priority="with_window"), read(2))[1] <= 2


def test_a_retry_waits_for_no_other_cap_where_engines_schedule_alone():
    made = rules("static_cap", engine_priority="alone")
    two = {name: replace(made.backends["gpu-0"], name=name) for name in ("gpu-0", "gpu-1")}
    machine = Scheduler(POOL, replace(made, backends=two))
    machine.set_limit(Limit("gpu-1", 1, 0, "read", 0, 1.0), 0)

    (event,) = machine.submit(ticket("acme-0", attempt=2, avoid=frozenset({"gpu-0"})), 0)

    assert event.backend == "gpu-1"


def test_an_engine_that_schedules_alone_is_left_alone_when_it_is_full_or_out_of_reach():
    machine, _ = flooded(rules("static_cap", engine_priority="alone"), requests=0)
    machine.throttle("gpu-0", 0)
    assert machine.submit(ticket("acme-0"), 0) == []
    assert dispatched(machine.expire(1_000)) == ["acme-0"]
    for _ in range(3):
        machine.fail("gpu-0", 1_000)
    machine.submit(ticket("acme-1"), 1_000)
    machine.submit(ticket("acme-2"), 1_000)

    assert dispatched(machine.expire(2_000)) == ["acme-1"]
    assert dispatched(machine.start("acme-1", 2_000)) == ["acme-2"]
