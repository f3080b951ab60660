"""The control law at its edges: when a decision is news, what is just fresh enough, what is not said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.control import BackendState, OwnCounts
from scheduling.core.limits import Limit
from tests.unit.scheduling.controlled import GPU, HELD_BACK, POOL, Controller, windows

IDLE = OwnCounts()
STATIC = replace(POOL, admission="static_cap")
TIMED = replace(POOL, tpot_target_ms=150)


def decided(state: BackendState) -> float:
    return state.limit().read_at_s


@pytest.mark.parametrize("pool", [POOL, STATIC])
def test_every_reading_is_news_though_its_numbers_are_the_same(pool):
    controller = Controller(pool)

    assert [decided(controller.reads(IDLE)) for _ in range(3)] == [1000.0, 1001.0, 1002.0]


def test_a_restart_is_news_though_its_numbers_are_the_same():
    controller = Controller()
    controller.reads(IDLE, started_at_s=5.0)

    state = controller.reads(IDLE, started_at_s=90.0)

    assert (decided(state), state.limit().window, state.epoch) == (1001.0, 3, 1)


def test_after_the_clock_was_set_back_every_decision_is_news_as_before():
    controller = Controller()
    controller.reads(IDLE)
    before = decided(controller.state)
    controller.now_s -= 3600

    times = [before, *(decided(controller.reads(IDLE)) for _ in range(3))]

    assert times == sorted(set(times))


def test_after_the_clock_was_set_back_an_engine_that_is_silent_is_stale_as_soon_as_ever():
    controller = Controller()
    windows(controller, 4)
    controller.now_s -= 3600

    reasons = [controller.fails().reason.partition(",")[0] for _ in range(12)]

    assert reasons[0] == "limits kept: timeout"
    assert reasons[-1] == "kept"


@pytest.mark.parametrize("pool", [POOL, STATIC])
def test_an_engine_without_metrics_is_decided_once(pool):
    controller = Controller(pool, replace(GPU, engine="openai"))

    states = [controller.hears_nothing() for _ in range(3)]

    assert [decided(state) for state in states] == [1000.0] * 3
    assert states[-1].limit().cap == 64
    assert states[-1].limit().window == (64 if pool is STATIC else 3)


def test_a_static_cap_says_so_for_every_engine():
    assert Controller(STATIC, replace(GPU, engine="openai")).hears_nothing().reason == "static cap"
    assert Controller(STATIC).reads().reason == "static cap"
    assert Controller(STATIC).fails().reason == "static cap; timeout"


def test_a_failed_reading_is_no_news_until_the_stale_rule_changes_something():
    controller = Controller()
    windows(controller, 4)  # 14, at 1003

    states = [controller.fails() for _ in range(12)]

    # The end of the readings is news at 1014, when the last is more than ten seconds old.
    assert [decided(state) for state in states] == [1003.0] * 10 + [1014.0] * 2
    assert states[9].limit().window == 14
    assert states[10].limit().window == 6


def test_new_rules_are_news_for_an_engine_that_was_never_read():
    controller = Controller()
    assert decided(controller.fails()) == decided(controller.fails()) == 1000.0

    controller.pool = replace(POOL, window_requests=5)

    assert decided(controller.fails()) == 1002.0


def test_limits_are_kept_for_as_long_as_a_reading_is_fresh_enough():
    controller = Controller()
    windows(controller, 3)

    reasons = [controller.fails().reason for _ in range(11)]

    assert reasons[9] == "limits kept: timeout"
    assert reasons[10] == "kept, no reading for 11 s: timeout"


def test_an_engine_that_was_never_read_says_so():
    assert Controller().fails().reason == "kept, never read: timeout"


@pytest.mark.parametrize(("age_s", "error"), [(10.0, ""), (10.5, "old: the reading is 10 s old")])
def test_a_reading_may_be_ten_seconds_old(age_s, error):
    controller = Controller()

    assert controller.reads(read_at_s=controller.now_s - age_s).error == error


def test_a_page_may_stand_still_for_ten_seconds():
    controller = Controller()
    controller.reads(HELD_BACK, work_total=7)

    errors = [controller.reads(HELD_BACK, work_total=7).error for _ in range(11)]

    assert errors[9] == ""
    assert errors[10] == "frozen: nothing counted for 11 s while requests stream"


def test_a_page_that_counts_nothing_at_all_is_not_frozen():
    controller = Controller()

    assert {controller.reads(HELD_BACK, work_total=None).error for _ in range(30)} == {""}


def test_a_page_that_says_nothing_of_its_queue_is_a_reading_and_moves_nothing():
    state = Controller().reads(HELD_BACK, waiting=None)

    assert (state.error, state.reason) == ("", "window holds")
    assert Controller().reads(HELD_BACK, running=None).error == ""


@pytest.mark.parametrize(("later_s", "epoch"), [(0.5, 0), (1.0, 0), (1.5, 1)])
def test_two_readings_of_one_process_start_may_differ_by_a_second(later_s, epoch):
    controller = Controller()
    controller.reads(started_at_s=100.0)

    assert controller.reads(started_at_s=100.0 + later_s).epoch == epoch


@pytest.mark.parametrize(("token_s", "cap"), [(0.15, 64), (0.1501, 57)])
def test_token_times_are_held_against_the_target_to_the_tenth_of_a_millisecond(token_s, cap):
    assert Controller(TIMED).reads(output_token_s=token_s).limit().cap == cap


def test_token_times_count_only_with_a_target_and_only_when_they_are_new():
    assert Controller().reads(output_token_s=9.0).limit().cap == 64
    controller = Controller(TIMED)
    assert controller.reads(output_token_s=0.2).limit().cap == 57

    assert controller.reads(output_token_s=None).limit().cap == 57


def test_the_cap_does_not_rise_before_a_gateway_has_told_its_counts():
    controller = Controller(TIMED)
    controller.reads(output_token_s=0.9)

    states = [controller.reads(None, output_token_s=0.001) for _ in range(30)]

    assert states[-1].limit().cap <= 57


def test_a_cap_that_was_cut_begins_anew_after_a_time_of_static_caps():
    controller = Controller(TIMED)
    controller.reads(output_token_s=0.9)
    controller.pool = replace(TIMED, admission="static_cap")
    controller.reads()
    controller.pool = TIMED

    assert controller.reads().limit().cap == 64


def test_a_window_of_one_begins_anew_after_a_time_of_another_law():
    controller = Controller(replace(POOL, window_requests=1))
    windows(controller, 3)
    controller.pool = replace(STATIC, window_requests=1)
    controller.reads()
    controller.pool = replace(POOL, window_requests=1)

    assert controller.reads(IDLE).limit().window == 1


def test_what_a_limit_does_not_say_is_zero():
    assert Limit("gpu-0", 1, 1, "") == Limit("gpu-0", 1, 1, "", 0, 0.0, None, 0.0)


def test_a_new_backends_state_begins_with_nothing_read_and_nothing_decided():
    state = BackendState("gpu-0", 3.0, 64.0, 3, 64, "new backend")

    assert (state.epoch, state.rule_window, state.rule_cap) == (0, 0, 0)
    assert (state.ticked_at_s, state.decided_at_s, state.read_at_s) == (0.0, 0.0, 0.0)
    assert (state.moved_at_s, state.stored_at_s) == (0.0, 0.0)
    assert (state.down, state.signal_at_s) == (False, 0.0)
    assert OwnCounts() == OwnCounts(0, 0, blocked=False, streaming=0, answered=0, answer_ms=0)
