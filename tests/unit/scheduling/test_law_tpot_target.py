"""Law tpot_target: the cap follows the time per output token, and nothing else does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.backend_state import OwnCounts
from tests.unit.scheduling.controlled import GPU, HELD_BACK, POOL, Controller

TIMED = replace(POOL, admission="tpot_target")
QUIET = OwnCounts()


def caps(controller: Controller, times: int, **said) -> list[int]:
    return [controller.reads(**said).limit().cap for _ in range(times)]


def test_tokens_slower_than_150_ms_cut_the_cap_by_a_tenth_and_faster_ones_give_one_back():
    controller = Controller(TIMED)

    assert caps(controller, 3, output_token_s=0.1501) == [57, 51, 46]
    assert caps(controller, 3, output_token_s=0.01) == [47, 48, 49]


@pytest.mark.parametrize(
    ("target_ms", "token_s", "cap"), [(None, 0.15, 64), (200, 0.19, 64), (100, 0.11, 57)]
)
def test_the_target_is_the_pools_else_150_ms(target_ms, token_s, cap):
    assert caps(Controller(replace(TIMED, tpot_target_ms=target_ms)), 1, output_token_s=token_s) == [cap]


def test_there_is_no_window_and_no_grant():
    limit = Controller(TIMED).reads(waiting=900, output_token_s=0.2).limit()

    assert (limit.window, limit.cap, limit.grant) == (57, 57, None)


def test_a_long_queue_in_the_engine_moves_nothing_while_tokens_are_fast():
    assert caps(Controller(TIMED), 20, waiting=900, output_token_s=0.05) == [64] * 20


def test_each_move_has_its_reason():
    controller = Controller(TIMED)

    reasons = [controller.reads(output_token_s=said).reason for said in (0.2, 0.01, 0.01)]
    resting = controller.reads(QUIET, output_token_s=0.01).reason

    assert reasons[0] == "200 ms per token, target 150: cap cut"
    assert reasons[1] == "143 ms per token, target 150: cap raised"
    assert resting == "75 ms per token, target 150: cap holds"


def test_the_cap_rises_only_when_it_held_something_back():
    controller = Controller(TIMED)
    caps(controller, 1, output_token_s=0.3)

    assert caps(controller, 9, own=QUIET, output_token_s=0.001)[-1] <= 57
    assert caps(controller, 9, own=None, output_token_s=0.001)[-1] <= 57


def test_a_page_that_says_idle_while_our_requests_stream_raises_nothing():
    controller = Controller(TIMED)
    caps(controller, 1, output_token_s=0.2)

    assert caps(controller, 9, running=0, output_token_s=0.001) == [57] * 9


def test_an_idle_engine_without_new_tokens_holds_its_cap():
    controller = Controller(TIMED)
    caps(controller, 1, output_token_s=0.2)

    states = [controller.reads(QUIET, running=0) for _ in range(30)]

    assert {(state.limit().cap, state.error) for state in states} == {(57, "")}
    assert states[-1].reason == "no tokens since the last reading: cap holds"


def test_tokens_without_a_time_for_ten_seconds_are_a_missing_reading():
    controller = Controller(replace(TIMED, stale="closed"))
    caps(controller, 1, output_token_s=0.2)

    states = [controller.reads(HELD_BACK) for _ in range(12)]

    assert [state.limit().cap for state in states] == [57] * 10 + [0] * 2
    assert states[0].error == "blind: no time per output token while requests stream"


@pytest.mark.parametrize(("stale", "cap"), [("keep", 57), ("open", 64), ("closed", 0)])
def test_without_readings_the_stale_rule_holds(stale, cap):
    controller = Controller(replace(TIMED, stale=stale))
    caps(controller, 1, output_token_s=0.2)

    limits = [controller.fails().limit() for _ in range(12)]

    assert [limit.cap for limit in limits] == [57] * 10 + [cap] * 2


def test_without_readings_a_cap_stays_within_a_smaller_rule():
    controller = Controller(TIMED)
    caps(controller, 1, output_token_s=0.2)
    controller.backend = replace(GPU, max_in_flight=8)

    assert [controller.fails().limit().cap for _ in range(12)] == [8] * 12


def test_a_cut_cap_stays_cut_when_the_rule_gives_more():
    controller = Controller(TIMED)
    caps(controller, 1, output_token_s=0.2)
    controller.backend = replace(GPU, max_in_flight=100)

    assert caps(controller, 1, own=QUIET, output_token_s=0.01) == [57]


def test_a_cap_that_was_not_cut_follows_its_rule_both_ways():
    controller = Controller(TIMED)
    assert caps(controller, 1, own=QUIET) == [64]
    controller.backend = replace(GPU, max_in_flight=100)
    assert caps(controller, 1, own=QUIET) == [100]
    controller.backend = GPU

    assert caps(controller, 1, own=QUIET) == [64]


def test_a_restart_gives_the_whole_cap_back():
    controller = Controller(TIMED)
    caps(controller, 5, output_token_s=0.9, started_at_s=5.0)

    state = controller.reads(QUIET, started_at_s=90.0)

    assert state.limit().cap == 64
    assert state.output_token_s is None
    assert state.reason == "engine restarted; no tokens since the last reading: cap holds"


def test_another_law_begins_with_its_own_cap():
    controller = Controller(TIMED)
    caps(controller, 9, output_token_s=0.9)
    controller.pool = replace(TIMED, admission="gradient")
    assert controller.reads(QUIET).limit().cap == 20
    controller.pool = TIMED

    assert caps(controller, 1, own=QUIET) == [64]
