"""How many may go in, and where: seats, windows, limits, pauses, routes."""

from __future__ import annotations

from dataclasses import replace

from scheduling.core.events import Expired, Stranded
from scheduling.core.limits import Limit
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import POOL, WINDOWED, backend, dispatched, policy, ticket


def where(events) -> dict[str, str]:
    return {event.ticket.request_id: event.backend for event in events}


def submit_all(machine, names, now_ms=0, **fields):
    return [event for name in names for event in machine.submit(ticket(name, **fields), now_ms)]


def names(count: int) -> list[str]:
    return [f"acme-{n}" for n in range(count)]


def test_the_window_opens_at_the_first_token_and_the_cap_at_the_end():
    machine = Scheduler(POOL, policy(seats=4, window=2, **WINDOWED))

    assert dispatched(submit_all(machine, names(8))) == ["acme-0", "acme-1"]
    assert dispatched(machine.start("acme-0", 1)) == ["acme-2"]
    assert dispatched(machine.start("acme-1", 1)) == ["acme-3"]
    assert dispatched(machine.start("acme-2", 1)) == []
    assert dispatched(machine.finish("acme-0", 100, 2)) == ["acme-4"]


def test_a_first_token_is_counted_once():
    machine = Scheduler(POOL, policy(seats=9, window=1, **WINDOWED))
    submit_all(machine, names(5))
    machine.start("acme-0", 1)

    assert machine.start("acme-0", 1) == []
    assert machine.view(1).backends[0].pending_first_token == 1


def test_a_request_that_ends_without_a_first_token_leaves_the_window_too():
    machine = Scheduler(POOL, policy(seats=9, window=1, **WINDOWED))
    submit_all(machine, names(3))

    assert dispatched(machine.finish("acme-0", 0, 1, refund=True)) == ["acme-1"]


def test_static_cap_looks_at_seats_alone():
    machine = Scheduler(POOL, policy(seats=4, window=1))

    assert len(dispatched(submit_all(machine, names(8)))) == 4


def test_a_limit_acts_at_once_and_never_exceeds_the_backends_seats():
    machine = Scheduler(POOL, policy(seats=4))
    submit_all(machine, names(9))

    assert dispatched(machine.set_limit(Limit("gpu-0", 9, 99, "room", 0, 1.0), 0)) == []
    assert machine.view(0).backends[0].cap == 4
    machine.set_limit(Limit("gpu-0", 9, 2, "slow", 0, 2.0), 0)
    assert machine.finish("acme-0", 1, 0) == machine.finish("acme-1", 1, 0) == []
    assert dispatched(machine.finish("acme-2", 1, 0)) == ["acme-4"]


def test_only_a_newer_limit_counts():
    machine = Scheduler(POOL, policy(seats=8))
    machine.set_limit(Limit("gpu-0", 5, 5, "new", 1, 10.0), 0)
    machine.set_limit(Limit("gpu-0", 7, 7, "same reading", 1, 10.0), 0)
    machine.set_limit(Limit("gpu-0", 6, 6, "older epoch", 0, 99.0), 0)

    assert machine.view(0).backends[0].cap == 5
    machine.set_limit(Limit("gpu-0", 4, 4, "after a restart", 2, 1.0), 0)
    assert machine.view(0).backends[0].cap == 1  # it starts slowly


def test_a_limit_outlives_a_change_of_policy():
    machine = Scheduler(POOL, policy(seats=8))
    machine.set_limit(Limit("gpu-0", 2, 5, "slow", 0, 1.0), 0)
    machine.set_policy(policy(seats=3, revision=2), 0)
    assert machine.view(0).backends[0].cap == 3
    machine.set_policy(policy(seats=30, revision=3), 0)

    assert machine.view(0).backends[0].cap == 5


def test_a_full_engine_is_left_alone_for_a_second_and_then_asked_for_less():
    machine = Scheduler(POOL, policy(seats=32, window=8, **WINDOWED))
    submit_all(machine, names(20))
    machine.throttle("gpu-0", 1_000)
    machine.finish("acme-0", 0, 1_000, refund=True)

    assert machine.next_due_ms() == 2_000
    assert machine.view(1_000).backends[0].window == 4
    for n in range(1, 8):
        assert machine.start(f"acme-{n}", 1_999) == []
    assert len(dispatched(machine.expire(2_000))) == 4


def test_answers_give_a_throttled_window_back_step_by_step():
    machine = Scheduler(POOL, policy(seats=32, window=8, **WINDOWED))
    submit_all(machine, names(4))
    machine.throttle("gpu-0", 0)

    machine.finish("acme-0", 0, 5_000, refund=True)
    assert machine.view(5_000).backends[0].window == 4
    machine.finish("acme-1", 10, 5_000)
    assert machine.view(5_000).backends[0].window == 5


def test_where_there_is_no_window_a_full_engine_halves_the_cap():
    machine = Scheduler(POOL, policy(seats=9))
    for _ in range(6):
        machine.throttle("gpu-0", 0)

    assert machine.view(0).backends[0].cap == 1


def test_the_next_request_goes_where_fewest_wait_for_a_first_token_then_where_there_is_most_room():
    machine = Scheduler(
        POOL, policy(backends=[backend("big", 10), backend("small", 2)], window=3, **WINDOWED)
    )
    first = where(submit_all(machine, names(2)))
    for name in first:
        machine.start(name, 0)

    assert first == {"acme-0": "big", "acme-1": "small"}
    assert where(submit_all(machine, ["beta-0"])) == {"beta-0": "big"}  # 1 of 10 beats 1 of 2
    assert where(submit_all(machine, ["beta-1"])) == {"beta-1": "small"}  # none pending beats one


def test_a_retry_avoids_the_backend_that_failed_it_and_blocks_nobody_meanwhile():
    machine = Scheduler(POOL, policy(backends=[backend("gpu-0"), backend("gpu-1")]))
    submit_all(machine, names(2))
    machine.submit(ticket("acme-9", attempt=2, avoid=frozenset({"gpu-0"})), 0)
    machine.submit(ticket("acme-3"), 0)

    assert where(machine.finish("acme-0", 1, 0)) == {"acme-3": "gpu-0"}
    assert where(machine.finish("acme-1", 1, 0)) == {"acme-9": "gpu-1"}


def test_a_retry_goes_back_when_no_other_backend_remains():
    rules = policy(backends=[backend("gpu-0", 2), backend("gpu-1", draining=True)])
    machine = Scheduler(POOL, rules)

    events = machine.submit(ticket("acme-0", attempt=2, avoid=frozenset({"gpu-0"})), 0)

    assert where(events) == {"acme-0": "gpu-0"}


def test_a_retry_goes_back_as_soon_as_the_other_backend_is_shut():
    machine = Scheduler(POOL, policy(backends=[backend("gpu-0"), backend("gpu-1")]))
    machine.submit(ticket("beta-0"), 0)
    machine.submit(ticket("beta-1"), 0)
    machine.submit(ticket("acme-0", attempt=2, avoid=frozenset({"gpu-0"})), 0)
    machine.finish("beta-0", 1, 0)

    assert machine.is_waiting("acme-0")
    assert where(machine.set_limit(Limit("gpu-1", 0, 0, "no reading", 0, 1.0), 0)) == {"acme-0": "gpu-0"}


def test_one_full_model_blocks_no_other():
    rules = policy(backends=[backend("gpu-0", 1, ("llama",)), backend("gpu-1", 1, ("qwen",))])
    machine = Scheduler(POOL, rules)
    submit_all(machine, names(5))

    assert where(machine.submit(ticket("acme-q", model="qwen"), 0)) == {"acme-q": "gpu-1"}


def test_a_model_that_was_shut_for_long_does_not_take_over_what_it_shares():
    rules = policy(backends=[backend("gpu-0", 1, ("llama",)), backend("gpu-1", 1, ("llama", "qwen"))])
    machine = Scheduler(POOL, rules)
    machine.submit(ticket("beta-0"), 0)
    machine.submit(ticket("beta-1"), 0)
    machine.set_limit(Limit("gpu-1", 0, 0, "no reading", 0, 1.0), 0)
    for n in range(400):
        machine.submit(ticket(f"late-{n}", model="qwen", cost=100_000), 0)
    running = "beta-0"
    for n in range(2, 402):
        machine.submit(ticket(f"beta-{n}", cost=100_000), 0)
        (running,) = dispatched(machine.finish(running, 100_000, 0))
    for n in range(402, 500):
        machine.submit(ticket(f"beta-{n}", cost=100_000), 0)
    machine.finish("beta-1", 100, 0)

    seats = dispatched(machine.set_limit(Limit("gpu-1", 3, 3, "back", 0, 2.0), 0))
    for _ in range(20):
        seats += dispatched(machine.finish(seats[-1], 100_000, 0))

    assert sum(name.startswith("beta") for name in seats) >= 5


def test_a_backend_that_lists_no_model_serves_all_of_its_pool():
    rules = policy(backends=[backend("gpu-0", 2, ())])
    machine = Scheduler(POOL, replace(rules, models={"llama": POOL, "elsewhere": "other"}))
    stranger = ticket("acme-1", model="elsewhere")

    assert where(machine.submit(ticket("acme-0"), 0)) == {"acme-0": "gpu-0"}
    assert machine.submit(stranger, 0) == [Stranded(stranger, 0)]


def test_a_backend_that_left_keeps_its_seats_counted_until_they_are_free():
    machine = Scheduler(POOL, policy(seats=2))
    submit_all(machine, names(2))
    machine.set_policy(policy(backends=[backend("gpu-1")], revision=2), 0)

    assert {gate.backend: gate.in_flight for gate in machine.view(0).backends} == {"gpu-0": 2, "gpu-1": 0}
    machine.set_policy(policy(seats=2, revision=3), 0)
    assert machine.submit(ticket("acme-2"), 0) == []
    machine.set_policy(policy(backends=[backend("gpu-1")], revision=4), 0)
    machine.finish("acme-0", 1, 0)
    machine.finish("acme-1", 1, 0)
    assert [gate.backend for gate in machine.view(0).backends] == ["gpu-1"]


def test_a_backend_that_left_goes_by_the_rules_that_it_had_last():
    machine = Scheduler(POOL, policy(seats=8, window=3, **WINDOWED))
    submit_all(machine, names(1))
    machine.set_limit(Limit("gpu-0", 3, 6, "read", epoch=0, read_at_s=1.0), 0)
    machine.set_limit(Limit("gpu-0", 3, 6, "restarted", epoch=1, read_at_s=1.0, running=0), 0)
    left = machine.view(0).backends[0]
    assert (left.window, left.cap, left.slow_start) == (1, 6, True)  # the window alone starts slowly

    machine.set_policy(policy(backends=[backend("gpu-1")], revision=2), 0)

    assert replace(machine.view(0).backends[0], draining=False) == left


def test_a_gate_says_that_work_waited_for_it_until_a_new_period_begins():
    machine = Scheduler(POOL, policy(seats=1))
    submit_all(machine, names(2))
    machine.finish("acme-0", 1, 0)

    assert machine.view(0).backends[0].blocked
    assert machine.view(0).backends[0].blocked  # whoever only looks takes nothing away
    assert machine.begin_period(0)[0].blocked
    assert not machine.view(0).backends[0].blocked
    assert not machine.begin_period(0)[0].blocked


def test_a_ticket_leaves_the_line_at_its_deadline():
    machine = Scheduler(POOL, policy())
    machine.submit(ticket("acme-0"), 0)
    late = ticket("acme-1", deadline_ms=500)
    machine.submit(late, 0)

    assert machine.next_due_ms() == 500
    assert machine.expire(499) == []
    assert machine.finish("acme-0", 1, 500) == [Expired(late, 500)]


def test_the_view_tells_each_tenants_line_and_what_it_is_entitled_to():
    machine = Scheduler(POOL, policy(weights={"acme": 3, "beta": 1, "idle": 5}))
    machine.submit(ticket("acme-0"), 0)
    machine.submit(ticket("acme-1", cost=40, queued_ms=10), 10)
    machine.submit(ticket("beta-0", cost=60, priority_class="batch", queued_ms=20), 20)

    acme, beta = machine.view(110).tenants

    assert (acme.queued, acme.queued_tokens, acme.in_flight, acme.oldest_wait_ms) == (1, 40, 1, 100)
    assert (beta.queued, beta.queued_tokens, beta.in_flight, beta.oldest_wait_ms) == (1, 60, 0, 90)
    assert (acme.entitled, beta.entitled) == (0.75, 0.25)
    assert beta.classes == ("batch",)
