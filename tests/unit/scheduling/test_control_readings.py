"""Readings that fail, lie, freeze or begin anew, and what the limits make of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.control import OwnCounts
from scheduling.core.limits import EngineLoad
from tests.unit.scheduling.controlled import GPU, HELD_BACK, POOL, Controller, windows


def test_a_failed_reading_changes_nothing_at_first() -> None:
    controller = Controller()
    windows(controller, 4)
    before = controller.state

    state = controller.fails("timeout")

    assert (state.given_window, state.given_cap) == (before.given_window, before.given_cap)
    assert state.decided_at_s == before.decided_at_s, "no news for the gates"
    assert state.ticked_at_s > before.ticked_at_s
    assert state.error == "timeout"
    assert state.reason == "limits kept: timeout"


@pytest.mark.parametrize(
    ("stale", "window", "cap"),
    [("keep", 6, 64), ("open", 64, 64), ("closed", 0, 64)],
)
def test_after_ten_seconds_without_a_reading_the_stale_rule_holds(stale: str, window: int, cap: int) -> None:
    controller = Controller(pool=replace(POOL, stale=stale))
    windows(controller, 7)

    limits = [controller.fails().limit() for _ in range(12)]

    assert limits[8].window == 54
    assert (limits[-1].window, limits[-1].cap) == (window, cap)
    assert limits[-1].read_at_s > limits[8].read_at_s, "gates must hear of it"


def test_readings_that_return_end_the_stale_rule() -> None:
    controller = Controller(pool=replace(POOL, stale="closed"))
    windows(controller, 3)
    for _ in range(15):
        controller.fails()

    state = controller.reads(OwnCounts(pending=0, in_flight=0, blocked=False))

    assert state.limit().window == 9
    assert state.error == ""


@pytest.mark.parametrize(("stale", "window"), [("keep", 6), ("open", 64), ("closed", 0)])
def test_an_engine_that_was_never_read_follows_the_stale_rule_at_once(stale: str, window: int) -> None:
    pool = replace(POOL, stale=stale, window_requests=6)

    assert Controller(pool=pool).fails("blind").limit().window == window


def test_a_reading_that_says_nothing_is_no_reading() -> None:
    assert Controller().reads(running=None, waiting=None).error.startswith("blind")


def test_an_old_reading_is_no_reading() -> None:
    controller = Controller()

    assert controller.reads(read_at_s=controller.now_s - 11).error == "old: the reading is 11 s old"


def test_a_frozen_page_is_no_reading() -> None:
    controller = Controller()
    controller.reads()
    errors = [controller.reads(work_total=5).error for _ in range(12)]

    assert errors[:9] == [""] * 9
    assert errors[-1].startswith("frozen")


def test_an_engine_that_only_embeds_is_not_frozen() -> None:
    controller = Controller()
    embedding = OwnCounts(pending=0, in_flight=5)

    assert [controller.reads(embedding, running=5, work_total=0).error for _ in range(15)] == [""] * 15


def test_an_idle_engine_is_not_frozen() -> None:
    controller = Controller()
    idle = OwnCounts()

    assert [controller.reads(idle, running=0, work_total=5).error for _ in range(15)] == [""] * 15


def test_work_after_an_idle_hour_is_not_taken_for_a_frozen_page() -> None:
    controller = Controller()
    controller.reads(OwnCounts(), running=0, work_total=5)
    controller.now_s += 3600
    controller.reads(OwnCounts(), running=0, work_total=5)

    assert controller.reads(work_total=5).error == ""


@pytest.mark.parametrize(
    "reborn",
    [
        pytest.param({"started_at_s": 990.0}, id="a later process start"),
        pytest.param({"work_total": 0}, id="its work counter ran backwards"),
        pytest.param({"preemptions_total": 0}, id="its preemption counter ran backwards"),
    ],
)
def test_a_restarted_engine_begins_a_new_epoch_with_a_small_window(reborn: dict) -> None:
    controller = Controller()
    started = {"started_at_s": 500.0} if "started_at_s" in reborn else {}
    windows(controller, 5, preemptions_total=7, **started)

    state = controller.reads(**reborn)

    assert (state.epoch, state.limit().window) == (1, 3)
    assert "restarted" in state.reason


def test_the_same_process_start_is_no_restart() -> None:
    controller = Controller()
    controller.reads(started_at_s=500.0)

    assert controller.reads(started_at_s=500.4).epoch == 0


def test_the_static_cap_needs_no_reading() -> None:
    controller = Controller(pool=replace(POOL, admission="static_cap", stale="closed"))

    limits = [controller.reads(waiting=50).limit(), *(controller.fails().limit() for _ in range(15))]

    assert {(limit.window, limit.cap) for limit in limits} == {(64, 64)}


def test_an_engine_without_metrics_has_its_window_and_keeps_what_its_gate_learned() -> None:
    controller = Controller(backend=replace(GPU, engine="openai"))

    steps = [controller.step(EngineLoad("gpu-0", controller.now_s), HELD_BACK) for _ in range(5)]

    assert {(state.given_window, state.given_cap, state.error) for state in steps} == {(3, 64, "")}
    assert len({state.decided_at_s for state in steps}) == 1, "a gate that halved itself on 429 stays so"


def test_the_limit_says_what_the_engine_worked_on_and_when_it_was_asked() -> None:
    controller = Controller()
    asked_s = controller.now_s - 0.4

    limit = controller.reads(running=11, read_at_s=asked_s).limit()

    assert (limit.running, limit.running_at_s) == (11, asked_s)
    assert limit.read_at_s > asked_s
    assert controller.reads(running=None).limit().running is None


def test_a_failed_reading_says_nothing_new_and_the_end_of_readings_is_news() -> None:
    controller = Controller()
    known = controller.reads(running=11).limit()

    limits = [controller.fails().limit() for _ in range(14)]

    assert [limit.running for limit in limits] == [11] * 10 + [None] * 4
    assert {limit.running_at_s for limit in limits} == {known.running_at_s}
    assert limits[9].read_at_s == known.read_at_s
    assert limits[10].read_at_s > known.read_at_s, "gates must hear that nothing frees answers any more"
    assert limits[13].read_at_s == limits[10].read_at_s


def test_a_backend_that_turns_out_to_be_a_generic_engine_tells_its_gates_so() -> None:
    controller = Controller()
    known = controller.reads(running=11).limit()
    controller.backend = replace(GPU, engine="openai")

    limit = controller.step(EngineLoad("gpu-0", controller.now_s), HELD_BACK).limit()

    assert limit.running is None
    assert limit.read_at_s > known.read_at_s
