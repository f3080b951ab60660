"""What an engine takes in flight, learnt from its queue."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.control import OwnCounts
from tests.unit.scheduling.controlled import POOL, Controller

TARGET = POOL.engine_queue_target_requests


def held(in_flight: int, *, blocked: bool = True, streaming: int = 0) -> OwnCounts:
    return OwnCounts(pending=3, in_flight=in_flight, blocked=blocked, streaming=streaming)


def learnt(running: int = 8, waiting: int = 4) -> Controller:
    """A controller that has seen a queue over the target at an engine with ``running`` seats."""
    controller = Controller()
    controller.reads(held(running + waiting), running=running, waiting=waiting)
    return controller


def test_until_a_queue_was_too_long_the_cap_is_the_rules():
    controller = Controller()

    caps = [controller.reads(held(11), running=8, waiting=n).given_cap for n in range(TARGET + 1)]

    assert caps == [64] * (TARGET + 1)


def test_a_queue_over_the_target_bounds_what_is_in_flight_to_what_runs_and_the_target():
    state = learnt(running=8, waiting=4).state

    assert state.given_cap == 8 + TARGET
    assert "seen to take 11 at most" in state.reason


def test_one_reading_takes_away_no_more_than_a_fifth():
    controller = Controller()

    caps = [controller.reads(held(64), running=8, waiting=56).given_cap for _ in range(3)]

    assert caps == [51, 40, 32]


def test_what_others_run_there_is_not_ours():
    controller = Controller()

    state = controller.reads(held(20), running=32, waiting=4)

    assert state.given_cap == 32 - 16 + TARGET


def test_requests_that_are_on_their_way_to_the_engine_do_not_run_yet():
    controller = Controller()

    assert controller.reads(held(13), running=8, waiting=4).given_cap == 8 + TARGET


def test_an_engine_with_room_for_one_is_tried_with_two():
    controller = Controller(replace(POOL, engine_queue_target_requests=0))
    state = controller.reads(held(1), running=1, waiting=1)
    assert (state.given_cap, state.room) == (1, 1)
    assert "seen to take 1 at most" in state.reason

    assert controller.reads(held(1), running=1).given_cap == 2


def test_room_that_is_no_less_than_the_cap_is_not_told():
    state = Controller().reads(held(65), running=61, waiting=4)

    assert (state.room, state.given_cap) == (64, 64)
    assert "seen to take" not in state.reason


def test_an_engine_that_runs_all_it_got_gets_as_many_more_as_may_wait():
    controller = learnt(running=8)

    assert controller.reads(held(11), running=11).given_cap == 11 + TARGET
    assert controller.reads(held(14), running=14).given_cap == 14 + TARGET


def test_a_big_engine_gets_an_eighth_more():
    controller = learnt(running=40, waiting=8)

    assert controller.reads(held(43), running=43).given_cap == 43 + 43 // 8


def test_room_that_is_used_up_without_a_queue_grows_by_one_at_least():
    controller = learnt(running=8)

    assert controller.reads(held(11), running=3).given_cap == 12


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (held(11, blocked=False), {"running": 11}),  # nobody was held back
        (held(9), {"running": 5}),  # the window held work back, not the room
        (held(11), {"running": 8, "waiting": 1}),  # some wait
        (held(11), {"running": 8, "waiting": None}),  # of the queue nothing is said
        (held(11, streaming=5), {"running": 0}),  # the page is wrong or late
    ],
)
def test_nothing_else_makes_room(own, said):
    controller = learnt(running=8)

    assert controller.reads(own, **said).given_cap == 11


def test_where_the_room_holds_work_back_the_window_does_not_grow():
    controller = learnt(running=8)
    before = controller.state.window

    for _ in range(3):
        assert controller.reads(held(int(controller.state.room)), running=9).window == before
    assert controller.reads(held(9), running=9).window > before


def test_lost_readings_keep_the_room_and_a_restart_forgets_it():
    controller = learnt(running=8)
    kept = [controller.fails(own=held(11)).given_cap for _ in range(20)]

    again = controller.reads(held(0, blocked=False), running=0, work_total=0)

    assert kept == [11] * 20
    assert (again.given_cap, again.room) == (64, 0)


def test_a_gate_that_is_closed_without_readings_makes_no_room():
    controller = learnt(running=8)
    controller.pool = replace(POOL, stale="closed")

    state = [controller.fails(own=held(11)) for _ in range(20)][-1]

    assert (state.given_window, state.given_cap) == (0, 11)


def test_room_is_never_less_than_the_target_and_one_nor_more_than_the_cap():
    small = Controller()
    big = Controller(replace(POOL, engine_queue_target_requests=0))

    assert [small.reads(held(4), running=0, waiting=9).given_cap for _ in range(9)][-1] == TARGET + 1
    assert [big.reads(held(90), running=90, waiting=9).given_cap for _ in range(9)][-1] == 64


def test_without_word_from_gateways_nothing_is_learnt():
    controller = Controller()

    assert controller.reads(None, running=8, waiting=40).given_cap == 64
