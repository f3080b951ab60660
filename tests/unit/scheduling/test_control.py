"""The control law: what a reading does to a backend's limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduling.core.control import BackendState, OwnCounts, Step, next_state
from scheduling.core.limits import EngineLoad
from scheduling.core.policy import BackendRule, PoolRule

POOL = PoolRule("main")
GPU = BackendRule("gpu-0", "main", frozenset({"llama"}), max_in_flight=64, engine="vllm")
HELD_BACK = OwnCounts(pending=3, in_flight=20, blocked=True, streaming=17)


class Controller:
    """One backend under control, a reading a second."""

    def __init__(self, pool: PoolRule = POOL, backend: BackendRule = GPU) -> None:
        self.pool, self.backend = pool, backend
        self.now_s = 1000.0
        self.state: BackendState | None = None
        self._work = 0

    def reads(self, own: OwnCounts | None = HELD_BACK, **said) -> BackendState:
        self._work += 10
        said = {"running": 17, "waiting": 0, "work_total": self._work, "read_at_s": self.now_s, **said}
        return self.step(EngineLoad("gpu-0", **said), own)

    def fails(self, error: str = "timeout", own: OwnCounts | None = HELD_BACK) -> BackendState:
        return self.step(EngineLoad("gpu-0", self.now_s, error=error), own)

    def step(self, load: EngineLoad, own: OwnCounts | None) -> BackendState:
        self.state = next_state(
            self.state, Step(self.pool, self.backend, load, own, self.now_s, stale_after_s=10.0)
        )
        self.now_s += 1.0
        return self.state


def windows(controller: Controller, times: int, **said) -> list[int]:
    return [controller.reads(**said).limit().window for _ in range(times)]


def test_the_window_opens_while_work_waits_here_and_nothing_waits_there() -> None:
    assert windows(Controller(), 9) == [5, 9, 14, 23, 35, 54, 64, 64, 64]  # the cap is 64


def test_the_window_stays_at_its_ceiling_under_a_huge_cap() -> None:
    controller = Controller(backend=replace(GPU, max_in_flight=4096))

    assert max(windows(controller, 20)) == 128


def test_an_engine_queue_over_the_target_closes_the_window_by_the_surplus() -> None:
    controller = Controller()
    windows(controller, 4)  # 23

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
    windows(controller, 3)  # 14

    crowded = controller.reads(OwnCounts(pending=2, in_flight=20, blocked=False), waiting=9)
    later = controller.reads(OwnCounts(pending=0, in_flight=20, blocked=False), waiting=0)

    assert crowded.limit().window == 14 - 7
    assert "7 waiting in the engine are not ours" in crowded.reason
    assert later.limit().window == 14


def test_a_page_that_says_idle_while_our_requests_stream_opens_nothing() -> None:
    controller = Controller()

    assert windows(controller, 5, running=0, waiting=0) == [3] * 5
    assert "says idle" in controller.state.reason


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
    windows(controller, 6)

    limits = [controller.fails().limit() for _ in range(12)]

    assert limits[8].window == 54
    assert (limits[-1].window, limits[-1].cap) == (window, cap)
    assert limits[-1].read_at_s > limits[8].read_at_s, "gates must hear of it"


def test_readings_that_return_end_the_stale_rule() -> None:
    controller = Controller(pool=replace(POOL, stale="closed"))
    windows(controller, 2)
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


def test_slow_tokens_cut_the_cap_and_fast_ones_raise_it_again() -> None:
    controller = Controller(pool=replace(POOL, tpot_target_ms=150))

    slow = [controller.reads(output_token_s=0.2).limit().cap for _ in range(30)]
    fast = [controller.reads(output_token_s=0.05).limit().cap for _ in range(100)]

    assert slow[:3] == [57, 51, 46]
    assert slow[-1] < 5
    assert min(slow) >= 1
    assert fast[-1] == 64


def test_a_liar_that_says_nothing_waits_is_held_by_its_token_times() -> None:
    controller = Controller(pool=replace(POOL, tpot_target_ms=150))

    for _ in range(40):
        state = controller.reads(running=1, waiting=0, output_token_s=0.9)

    assert state.limit().cap == 1
    assert state.limit().window == 1, "the window may grow, but not over the cap"


def test_the_cap_does_not_rise_while_it_holds_nothing_back() -> None:
    controller = Controller(pool=replace(POOL, tpot_target_ms=150))
    controller.reads(output_token_s=0.2)

    assert controller.reads(OwnCounts(in_flight=3), output_token_s=0.01).limit().cap == 57


def test_one_slow_second_is_smoothed() -> None:
    controller = Controller(pool=replace(POOL, tpot_target_ms=150))
    for _ in range(5):
        controller.reads(output_token_s=0.1)

    assert controller.reads(output_token_s=0.2).limit().cap == 64


def test_new_rules_begin_from_their_own_numbers() -> None:
    controller = Controller()
    windows(controller, 5)
    controller.pool = replace(POOL, window_requests=2)
    controller.backend = replace(GPU, max_in_flight=8)

    limit = controller.reads(OwnCounts()).limit()

    assert (limit.window, limit.cap) == (2, 8)


def test_switching_the_guard_off_gives_the_cap_back() -> None:
    controller = Controller(pool=replace(POOL, tpot_target_ms=150))
    for _ in range(20):
        controller.reads(output_token_s=0.9)
    controller.pool = POOL

    assert controller.reads().limit().cap == 64


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
