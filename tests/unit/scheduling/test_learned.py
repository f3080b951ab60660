"""What an engine says of itself and was seen to do: its cap, its KV memory, its capacity."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.backend_state import BackendState, OwnCounts
from scheduling.core.limits import EngineLoad
from scheduling.core.policy import BackendRule
from tests.unit.scheduling.controlled import GPU, HELD_BACK, POOL, Controller, windows

LEARNS = replace(GPU, learns_cap=True)
QUIET = OwnCounts()
EMPTY = EngineLoad("gpu-0", 0.0)
NINE_TENTHS = replace(POOL, kv_fill_percent=90)
CAPPED = replace(POOL, admission="static_cap")


def capped(backend: BackendRule = LEARNS) -> Controller:
    return Controller(CAPPED, backend)


def fills(controller: Controller, *preemptions: int | None) -> list[int | None]:
    said = {"kv_tokens": 100_000}
    return [controller.reads(preemptions_total=total, **said).limit().kv_tokens for total in preemptions]


def test_the_engines_own_word_is_the_cap_and_the_reason_says_so():
    controller = capped()

    assert controller.fails().limit().cap == 64
    state = controller.reads(max_requests=256)
    assert state.limit().cap == 256
    assert state.reason == "static cap; the engine takes 256"


def test_a_word_once_heard_holds_until_another_is_said():
    controller = capped()
    controller.reads(max_requests=16)

    assert controller.reads().limit().cap == 16
    assert [controller.fails().limit().cap for _ in range(30)] == [16] * 30
    assert controller.reads(max_requests=20).limit().cap == 20


@pytest.mark.parametrize(
    ("said", "cap"), [(1, 1), (4096, 4096), (4097, 4096), (10**6, 4096), (0, 64), (-5, 64)]
)
def test_a_wild_word_is_bounded_and_an_impossible_one_not_heard(said, cap):
    assert capped().reads(max_requests=said).limit().cap == cap


def test_an_engine_whose_cap_was_set_is_not_asked_for_it():
    state = capped(GPU).reads(max_requests=256)

    assert (state.limit().cap, state.reason) == (64, "static cap")


def test_a_word_that_is_the_rules_own_number_needs_no_words():
    assert capped().reads(max_requests=64).reason == "static cap"


def test_the_window_needs_no_cap_while_an_engine_that_tells_none_is_read():
    controller = Controller(backend=LEARNS)

    assert controller.fails().limit().cap == 64
    state = controller.reads()
    assert state.limit().cap == 4096
    assert "the engine does not say how many it takes" in state.reason
    assert windows(controller, 20)[-1] == 128
    lost = [controller.fails().limit() for _ in range(12)]
    assert [limit.cap for limit in lost] == [4096] * 10 + [64] * 2
    assert controller.reads().limit().cap == 4096


@pytest.mark.parametrize("admission", ["queue_target", "tpot_target", "static_cap"])
def test_no_other_law_goes_without_a_cap(admission):
    assert Controller(replace(POOL, admission=admission), LEARNS).reads(output_token_s=0.1).limit().cap == 64


def test_a_guard_on_token_times_begins_with_the_rules_cap():
    controller = Controller(replace(POOL, tpot_target_ms=150), LEARNS)

    assert controller.reads(output_token_s=0.2).limit().cap == 57


def test_a_cap_that_slow_tokens_cut_stays_cut_when_the_engine_says_another():
    controller = Controller(replace(POOL, admission="tpot_target"), LEARNS)
    controller.reads(output_token_s=0.2, max_requests=64)

    assert controller.reads(QUIET, output_token_s=0.01, max_requests=256).limit().cap == 57
    assert controller.reads(QUIET, output_token_s=0.01, max_requests=8).limit().cap == 8


def test_another_engine_begins_with_nothing_heard():
    controller = Controller(backend=LEARNS)
    controller.reads(max_requests=256, kv_tokens=1000)
    controller.backend = replace(LEARNS, engine="sglang")

    state = controller.fails()

    assert (state.limit().cap, state.limit().kv_tokens) == (64, None)
    assert state.reason == "kept, never read: timeout"


def test_all_of_the_kv_memory_may_be_reserved_where_the_rule_says_no_less():
    assert Controller().reads(kv_tokens=100_007).limit().kv_tokens == 100_007

    controller = Controller(NINE_TENTHS)

    assert controller.fails().limit().kv_tokens is None
    assert controller.reads(kv_tokens=100_007).limit().kv_tokens == 90_006
    assert controller.reads().limit().kv_tokens == 90_006, "remembered"
    assert controller.fails().limit().kv_tokens == 90_006
    assert controller.reads(kv_tokens=50_000).limit().kv_tokens == 45_000


def test_the_rules_kv_memory_is_before_the_engines_word():
    controller = Controller(NINE_TENTHS, replace(GPU, kv_tokens=1000, engine="openai"))

    assert controller.hears_nothing().limit().kv_tokens == 900
    assert controller.reads(kv_tokens=7).limit().kv_tokens == 900


def test_a_fill_of_zero_percent_reserves_nothing():
    assert Controller(replace(POOL, kv_fill_percent=0)).reads(kv_tokens=1000).limit().kv_tokens is None


def test_a_new_fill_is_news_though_there_is_no_reading():
    controller = Controller(NINE_TENTHS, replace(GPU, kv_tokens=1000))
    before = controller.fails().limit()
    controller.pool = replace(POOL, kv_fill_percent=50)

    after = controller.fails().limit()

    assert (before.kv_tokens, after.kv_tokens) == (900, 500)
    assert after.read_at_s > before.read_at_s


def test_preemptions_cost_five_points_of_the_memory_and_calm_gives_half_a_point_back():
    assert fills(Controller(NINE_TENTHS), 7, 8, 8, 8, 20) == [90_000, 85_000, 85_500, 86_000, 81_000]


def test_the_fill_falls_to_sixty_percent_and_rises_to_its_setting():
    controller = Controller(NINE_TENTHS)

    assert fills(controller, *range(10))[-5:] == [65_000, 60_000, 60_000, 60_000, 60_000]
    assert fills(controller, *[9] * 70)[58:61] == [89_500, 90_000, 90_000]


def test_a_setting_below_sixty_percent_is_not_raised_by_preemptions():
    controller = Controller(replace(POOL, kv_fill_percent=40))

    assert fills(controller, 1, 2, 3) == [40_000] * 3


def test_an_engine_that_does_not_count_preemptions_keeps_its_fill():
    assert fills(Controller(NINE_TENTHS), None, 5, None, 5) == [90_000] * 4


def test_preemptions_between_two_readings_that_say_them_count_though_one_between_does_not():
    assert fills(Controller(NINE_TENTHS), 5, None, 6) == [90_000, 90_000, 85_000]


def test_the_fill_begins_again_after_a_restart():
    controller = Controller(NINE_TENTHS)

    assert fills(controller, 5, 6, 7) == [90_000, 85_000, 80_000]
    assert fills(controller, 0) == [90_000]


def test_the_capacity_is_the_most_that_ran_while_memory_was_free():
    controller = Controller()

    def seen(**said) -> int:
        return controller.reads(**said).limit().capacity

    assert seen(running=None) == 0
    assert seen(running=12) == 12
    assert seen(running=30, kv_usage=0.95) == 12
    assert seen(running=30, kv_usage=0.94) == 30
    assert seen(running=5) == 30
    assert seen(running=9000) == 4096
    assert controller.fails().limit().capacity == 4096


def test_the_capacity_is_forgotten_at_a_restart():
    controller = Controller()
    controller.reads(running=30, started_at_s=5.0)

    assert controller.reads(running=None, started_at_s=90.0).limit().capacity == 0
    assert controller.reads(running=2, started_at_s=90.0).limit().capacity == 2


def test_nobody_answers_is_told_at_once_and_so_is_an_answer():
    controller = Controller(backend=replace(GPU, engine="openai"))

    def polled(**said) -> BackendState:
        return controller.step(replace(EMPTY, read_at_s=controller.now_s, **said), HELD_BACK)

    states = [polled(), polled(error="refused", down=True), polled(error="refused", down=True), polled()]

    assert [state.limit().down for state in states] == [False, True, True, False]
    assert [state.error for state in states] == ["", "refused", "refused", ""]
    assert [state.limit().read_at_s for state in states] == [1000.0, 1001.0, 1001.0, 1003.0]
