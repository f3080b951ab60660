"""A backend that has come back, from an outage or a restart, is sent a few requests first."""

from __future__ import annotations

import pytest

from scheduling.core.events import Event
from scheduling.core.limits import Limit
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import POOL, WINDOWED, dispatched, paused_machine, policy, ticket


def broken(made: Scheduler, now_ms: int = 0) -> Scheduler:
    for _ in range(3):
        made.fail("gpu-0", now_ms)
    return made


def test_after_an_outage_a_window_opens_by_one_with_each_first_token():
    made = broken(paused_machine(seats=30, waiting=20, window=4, **WINDOWED))
    made.set_limit(Limit("gpu-0", 4, 30, "read", 0, 1.0, running=0), 0)
    made.resume(None, 0)
    seated = dispatched(made.expire(1_000))
    counts = [len(seated)]
    for _ in range(5):
        seated += dispatched(made.start(seated[len(counts) - 1], 1_100))
        counts.append(len(seated))

    assert counts == [1, 2, 4, 6, 8, 9]
    assert made.view(1_100).backends[0].window == 4


def served(made: Scheduler, request_id: str, now_ms: int) -> list[Event]:
    return made.start(request_id, now_ms) + made.finish(request_id, 10, now_ms)


def test_after_an_outage_a_cap_doubles_with_each_round():
    made = broken(paused_machine(seats=8, waiting=40))
    made.resume(None, 0)
    going, rounds = dispatched(made.expire(1_000)), []
    for _ in range(4):
        rounds.append(len(going))
        going = [name for one in going for name in dispatched(served(made, one, 1_100))]

    assert rounds == [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("running", "law", "steps"),
    [(0, "first_token_window", 3), (None, "first_token_window", 4), (None, "static_cap", 4)],
)
def test_a_slow_start_ends_when_all_that_bounds_the_backend_is_open(running, law, steps):
    made = broken(paused_machine(seats=5, waiting=40, window=3, admission=law))
    made.set_limit(Limit("gpu-0", 3, 5, "read", 0, 1.0, running=running), 0)
    made.resume(None, 0)
    going, seen = dispatched(made.expire(1_000)), []
    for _ in range(steps):
        one = going.pop(0)
        going += dispatched(served(made, one, 1_100))
        seen.append(made.view(1_100).backends[0].slow_start)

    assert seen == [True] * (steps - 1) + [False]
    made.throttle("gpu-0", 1_200)
    assert not made.view(1_200).backends[0].slow_start


def test_a_stream_counts_once_for_the_slow_start():
    made = broken(paused_machine(seats=8, waiting=40))
    made.resume(None, 0)
    made.expire(1_000)
    assert dispatched(made.start("acme-0", 1_001)) == ["acme-1"]  # while the try still holds its seat
    made.start("acme-0", 1_002)
    made.finish("acme-0", 10, 1_002)
    assert made.view(1_002).backends[0].cap == 2
    made.start("acme-1", 1_003)
    made.finish("acme-1", 10, 1_004)

    assert made.view(1_004).backends[0].cap == 3


def test_a_try_that_is_told_twice_begins_no_second_slow_start():
    made = broken(paused_machine(seats=30, waiting=20, window=4, **WINDOWED))
    made.set_limit(Limit("gpu-0", 4, 30, "read", 0, 1.0, running=0), 0)
    made.resume(None, 0)
    made.expire(1_000)
    for name in ("acme-0", "acme-1", "acme-0"):
        made.start(name, 1_100)

    assert made.view(1_100).backends[0].window == 2


def test_a_restarted_engine_is_sent_one_request_first():
    made = paused_machine(seats=30, waiting=20, window=5, **WINDOWED)
    made.set_limit(Limit("gpu-0", 5, 30, "read", 1, 1.0, running=0), 0)
    made.set_limit(Limit("gpu-0", 5, 30, "restarted", 2, 2.0, running=0), 0)

    assert dispatched(made.resume(None, 0)) == ["acme-0"]
    made.set_limit(Limit("gpu-0", 5, 30, "read", 2, 3.0, running=1), 0)
    assert made.view(0).backends[0].window == 1
    reason = made.explain("acme-1", 0).reasons[0]
    assert (reason.code, reason.until_ms) == ("backend_slow_start", None)
    assert reason.text == "backend gpu-0 has just come back and is sent a few requests at a time"


def test_the_first_limit_is_no_restart():
    made = paused_machine(seats=30, waiting=20, window=5, **WINDOWED)
    made.set_limit(Limit("gpu-0", 5, 30, "read", 9, 1.0, running=0), 0)

    assert len(dispatched(made.resume(None, 0))) == 5


def test_a_reading_that_shows_an_answer_at_work_is_a_step_of_the_slow_start():
    made = Scheduler(POOL, policy(seats=30, window=5, **WINDOWED))
    made.set_limit(Limit("gpu-0", 5, 30, "read", 1, 1.0, running=0, running_at_s=1.0), 0)
    made.set_limit(Limit("gpu-0", 5, 30, "restarted", 2, 2.0, running=0, running_at_s=2.0), 0, 0)
    for n in range(9):
        made.submit(ticket(f"acme-{n}", streams=False), 0)
    events = made.set_limit(Limit("gpu-0", 5, 30, "read", 2, 3.0, running=1, running_at_s=3.0), 100, 50)

    assert dispatched(events) == ["acme-1", "acme-2"]
    assert dispatched(made.finish("acme-0", 10, 200)) == ["acme-3"]


def test_a_full_engine_halves_the_step_of_a_slow_start():
    made = paused_machine(seats=30, waiting=20, window=8, **WINDOWED)
    made.set_limit(Limit("gpu-0", 8, 30, "read", 1, 1.0, running=0), 0)
    made.set_limit(Limit("gpu-0", 8, 30, "restarted", 2, 2.0, running=0), 0)
    made.resume(None, 0)
    for n in range(5):
        made.start(f"acme-{n}", 0)
    assert made.view(0).backends[0].window == 6
    made.throttle("gpu-0", 0)
    made.set_limit(Limit("gpu-0", 8, 30, "read", 2, 3.0, running=0), 0)

    assert made.view(0).backends[0].window == 3


def test_a_full_engine_keeps_a_slow_start_that_just_began_at_its_first_step():
    made = paused_machine(seats=30, waiting=20, window=8, **WINDOWED)
    made.set_limit(Limit("gpu-0", 8, 30, "read", 1, 1.0, running=0), 0)
    made.set_limit(Limit("gpu-0", 8, 30, "restarted", 2, 2.0, running=0), 0)
    made.throttle("gpu-0", 0)
    made.set_limit(Limit("gpu-0", 8, 30, "read", 2, 3.0, running=0), 0)

    gate = made.view(0).backends[0]
    assert (gate.window, gate.slow_start) == (1, True)


def test_a_cap_that_is_shut_for_a_reading_ends_no_slow_start():
    made = paused_machine(seats=8, waiting=20, admission="queue_target")
    made.set_limit(Limit("gpu-0", 1, 8, "idle", 1, 1.0), 0)
    made.set_limit(Limit("gpu-0", 1, 0, "restarted", 2, 2.0), 0)
    made.resume(None, 0)

    assert dispatched(made.set_limit(Limit("gpu-0", 1, 8, "idle", 2, 3.0), 0)) == ["acme-0"]
