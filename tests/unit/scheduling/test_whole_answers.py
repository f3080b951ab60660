"""Requests that do not stream: nothing is heard of them until the whole answer comes."""

from __future__ import annotations

from scheduling.core.limits import Limit
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import POOL, dispatched, policy, ticket

SEATS, WINDOW = 12, 3


def machine_with(**more) -> Scheduler:
    return Scheduler(POOL, policy(seats=SEATS, window=WINDOW, admission="first_token_window", **more))


def reading(at_s: int, running: int | None, *, window: int = WINDOW, asked_s: int | None = None) -> Limit:
    """A decision at ``at_s`` on what the engine said when asked, by default a second before."""
    asked = at_s - 1 if asked_s is None else asked_s
    return Limit("gpu-0", window, SEATS, "test", 0, float(at_s), running, float(asked))


def send(machine, name: str, count: int, now_ms: int = 0, *, streams: bool = False) -> list[str]:
    events = []
    for n in range(count):
        events += machine.submit(ticket(f"{name}-{n}", queued_ms=now_ms, streams=streams), now_ms)
    return dispatched(events)


def pending(machine) -> int:
    return machine.view(10**9).backends[0].pending_first_token


def test_a_generic_engine_runs_more_answers_at_once_than_the_window():
    machine = machine_with()

    assert len(send(machine, "acme", 20)) == SEATS
    assert pending(machine) == 0


def test_streams_obey_the_window_beside_answers_that_come_whole():
    machine = machine_with()
    send(machine, "whole", 5)

    assert send(machine, "stream", 5, streams=True) == ["stream-0", "stream-1", "stream-2"]
    assert dispatched(machine.start("stream-1", 1)) == ["stream-3"]


def test_a_window_full_of_streams_holds_an_answer_that_comes_whole_too():
    machine = machine_with()
    send(machine, "stream", WINDOW, streams=True)

    assert send(machine, "whole", 1) == []
    assert dispatched(machine.start("stream-0", 1)) == ["whole-0"]


def test_while_an_engine_is_read_its_window_holds_answers_until_they_come():
    machine = machine_with()
    machine.set_limit(reading(1, running=0), 0, 0)

    assert send(machine, "acme", 6, 10) == ["acme-0", "acme-1", "acme-2"]
    assert dispatched(machine.start("acme-1", 20)) == ["acme-3"]
    assert dispatched(machine.finish("acme-0", 100, 30)) == ["acme-4"]


def test_a_reading_frees_the_window_for_answers_that_are_not_streamed():
    machine = machine_with()
    machine.set_limit(reading(1, running=0), 0, 0)
    send(machine, "acme", 6, 10)

    assert dispatched(machine.set_limit(reading(2, running=2), 1_000, 900)) == ["acme-3", "acme-4"]
    assert pending(machine) == 3
    machine.start("acme-0", 1_100)  # its answer comes: it left the window before
    assert pending(machine) == 3


def test_answers_that_end_between_two_readings_are_followed_by_as_many():
    machine = machine_with()
    machine.set_limit(reading(1, running=0), 0, 0)
    send(machine, "acme", 20, 10)
    machine.set_limit(reading(2, running=3), 1_000, 900)

    after = []
    for n in range(6):
        machine.start(f"acme-{n}", 1_100)
        machine.finish(f"acme-{n}", 100, 1_100)
        after.append(machine.view(1_100).in_flight)

    assert after == [6] * 6  # as many as were seen at work, and the window


def test_a_stream_that_was_sent_earlier_begins_first_and_says_so_itself():
    machine = machine_with()
    machine.set_limit(reading(1, running=0), 0, 0)
    send(machine, "first", 1, 10, streams=True)
    machine.start("first-0", 20)
    send(machine, "stream", 1, 30, streams=True)
    send(machine, "whole", 2, 40)

    machine.finish("first-0", 100, 50)
    assert pending(machine) == 3
    machine.start("stream-0", 60)
    machine.finish("stream-0", 100, 70)
    assert pending(machine) == 1


def test_a_request_that_the_engine_never_had_lets_nobody_begin():
    machine = machine_with()
    machine.set_limit(reading(1, running=0), 0, 0)
    send(machine, "first", 1, 10, streams=True)
    machine.start("first-0", 20)
    send(machine, "whole", 3, 30)

    machine.finish("first-0", 0, 40, refund=True)

    assert pending(machine) == 3


def test_a_reading_says_nothing_of_requests_that_were_dispatched_after_it():
    machine = machine_with()
    machine.set_limit(reading(1, running=0), 0, 0)
    send(machine, "old", 1, 500)
    send(machine, "new", 4, 900)

    assert dispatched(machine.set_limit(reading(2, running=9), 1_000, 900)) == ["new-2"]
    assert pending(machine) == 3


def test_streams_that_run_are_not_taken_for_answers():
    machine = machine_with()
    machine.set_limit(reading(1, running=0), 0, 0)
    send(machine, "stream", 2, 10, streams=True)
    machine.start("stream-0", 20)
    machine.start("stream-1", 20)
    send(machine, "whole", 4, 30)

    assert dispatched(machine.set_limit(reading(2, running=2), 1_000, 900)) == []
    assert dispatched(machine.set_limit(reading(3, running=3), 2_000, 1_900)) == ["whole-3"]


def test_one_reading_frees_no_more_for_being_told_twice():
    machine = machine_with()
    machine.set_limit(reading(1, running=0), 0, 0)
    send(machine, "acme", 6, 10)
    machine.set_limit(reading(2, running=1, asked_s=1), 1_000, 900)
    machine.finish("acme-0", 100, 1_050)

    assert dispatched(machine.set_limit(reading(3, running=1, asked_s=1), 1_100, 900)) == []


def test_who_went_in_before_the_first_reading_stays_out_of_the_window():
    machine = machine_with()
    send(machine, "early", 5)
    machine.set_limit(reading(1, running=0), 0, 0)

    assert pending(machine) == 0
    assert len(send(machine, "late", 5, 10)) == WINDOW
    # Five were in flight before the late ones: a reading of five shows none of those at work.
    assert dispatched(machine.set_limit(reading(2, running=5), 1_000, 900)) == []


def test_when_the_readings_end_only_the_cap_holds_answers():
    machine = machine_with()
    machine.set_limit(reading(1, running=0), 0, 0)
    send(machine, "acme", 20, 10)

    assert len(dispatched(machine.set_limit(reading(20, running=None), 20_000, 900))) == SEATS - WINDOW
    assert pending(machine) == 0


def test_an_engine_without_metrics_that_says_it_is_full_loses_half_its_cap_and_half_its_window():
    machine = machine_with()
    machine.throttle("gpu-0", 0)
    (gate,) = machine.view(0).backends
    assert (gate.window, gate.cap) == (1, 6)

    assert len(send(machine, "acme", 20, 2_000)) == 6


def test_an_engine_that_is_read_keeps_its_cap_when_it_says_it_is_full():
    machine = machine_with()
    machine.set_limit(reading(1, running=0), 0, 0)
    machine.throttle("gpu-0", 0)
    (gate,) = machine.view(0).backends

    assert (gate.window, gate.cap) == (1, SEATS)


def test_only_streams_past_their_first_token_prove_that_a_token_counter_is_frozen():
    machine = machine_with()
    send(machine, "whole", 2)
    send(machine, "stream", 2, streams=True)
    machine.start("stream-0", 1)

    assert machine.view(1).backends[0].streaming == 1
    machine.finish("stream-0", 100, 2)
    machine.finish("stream-1", 100, 2)
    machine.finish("whole-0", 100, 2)
    assert machine.view(2).backends[0].streaming == 0
