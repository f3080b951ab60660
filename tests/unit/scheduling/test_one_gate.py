"""One backend's gate by itself: when it is open, why it is shut, what a throttle and an end do to it."""

from __future__ import annotations

import pytest

from scheduling.core.admission import Gate
from scheduling.core.entry import Entry
from scheduling.core.limits import Limit
from scheduling.core.policy import PoolRule
from tests.unit.scheduling.accounts import LANE, entered
from tests.unit.scheduling.machines import POOL, backend, ticket


def gate(seats: int = 4, window: int = 3, admission: str = "first_token_window", **rules) -> Gate:
    made = Gate("gpu-0")
    pool = PoolRule(POOL, admission=admission, window_requests=window)
    made.obey(backend("gpu-0", seats, **rules), pool, frozenset({"llama"}))
    return made


def entry(number: int = 1, *, streams: bool = True) -> Entry:
    return entered(ticket(f"acme-{number}", streams=streams), 100, number, LANE)


def seated(made: Gate, count: int, *, streams: bool = True, now_ms: int = 0) -> list[Entry]:
    entries = [entry(n, streams=streams) for n in range(count)]
    for each in entries:
        made.seat(each, now_ms)
    return entries


@pytest.mark.parametrize(
    ("in_flight", "started", "hold", "why"),
    [
        (0, 0, 0, ""),
        (0, 0, 9, ""),  # an empty backend is open to every class
        (3, 3, 0, ""),
        (3, 3, 1, "reserved"),
        (2, 2, 1, ""),
        (2, 2, 2, "reserved"),
        (4, 4, 0, "full"),
        (4, 4, 2, "full"),
        (3, 0, 0, "window"),
        (2, 0, 0, ""),
        (2, 0, 1, "reserved"),
        (2, 1, 1, ""),
        (1, 1, 3, "reserved"),
    ],
)
def test_a_gate_is_open_below_its_cap_and_window_less_what_is_held_back(in_flight, started, hold, why):
    made = gate()
    for each in seated(made, in_flight)[:started]:
        made.started(each)

    assert made.why_shut(hold, 0) == why
    assert made.is_open(hold, 0) == (not why)


@pytest.mark.parametrize(("window", "hold", "is_open"), [(0, 0, False), (1, 0, True), (1, 5, True)])
def test_one_place_of_the_window_is_open_to_every_class_unless_there_is_none(window, hold, is_open):
    assert gate(seats=9, window=window).is_open(hold, 0) is is_open


def test_a_gate_without_seats_is_full_though_it_is_empty():
    assert gate(seats=0).why_shut(0, 0) == "full"


def test_where_there_is_no_window_only_seats_count():
    made = gate(window=0, admission="static_cap")
    seated(made, 3)

    assert made.why_shut(0, 0) == ""
    assert made.why_shut(1, 0) == "reserved"


def test_the_most_lasting_cause_is_named_first():
    made = gate(seats=1, draining=True)
    seated(made, 1)
    made.throttle(0)

    assert made.why_shut(0, 0) == "draining"
    made.draining = False
    assert made.why_shut(0, 999) == "left_alone"
    assert made.opens_ms("left_alone") == 1_000
    assert made.why_shut(0, 1_000) == "full"
    assert made.opens_ms("full") is None
    made.gone = True
    assert made.why_shut(0, 1_000) == "draining"
    assert made.view(0).draining


@pytest.mark.parametrize(("admission", "cause"), [("static_cap", "full"), ("first_token_window", "window")])
def test_a_slow_start_is_the_cause_only_while_it_lasts_and_only_below_what_the_rules_allow(admission, cause):
    throttled, slow = (gate(seats=9 if cause == "window" else 3, admission=admission) for _ in range(2))
    for epoch in (1, 2):
        slow.move(Limit("gpu-0", 3, slow.cap, "read", epoch, 1.0, running=0), 0, None)
    throttled.move(Limit("gpu-0", 3, throttled.cap, "read", 1, 1.0, running=0), 0, None)
    throttled.throttle(0)
    seated(throttled, 2)
    assert throttled.why_shut(0, 1_000) == cause

    seated(slow, 2)
    assert slow.why_shut(0, 0) == "slow_start"
    slow.seat(entry(2), 0)

    assert slow.why_shut(0, 0) == cause


def test_a_backend_that_drains_or_left_is_shut_though_it_is_empty():
    drains, left = gate(draining=True), gate()
    left.gone = True

    assert not drains.is_open(0, 0)
    assert not left.is_open(0, 0)
    assert drains.view(0).draining
    assert left.view(0).draining
    assert not gate().view(0).draining


def test_a_throttle_halves_the_window_and_while_nothing_is_read_the_cap_too():
    made = gate(seats=9, window=5)
    seen = []
    for _ in range(4):
        made.throttle(0)
        seen.append((made.window, made.cap))

    assert seen == [(2, 4), (1, 2), (1, 1), (1, 1)]


def test_a_throttle_opens_no_gate_that_was_shut():
    made = gate()
    made.move(Limit("gpu-0", 0, 0, "shut", 0, 1.0), 0, None)
    made.throttle(0)

    assert (made.window, made.cap) == (0, 0)


def test_a_read_engine_keeps_its_cap_and_one_without_window_its_window():
    read, capped = gate(seats=8), gate(seats=8, admission="static_cap")
    read.move(Limit("gpu-0", 6, 8, "read", 0, 1.0, running=0), 0, None)
    capped.move(Limit("gpu-0", 3, 8, "read", 0, 1.0, running=0), 0, None)
    for made in (read, capped):
        made.throttle(0)

    assert (read.window, read.cap) == (3, 8)
    assert (capped.window, capped.cap) == (3, 4)


def test_an_answer_gives_a_step_back_where_the_window_alone_was_halved():
    made = gate(seats=8)
    made.move(Limit("gpu-0", 6, 8, "read", 0, 1.0, running=0), 0, None)
    entries = seated(made, 5)
    made.throttle(0)
    seen = []
    for each in entries:
        made.leave(each, 1)
        seen.append((made.window, made.cap))

    assert seen == [(4, 8), (5, 8), (6, 8), (6, 8), (6, 8)]


def test_an_answer_gives_one_step_back_up_to_what_the_rules_allow_and_a_refund_none():
    made = gate(seats=8, window=4)
    entries = seated(made, 8)
    made.throttle(0)
    assert (made.window, made.cap) == (2, 4)

    made.leave(entries.pop(), 0)
    assert (made.window, made.cap) == (2, 4)
    seen = []
    for _ in range(6):
        made.leave(entries.pop(), 1)
        seen.append((made.window, made.cap))

    assert seen == [(3, 5), (4, 6), (4, 7), (4, 8), (4, 8), (4, 8)]


def test_a_limit_in_force_stays_within_new_rules():
    made = gate(seats=8, window=3)
    made.move(Limit("gpu-0", 5, 6, "read", 0, 1.0), 0, None)

    made.obey(backend("gpu-0", 4), PoolRule(POOL), frozenset())
    assert (made.window, made.cap) == (5, 4)
    made.obey(backend("gpu-0", 9), PoolRule(POOL), frozenset())

    assert (made.window, made.cap) == (5, 6)


def test_the_view_counts_who_is_past_its_first_token():
    made = gate(seats=9, window=9)
    first, second, _ = seated(made, 3)
    whole = entry(9, streams=False)
    made.seat(whole, 0)
    made.started(first)
    made.started(second)

    assert (made.view(0).in_flight, made.view(0).pending_first_token, made.view(0).streaming) == (4, 1, 2)
    made.leave(first, 1)
    made.leave(whole, 1)
    assert (made.view(0).in_flight, made.view(0).pending_first_token, made.view(0).streaming) == (2, 1, 1)
    assert len(made._seated) == 2


def reading(at_s: int, running: int | None) -> Limit:
    return Limit("gpu-0", 9, 9, "read", 0, float(at_s), running, float(at_s))


def read_gate(count: int = 0, now_ms: int = 10) -> tuple[Gate, list[Entry]]:
    """A gate of a read engine, with answers in it that come whole."""
    made = gate(seats=9, window=9)
    made.move(reading(1, 0), 0, 0)
    return made, seated(made, count, streams=False, now_ms=now_ms)


@pytest.mark.parametrize(("running", "pending"), [(0, 4), (1, 3), (3, 1), (4, 0), (7, 0)])
def test_a_reading_takes_as_many_answers_out_of_the_window_as_it_shows_at_work(running, pending):
    made, entries = read_gate(4)

    made.move(reading(2, running), 0, 500)

    assert made.pending == pending
    assert [each.pending for each in entries] == [False] * (4 - pending) + [True] * pending


def test_who_was_dispatched_at_the_time_of_the_reading_or_later_is_not_in_it():
    made, _ = read_gate(2)
    seated(made, 1, streams=False, now_ms=500)
    seated(made, 1, streams=False, now_ms=501)

    made.move(reading(2, 9), 0, 500)

    assert made.pending == 2


def test_those_past_their_first_token_are_what_a_reading_shows_first():
    made, _ = read_gate(3)
    streams = [entry(n) for n in range(20, 23)]
    for each, at_ms in zip(streams, (20, 30, 600), strict=True):
        made.seat(each, at_ms)
        made.started(each)

    made.move(reading(2, 4), 0, 600)  # two streams were there, so two answers are at work

    assert made.pending == 1


def test_a_reading_without_a_time_of_ours_or_older_than_the_last_frees_nobody():
    made, _ = read_gate(3)

    made.move(reading(2, 3), 0, None)
    assert made.pending == 3
    made.move(Limit("gpu-0", 9, 9, "read", 0, 3.0, 3, 2.0), 0, 900)
    assert made.pending == 3
    made.move(Limit("gpu-0", 9, 9, "read", 0, 4.0, 3, 2.5), 0, 900)
    assert made.pending == 0


def test_when_readings_end_all_answers_leave_the_window_and_none_enters_it():
    made, _ = read_gate(3)

    made.move(reading(2, None), 0, None)
    assert made.pending == 0
    seated(made, 2, streams=False)

    assert made.pending == 0
