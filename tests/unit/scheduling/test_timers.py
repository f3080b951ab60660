"""What falls due by itself, when, and in which order; and that nothing piles up."""

from __future__ import annotations

from scheduling.core.entry import Entry
from scheduling.core.timers import SLACK, Due, Timers
from tests.unit.scheduling.accounts import LANE, entered
from tests.unit.scheduling.machines import ticket


def entry(place: int = 1, deadline_ms: int | None = None, queued_ms: int = 0) -> Entry:
    one = ticket(f"acme-{place}", deadline_ms=deadline_ms, queued_ms=queued_ms)
    return entered(one, 100, place, LANE)


def test_a_ticket_expires_at_its_deadline_and_is_promoted_so_long_after_it_queued():
    timers = Timers()
    one = entry(deadline_ms=900, queued_ms=100)

    timers.watch(one, 500)

    assert timers.next_ms() == 600
    assert timers.due_ms > 599
    assert list(timers.due(600)) == [(Due.PROMOTE, one)]
    assert timers.next_ms() == 900
    assert list(timers.due(10_000)) == [(Due.EXPIRE, one)]
    assert timers.next_ms() is None
    assert timers.due_ms > 10_000


def test_when_something_may_fall_due_is_known_before_anybody_asks():
    timers = Timers()

    timers.watch(entry(1, queued_ms=100), 700)
    assert timers.due_ms == 800
    timers.unpark_at(entry(3_000), 700)
    assert timers.due_ms == 700
    timers.watch(entry(2, deadline_ms=600), None)
    assert timers.due_ms == 600
    timers.look_at(500)
    assert timers.due_ms == 500


def test_without_deadline_and_bound_nothing_falls_due():
    timers = Timers()

    timers.watch(entry(), None)

    assert timers.next_ms() is None


def test_what_is_due_comes_in_the_order_of_time_then_of_arrival_then_as_listed():
    timers = Timers()
    second, first = entry(2, deadline_ms=50), entry(1, deadline_ms=50)
    timers.unpark_at(first, 50)
    timers.watch(second, 10)
    timers.watch(first, 50)

    assert list(timers.due(50)) == [
        (Due.PROMOTE, second),
        (Due.EXPIRE, first),
        (Due.PROMOTE, first),
        (Due.UNPARK, first),
        (Due.EXPIRE, second),
    ]


def test_who_has_left_falls_due_no_more():
    timers = Timers()
    gone, here = entry(1, deadline_ms=50), entry(2, deadline_ms=50)
    timers.watch(gone, None)
    timers.watch(here, None)

    gone.waiting = False

    assert list(timers.due(50)) == [(Due.EXPIRE, here)]


def test_an_instant_to_look_at_is_due_and_names_nobody():
    timers = Timers()
    timers.look_at(70)

    assert timers.next_ms() == 70
    assert timers.due_ms <= 70
    assert list(timers.due(70)) == []
    assert timers.due_ms > 70


def test_what_was_cleared_falls_due_no_more():
    timers = Timers()
    timers.look_at(70)

    timers.clear()

    assert timers.due_ms > 70
    assert timers.next_ms() is None
    assert list(timers.due(70)) == []
    timers.look_at(90)
    assert timers.next_ms() == 90


def test_tickets_that_have_left_are_swept_when_there_are_many():
    timers = Timers()
    here = entry(1, deadline_ms=5_000)
    timers.watch(here, None)
    timers.look_at(6_000)
    for n in range(SLACK - 1):
        gone = entry(n + 2, deadline_ms=9_000)
        timers.watch(gone, None)
        gone.waiting = False
    assert len(timers._new) == SLACK

    timers.watch(entry(0, deadline_ms=1_000), None)

    assert len(timers._new) == 2
    assert timers.next_ms() == 1_000
    assert [what for what, _ in timers.due(9_000)] == [Due.EXPIRE, Due.EXPIRE]


def test_a_sweep_that_finds_little_lets_twice_as_many_gather_before_the_next():
    timers = Timers()
    for n in range(SLACK + 1):
        timers.watch(entry(n + 1, deadline_ms=1_000 + n), None)
    for n in range(2 * SLACK + 1):
        gone = entry(1_000 + n, deadline_ms=9_000)
        timers.watch(gone, None)
        gone.waiting = False
    assert len(timers._new) == 3 * SLACK + 2

    timers.watch(entry(900, deadline_ms=9_000), None)

    assert len(timers._new) == SLACK + 2
    assert [one.place for _, one in timers.due(5_000)] == list(range(1, SLACK + 2))


def test_after_a_sweep_everything_still_falls_due_in_its_time_and_nothing_before():
    timers = Timers()
    early = entry(900, deadline_ms=5)
    timers.watch(early, None)
    early.waiting = False
    kept = {}
    for n in range(SLACK):
        one = entry(n + 1, deadline_ms=1_000 + n * 37 % 101)
        timers.watch(one, None)  # the last of them sweeps
        one.waiting = n % 3 == 0
        if one.waiting:
            kept[one.place] = 1_000 + n * 37 % 101

    assert len(timers._new) < SLACK
    assert timers.next_ms() == timers.due_ms == min(kept.values())
    assert list(timers.due(999)) == []
    assert [one.place for _, one in timers.due(8_000)] == sorted(kept, key=kept.get)


def test_allowances_of_tickets_that_have_left_are_swept_when_there_are_many():
    timers = Timers()
    timers.unpark_at(entry(1), 5_000)
    timers.look_at(6_000)
    for n in range(SLACK - 2):
        gone = entry(n + 2)
        timers.unpark_at(gone, 9_000)
        gone.waiting = False
    assert len(timers._heap) == SLACK

    timers.unpark_at(entry(0), 1_000)

    assert len(timers._heap) == 3
    assert [one.place for _, one in timers.due(9_000)] == [0, 1]


def test_allowances_that_are_still_to_come_come_in_their_order_after_a_sweep_and_the_next_one_waits():
    timers = Timers()
    here = {n + 1: 1_000 + n * 37 % 101 for n in range(SLACK + 1)}
    for place, at_ms in here.items():
        timers.unpark_at(entry(place), at_ms)  # the last of them sweeps, and finds all of them there
    for n in range(2 * SLACK + 1):
        gone = entry(1_000 + n)
        timers.unpark_at(gone, 10 + n * 53 % 997)
        gone.waiting = False
    assert len(timers._heap) == 3 * SLACK + 2

    timers.unpark_at(entry(900), 2_000)

    assert len(timers._heap) == SLACK + 2
    assert list(timers.due(999)) == []
    assert [one.place for _, one in timers.due(5_000)] == [*sorted(here, key=here.get), 900]
