"""How long a wait is foretold to be, and how wrong that was."""

from __future__ import annotations

import pytest

from scheduling.core.pace import FORGET_MS, REMEMBER, SMOOTH, Pace


def seated(*times_ms: int) -> Pace:
    pace = Pace()
    for now_ms in times_ms:
        pace.seated(now_ms)
    return pace


@pytest.mark.parametrize("times", [(), (5,)])
def test_fewer_than_two_seats_foretell_nothing(times):
    assert seated(*times).wait_ms(1, 10) is None


def test_a_wait_is_the_place_in_line_times_the_time_per_seat():
    pace = seated(1_000, 1_200)

    assert pace.wait_ms(1, 1_400) == 200
    assert pace.wait_ms(7, 1_400) == 1_400


def test_a_pool_that_seats_nobody_for_a_while_grows_slower():
    pace = seated(0, 100)

    assert pace.wait_ms(1, 100) < pace.wait_ms(1, 900) == 450


def test_seats_of_one_moment_foretell_a_short_wait_not_none():
    assert seated(50, 50).wait_ms(9, 50) == 4


def test_seats_longer_ago_than_a_minute_say_nothing():
    pace = seated(0, 30_000, 40_000)

    assert pace.wait_ms(1, FORGET_MS) == FORGET_MS // 3
    assert pace.wait_ms(1, FORGET_MS + 1) == (FORGET_MS + 1 - 30_000) // 2
    assert pace.wait_ms(1, 40_000 + FORGET_MS) is None
    assert FORGET_MS == 60_000


def test_only_the_latest_seats_count():
    pace = seated(0, *(50_000 + n for n in range(REMEMBER)))

    assert pace.wait_ms(REMEMBER, 50_100) == 100
    assert REMEMBER == 64


def test_nothing_is_said_of_an_error_before_a_foretold_wait_ended():
    assert Pace().error_ms is None


def test_the_error_is_the_mean_distance_of_what_was_foretold():
    pace = Pace()

    pace.learn(100, 160)
    assert pace.error_ms == 60
    pace.learn(100, 80)
    assert pace.error_ms == 40
    pace.learn(50, 50)
    assert pace.error_ms == 26  # a third of the way from 40 to 0, in whole milliseconds downwards


def test_after_a_number_of_waits_the_older_errors_fade():
    pace = Pace()
    for _ in range(SMOOTH):
        pace.learn(0, 0)
    assert SMOOTH == 16

    pace.learn(0, 1600)

    assert pace.error_ms == 100
