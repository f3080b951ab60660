"""The guard of the token times: slow tokens cut the cap."""

from __future__ import annotations

from dataclasses import replace

from scheduling.core.control import OwnCounts
from tests.unit.scheduling.controlled import POOL, Controller


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


def test_switching_the_guard_off_gives_the_cap_back() -> None:
    controller = Controller(pool=replace(POOL, tpot_target_ms=150))
    for _ in range(20):
        controller.reads(output_token_s=0.9)
    controller.pool = POOL

    assert controller.reads().limit().cap == 64
