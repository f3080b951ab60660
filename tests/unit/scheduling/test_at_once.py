"""The short ways leave everything as the long ones do: a seat at once, and a freed one that is passed on."""

from __future__ import annotations

import random
from dataclasses import replace

import msgspec
import pytest

from scheduling.core.entry import Entry
from scheduling.core.events import BoostEnded, Dispatched, Expired, Stranded
from scheduling.core.policy import FAIRNESS, TenantRule
from scheduling.core.scheduler import Scheduler
from scheduling.core.usage import CostRule
from tests.unit.scheduling.footprint import levels
from tests.unit.scheduling.histories import random_policy, random_step
from tests.unit.scheduling.machines import CLASSES, POOL, backend, dispatched, policy, ticket
from tests.unit.scheduling.referee import Referee

STEPS = 120


class InLine(Scheduler):
    """The machine, but for every ticket that goes the long way, and for every seat that is freed."""

    def seat_at_once(self, entry, now_ms):
        waiting, self.waiting = self.waiting, 1
        assert not super().seat_at_once(entry, now_ms)
        self.waiting = waiting
        return False

    def _freed(self, gate, now_ms, by):
        return self._settled(now_ms)


class Both:
    """Two machines that are told the same, and must answer the same."""

    def __init__(self, rules):
        self.short, self.long = Scheduler(POOL, rules), InLine(POOL, rules)

    def __getattr__(self, name):
        mine, theirs = getattr(self.short, name), getattr(self.long, name)
        if name.startswith("_") or not callable(mine) or name == "next_due_ms":
            return mine

        def told(*args, **options):
            answer = mine(*args, **options)
            assert answer == theirs(*args, **options), name
            return answer

        return told


def accounts(machine):
    """What the orders know of every name."""
    return [
        [(share.name, share.key, share.lead, share.wakes, share.held) for share in shares]
        for shares in (level.shares.values() for level in levels(machine))
    ]


@pytest.mark.parametrize("seed", range(25))
def test_the_short_way_and_the_line_decide_alike(seed):
    rng = random.Random(seed)
    referee = Referee(random_policy(rng, 1))
    referee.machine = both = Both(referee.policy)
    for number in range(STEPS):
        if rng.random() < 0.3:  # empty the line now and then, or nobody would find it empty
            for request_id in sorted(referee.waiting):
                referee.cancel(request_id)
        random_step(referee, rng, number)
        now_ms = referee.now
        assert accounts(both.short) == accounts(both.long)
        assert both.short.view(now_ms) == both.long.view(now_ms)
        assert [gate.since_promoted for gate in both.short._gates] == [
            gate.since_promoted for gate in both.long._gates
        ]
    referee.drain()


@pytest.mark.parametrize("seed", range(6))
def test_a_line_that_seats_are_passed_on_in_is_served_as_by_the_long_way(seed):
    rng = random.Random(seed)
    backends = [backend("gpu-0", 3), backend("gpu-1", 2)]
    referee = Referee(policy(rng.choice(FAIRNESS), backends=backends, classes=CLASSES))
    referee.machine = both = Both(referee.policy)
    for number in range(STEPS):
        priority_class = rng.choice(("standard", "standard", "batch")) if number % 10 > 5 else "standard"
        retry = {"attempt": 2, "avoid": frozenset({"gpu-0"})} if number % 60 > 40 else {}
        one = ticket(f"r{number}", rng.choice("ab"), queued_ms=referee.now, cost=rng.choice((1, 90)), **retry)
        referee.submit(msgspec.structs.replace(one, priority_class=priority_class))
        if referee.running and rng.random() < 0.9:
            referee.finish(rng.choice(sorted(referee.running)), rng.choice((5, 500)))
        referee.wait(rng.choice((0, 1, 9_000)))
        assert accounts(both.short) == accounts(both.long)
        assert both.short._lanes.keys() == both.long._lanes.keys()
        assert [gate.since_promoted for gate in both.short._gates] == [
            gate.since_promoted for gate in both.long._gates
        ]
    referee.drain()


def test_a_ticket_that_is_seated_at_once_leaves_nothing_to_wait_for():
    machine = Scheduler(POOL, policy(seats=2))
    assert machine.seat_at_once(Entry(ticket("beta-0", deadline_ms=10)), 0)
    assert dispatched(machine.submit(ticket("acme-0", deadline_ms=10), 0)) == ["acme-0"]
    assert machine.next_due_ms() is None


def test_who_is_at_its_quota_puts_nobody_else_in_line():
    tenants = {"greedy": TenantRule("greedy", quotas={"in_flight": 1})}
    machine = Scheduler(POOL, replace(policy(seats=4), tenants=tenants))
    machine.submit(ticket("greedy-0"), 0)

    assert machine.seat_at_once(Entry(ticket("beta-0")), 0)
    assert dispatched(machine.submit(ticket("acme-0", deadline_ms=10), 0)) == ["acme-0"]
    assert machine.next_due_ms() is None
    assert dispatched(machine.submit(ticket("greedy-1", deadline_ms=10), 0)) == []


def test_time_does_its_part_before_a_ticket_is_seated_at_once():
    machine = Scheduler(POOL, policy())
    machine.boost("acme", 9, 50, 0)

    events = machine.submit(ticket("acme-0"), 50)

    assert [type(event) for event in events] == [BoostEnded, Dispatched]


def test_time_does_its_part_when_the_last_request_ends():
    machine = Scheduler(POOL, policy())
    machine.submit(ticket("acme-0"), 0)
    machine.boost("acme", 9, 50, 0)

    assert machine.finish("acme-0", 100, 50) == [BoostEnded("acme", 50)]


@pytest.mark.parametrize(("prompt", "answer"), [(100, 0), (100, 40), (0, 40), (0, 0)])
def test_a_ticket_is_charged_for_its_prompt_and_for_the_answer_that_is_thought_of(prompt, answer):
    machine = Scheduler(POOL, policy())
    one = msgspec.structs.replace(ticket("acme-0"), prompt_tokens=prompt, completion_tokens=answer)

    entry = Entry(one)
    assert machine.seat_at_once(entry, 0)
    assert entry.cost == (CostRule().of(prompt, answer) or 1)


def test_a_ticket_whose_time_is_up_as_it_comes_is_not_seated():
    machine = Scheduler(POOL, policy())

    events = machine.submit(ticket("acme-0", deadline_ms=50), 50)

    assert [type(event) for event in events] == [Expired]


def test_a_ticket_that_waited_long_elsewhere_may_have_a_reserved_seat_at_once():
    rules = policy(backends=[backend("gpu-0", 2)], classes=CLASSES)
    machine = Scheduler(POOL, rules)
    machine.submit(ticket("acme-0"), 0)
    assert dispatched(machine.submit(ticket("acme-1"), 0)) == []  # the other seat is for better classes
    machine.cancel("acme-1", 0)

    long_ago = ticket("acme-2", queued_ms=0)

    assert dispatched(machine.submit(long_ago, CLASSES["standard"].max_wait_ms)) == ["acme-2"]


def test_a_reserved_seat_is_taken_at_once_by_whom_it_is_kept_for():
    machine = Scheduler(POOL, policy(backends=[backend("gpu-0", 2)], classes=CLASSES))
    machine.submit(ticket("acme-0"), 0)
    for_it = ticket("beta-0", priority_class="interactive", deadline_ms=10)

    assert dispatched(machine.submit(for_it, 0)) == ["beta-0"]
    assert machine.next_due_ms() is None


def test_a_quota_of_seats_that_comes_later_bounds_who_was_seated_without_one():
    machine = Scheduler(POOL, replace(policy(seats=4), tenants={"acme": TenantRule("acme")}))
    machine.submit(ticket("acme-0"), 0)
    tenants = {"acme": TenantRule("acme", quotas={"in_flight": 2})}
    machine.set_policy(replace(machine.policy, revision=2, tenants=tenants), 0)

    assert dispatched(machine.submit(ticket("acme-1"), 0)) == ["acme-1"]
    assert dispatched(machine.submit(ticket("acme-2"), 0)) == []
    assert dispatched(machine.finish("acme-0", 1, 0)) == ["acme-2"]


def test_a_ticket_of_a_suspended_tenant_or_for_no_backend_is_not_seated_at_once():
    machine = Scheduler(POOL, replace(policy(), tenants={"acme": TenantRule("acme", suspended=True)}))

    assert not machine.seat_at_once(Entry(ticket("acme-0")), 0)
    assert not machine.seat_at_once(Entry(ticket("beta-0", model="unknown")), 0)
    assert [type(event) for event in machine.submit(ticket("beta-0", model="unknown"), 0)] == [Stranded]
    assert machine.is_idle


def test_who_comes_while_others_wait_is_not_seated_at_once():
    tenants = {"greedy": TenantRule("greedy", quotas={"in_flight": 1})}
    machine = Scheduler(POOL, replace(policy(seats=4), tenants=tenants))
    assert machine.seat_at_once(Entry(ticket("greedy-0")), 0)
    machine.submit(ticket("greedy-1"), 0)

    assert not machine.seat_at_once(Entry(ticket("acme-0")), 0)
    assert dispatched(machine.submit(ticket("acme-0"), 0)) == ["acme-0"]


def test_a_request_that_runs_is_not_seated_a_second_time_though_there_is_room():
    machine = Scheduler(POOL, policy(seats=4))
    machine.submit(ticket("acme-0"), 0)

    assert not machine.seat_at_once(Entry(ticket("acme-0")), 0)
    with pytest.raises(ValueError, match="acme-0 is already waiting or running"):
        machine.submit(ticket("acme-0"), 0)


def test_who_keeps_its_entry_may_say_twice_that_it_is_over():
    machine = Scheduler(POOL, policy(seats=2))
    over, runs = Entry(ticket("acme-0")), Entry(ticket("acme-1"))
    assert machine.seat_at_once(over, 0)
    assert machine.seat_at_once(runs, 0)
    assert machine.ended(over, 100, 0) == []
    left = machine.view(0)

    assert machine.ended(over, 100, 0) == machine.began(over, 0) == []
    assert machine.view(0) == left
    machine.pause(None, 0)
    machine.submit(ticket("acme-2"), 0)
    assert machine.running() == [runs]


def test_who_is_given_back_is_charged_nothing():
    machine = Scheduler(POOL, policy(seats=2))
    runs = Entry(ticket("acme-0"))
    machine.seat_at_once(runs, 0)
    keys = [key for names in accounts(machine) for _, key, *_ in names]
    machine.submit(ticket("acme-1", cost=900), 0)

    machine.finish("acme-1", 50, 0, refund=True)

    assert [key for names in accounts(machine) for _, key, *_ in names] == keys
