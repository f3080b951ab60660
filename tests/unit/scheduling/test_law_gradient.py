"""Law gradient: the cap follows our own times to the first token, as Gradient2 does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.backend_state import OwnCounts
from tests.unit.scheduling.controlled import GPU, POOL, Controller

GRADIENT = replace(POOL, admission="gradient", stale="closed")
HUGE = replace(GPU, max_in_flight=1000)


def answers(each_ms: int, *, number: int = 10, in_flight: int = 200) -> OwnCounts:
    return OwnCounts(in_flight=in_flight, answered=number, answer_ms=each_ms * number)


def cap_after(controller: Controller, own: OwnCounts | None, times: int = 1) -> float:
    for _ in range(times):
        state = controller.reads(own)
    return state.cap


def test_it_begins_with_twenty_and_grows_to_two_hundred_while_times_stay_as_they_are():
    controller = Controller(GRADIENT, HUGE)

    assert cap_after(controller, None) == 20
    assert cap_after(controller, answers(100)) == pytest.approx(20.8)  # + 0.2 x 4
    assert cap_after(controller, answers(100)) == pytest.approx(21.6)
    assert cap_after(controller, answers(100), 300) == 200


@pytest.mark.parametrize("slower", [1, 1.5])
def test_times_within_one_and_a_half_of_the_long_run_are_no_queue(slower):
    controller = Controller(GRADIENT, HUGE)
    cap_after(controller, answers(1000, number=600))

    # One answer hardly moves the long run, so the tolerance of 1.5 just covers it.
    assert cap_after(controller, answers(int(1000 * slower), number=1)) == pytest.approx(21.6)


def test_slower_first_tokens_cut_the_cap_by_their_ratio():
    controller = Controller(GRADIENT, HUGE)
    cap_after(controller, answers(1000), 100)
    before = controller.state.cap
    long_ms = 1000 + (2000 - 1000) * (1 - (1 - 2 / 601) ** 10)

    gradient = 1.5 * long_ms / 2000
    assert cap_after(controller, answers(2000)) == pytest.approx(0.8 * before + 0.2 * (gradient * before + 4))
    assert controller.state.answer_ms == pytest.approx(long_ms)
    assert f"in the long run {long_ms:.0f}: gradient {gradient:.2f}" in controller.state.reason


def test_however_slow_they_are_a_step_takes_a_tenth_at_most_and_twenty_stay():
    controller = Controller(GRADIENT, HUGE)
    cap_after(controller, answers(100), 100)
    before = controller.state.cap

    assert cap_after(controller, answers(100_000, number=1)) == pytest.approx(0.9 * before + 0.8)
    for each_ms in range(200_000, 4_000_000, 100_000):
        after = cap_after(controller, answers(each_ms, number=1))
    assert after == 20


def test_half_of_the_cap_must_be_in_use():
    controller = Controller(GRADIENT, HUGE)

    assert cap_after(controller, answers(100, in_flight=9)) == 20
    assert "cap holds, half of it is free" in controller.state.reason
    assert controller.state.answer_ms == 100
    assert cap_after(controller, answers(100, in_flight=10)) == pytest.approx(20.8)


def test_a_long_run_of_more_than_twice_the_present_is_let_down():
    controller = Controller(GRADIENT, HUGE)
    cap_after(controller, answers(1000))

    kept = (1 - 2 / 601) ** 10
    cap_after(controller, answers(100))
    assert controller.state.answer_ms == pytest.approx(0.95 * (kept * 1000 + (1 - kept) * 100))

    more = Controller(GRADIENT, HUGE)
    cap_after(more, answers(1000, number=1))
    cap_after(more, answers(400, number=1))
    assert more.state.answer_ms == pytest.approx(0.95 * (1000 - 600 * 2 / 601))

    double = Controller(GRADIENT, HUGE)
    cap_after(double, answers(1000, number=1))
    cap_after(double, answers(700, number=1))
    assert double.state.answer_ms == pytest.approx(1000 - 300 * 2 / 601)


@pytest.mark.parametrize("own", [None, OwnCounts(in_flight=50), OwnCounts(in_flight=50, answered=3)])
def test_without_answers_the_cap_holds(own):
    controller = Controller(GRADIENT, HUGE)
    cap_after(controller, answers(100), 5)
    before = controller.state.cap

    assert cap_after(controller, own, 5) == before
    assert controller.state.reason == "no first tokens since the last step: cap holds"


def test_a_single_answer_of_a_millisecond_counts():
    controller = Controller(GRADIENT, HUGE)

    assert cap_after(controller, answers(1, number=1)) == pytest.approx(20.8)
    assert controller.state.answer_ms == 1


def test_a_backend_that_takes_fewer_has_no_more():
    controller = Controller(GRADIENT, replace(GPU, max_in_flight=8))

    assert cap_after(controller, None) == 8
    assert cap_after(controller, answers(100), 9) == 8
    assert controller.state.limit().window == 8

    thirty = Controller(GRADIENT, replace(GPU, max_in_flight=30))
    assert [cap_after(thirty, answers(100), 50) for _ in range(3)] == [30] * 3


def test_it_goes_on_without_readings_and_without_metrics():
    unread = Controller(GRADIENT, HUGE)
    plain = Controller(GRADIENT, replace(HUGE, engine="openai"))

    for _ in range(30):
        unread.fails("timeout", answers(100))
        plain.hears_nothing(answers(100))

    assert unread.state.cap == plain.state.cap == pytest.approx(20 + 30 * 0.8)
    assert unread.state.reason.endswith("gradient 1.00; timeout")


def test_a_header_read_a_moment_ago_does_not_hold_it():
    controller = Controller(GRADIENT, replace(HUGE, engine="openai"))
    controller.reads(answers(100))

    assert controller.hears_nothing(answers(100)).cap == pytest.approx(21.6)


def test_a_restart_begins_again():
    controller = Controller(GRADIENT, HUGE)
    for _ in range(50):
        controller.reads(answers(100), started_at_s=5.0)

    state = controller.reads(None, started_at_s=90.0)

    assert (state.cap, state.answer_ms) == (20, None)
