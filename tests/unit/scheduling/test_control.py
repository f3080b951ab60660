"""The control law: what a reading does to a backend's limits."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from scheduling.core.control import OwnCounts
from scheduling.core.limits import EngineLoad
from tests.unit.scheduling.controlled import GPU, POOL, Controller, windows


def test_the_window_opens_while_work_waits_here_and_nothing_waits_there() -> None:
    assert windows(Controller(), 9) == [3, 5, 9, 14, 23, 35, 54, 64, 64]  # the cap is 64


def test_one_reading_of_an_empty_queue_opens_nothing() -> None:
    """It is empty for a moment when several requests end together, though three wait on the average."""
    controller = Controller()

    seen = [controller.reads(waiting=waiting).limit() for waiting in (3, 0, 2, 0, 1, 0, 3)]

    assert [limit.window for limit in seen] == [3] * 7
    assert [limit.reason.partition(":")[0] for limit in seen[:2]] == [
        "window holds",
        "engine queue empty for a moment",
    ]


def test_while_an_engine_fills_by_itself_nothing_opens() -> None:
    controller = Controller()

    seen = [controller.reads(running=running).limit().window for running in (3, 6, 9, 9, 9, 10, 10, 8)]

    assert seen == [3, 3, 3, 3, 5, 5, 5, 9]


def test_a_restart_begins_the_count_of_empty_readings_again() -> None:
    controller = Controller()
    windows(controller, 5, started_at_s=900.0)

    assert windows(controller, 3, started_at_s=1005.0) == [3, 3, 5]


def test_the_window_stays_at_its_ceiling_under_a_huge_cap() -> None:
    controller = Controller(backend=replace(GPU, max_in_flight=4096))

    assert max(windows(controller, 20)) == 128


def test_an_engine_queue_over_the_target_closes_the_window_by_the_surplus() -> None:
    controller = Controller()
    windows(controller, 5)  # 23

    state = controller.reads(OwnCounts(pending=12, in_flight=30, blocked=True), waiting=12)

    assert state.limit().window == 23 - (12 - 3)
    assert "12 wait in the engine, target 3" in state.reason


def test_the_window_never_closes_wholly() -> None:
    controller = Controller()

    for _ in range(30):
        state = controller.reads(OwnCounts(pending=60, in_flight=64, blocked=True), waiting=60)

    assert state.limit().window == 1


def test_nothing_moves_while_the_gate_held_nothing_back() -> None:
    assert windows(Controller(), 20, own=OwnCounts(pending=1, in_flight=5, blocked=False)) == [3] * 20


def test_nothing_opens_before_a_gateway_has_told_its_counts() -> None:
    assert windows(Controller(), 5, own=None) == [3] * 5


def test_a_short_engine_queue_leaves_the_window_alone() -> None:
    assert windows(Controller(), 5, waiting=2) == [3] * 5


def test_a_full_kv_memory_stops_the_opening() -> None:
    controller = Controller()

    assert windows(controller, 3, kv_usage=0.96) == [3, 3, 3]
    assert "KV memory 96% full" in controller.state.reason


def test_traffic_that_is_not_ours_takes_room_from_ours_only_while_it_waits() -> None:
    controller = Controller()
    windows(controller, 4)  # 14

    crowded = controller.reads(OwnCounts(pending=2, in_flight=20, blocked=False), waiting=9)
    later = controller.reads(OwnCounts(pending=0, in_flight=20, blocked=False), waiting=0)

    assert crowded.limit().window == 14 - 7
    assert "7 waiting in the engine are not ours" in crowded.reason
    assert later.limit().window == 14


def test_a_page_that_says_idle_while_our_requests_stream_opens_nothing() -> None:
    controller = Controller()

    assert windows(controller, 5, running=0, waiting=0) == [3] * 5
    assert "says idle" in controller.state.reason


def test_new_rules_begin_from_their_own_numbers() -> None:
    controller = Controller()
    windows(controller, 5)
    controller.pool = replace(POOL, window_requests=2)
    controller.backend = replace(GPU, max_in_flight=8)

    limit = controller.reads(OwnCounts()).limit()

    assert (limit.window, limit.cap) == (2, 8)


NUMBERS = st.none() | st.integers(0, 5000)
LOADS = st.builds(
    EngineLoad,
    backend=st.just("gpu-0"),
    read_at_s=st.floats(900, 1100),
    running=NUMBERS,
    waiting=NUMBERS,
    kv_usage=st.none() | st.floats(0, 1),
    output_token_s=st.none() | st.floats(0, 5),
    started_at_s=st.none() | st.floats(0, 1000),
    work_total=NUMBERS,
    error=st.sampled_from(["", "", "timeout"]),
)
OWN = st.none() | st.builds(
    OwnCounts, pending=st.integers(0, 64), in_flight=st.integers(0, 64), blocked=st.booleans()
)


@given(
    history=st.lists(st.tuples(LOADS, OWN), max_size=40),
    admission=st.sampled_from(["first_token_window", "static_cap"]),
    stale=st.sampled_from(["keep", "open"]),
    tpot=st.sampled_from([None, 150]),
)
def test_whatever_an_engine_says_the_gate_is_never_shut_for_ever_nor_open_without_bound(
    history, admission, stale, tpot
) -> None:
    pool = replace(POOL, admission=admission, stale=stale, tpot_target_ms=tpot)
    controller = Controller(pool=pool)
    epoch = 0
    for load, own in history:
        state = controller.step(load, own)
        limit = state.limit()

        assert 1 <= limit.window <= 64
        assert 1 <= limit.cap <= 64
        assert limit.epoch in {epoch, epoch + 1}
        assert state.reason
        epoch = limit.epoch
