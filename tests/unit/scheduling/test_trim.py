"""The slow loop's two steps by themselves: what moves the window and the cap, by how much, and why."""

from __future__ import annotations

import pytest

from scheduling.core.control import OwnCounts
from scheduling.core.limits import EngineLoad
from scheduling.core.trim import next_cap, next_window


def window(now: float, *, target: int = 3, own: OwnCounts | None = None, **said) -> tuple[float, str]:
    load = EngineLoad("gpu-0", 1.0, **{"running": 5, "waiting": 0, **said})
    return next_window(now, load, own or OwnCounts(blocked=True), target)


GROWN = "engine queue empty while work waited: window grown"


@pytest.mark.parametrize(
    ("now", "grown"), [(4.0, 7.0), (1.0, 2.5), (84.0, 127.0), (85.0, 128.0), (128.0, 128.0)]
)
def test_the_window_grows_by_half_and_one_up_to_128(now, grown):
    assert window(now) == (grown, GROWN)


@pytest.mark.parametrize(
    ("now", "waiting", "pending", "cut"),
    [
        (9.0, 5, 8, 7.0),
        (9.0, 8, 5, 7.0),
        (9.0, 4, 4, 8.0),
        (3.0, 9, 9, 1.0),
        (7.0, 9, 9, 1.0),
        (8.0, 9, 9, 2.0),
    ],
)
def test_a_queue_of_ours_above_the_target_cuts_the_window_by_the_surplus_down_to_one(
    now, waiting, pending, cut
):
    given, reason = window(now, waiting=waiting, own=OwnCounts(pending=pending, blocked=True))

    assert given == cut
    assert reason == f"{waiting} wait in the engine, target 3: window cut"


@pytest.mark.parametrize("waiting", [1, 3])
def test_a_queue_up_to_the_target_holds_the_window(waiting):
    assert window(9.0, waiting=waiting, own=OwnCounts(pending=9, blocked=True)) == (9.0, "window holds")


def test_a_queue_that_is_not_ours_holds_the_window():
    assert window(9.0, waiting=50, own=OwnCounts(pending=3, blocked=True)) == (9.0, "window holds")


def test_a_queue_of_which_nothing_is_said_holds_the_window():
    assert window(9.0, waiting=None) == (9.0, "window holds")
    assert window(9.0, target=0, waiting=None, own=OwnCounts(pending=9, blocked=True))[0] == 9.0


def test_a_gate_that_held_nothing_back_holds_its_window():
    assert window(9.0, own=OwnCounts()) == (9.0, "window holds")


def test_an_engine_that_says_idle_while_our_requests_stream_is_not_believed():
    own = OwnCounts(blocked=True, streaming=1)

    assert window(9.0, running=0, own=own) == (
        9.0,
        "window holds: the engine says idle while our requests stream",
    )
    assert window(9.0, running=1, own=own)[1] == GROWN
    assert window(9.0, running=0)[1] == GROWN
    assert window(9.0, running=None, own=own)[1] == GROWN


@pytest.mark.parametrize(("kv", "grows"), [(None, True), (0.949, True), (0.95, False), (1.0, False)])
def test_a_full_memory_holds_the_window(kv, grows):
    now, reason = window(4.0, kv_usage=kv)

    assert now == (7.0 if grows else 4.0)
    assert grows or reason == f"window holds: KV memory {kv:.0%} full"


def cap(now: float, mean_ms: float, *, blocked: bool = True) -> tuple[float, str]:
    return next_cap(now, 20, mean_ms=mean_ms, target_ms=150, blocked=blocked)


def test_slow_tokens_cut_the_cap_by_a_tenth_down_to_one():
    assert cap(10.0, 151.0) == (9.0, "151 ms per token, target 150: cap cut")
    assert cap(1.0, 900.0)[0] == 1.0
    assert cap(2.0, 900.0)[0] == 1.8


def test_tokens_at_the_target_raise_the_cap_by_one_up_to_the_rules():
    assert cap(10.0, 150.0) == (11.0, "150 ms per token, target 150: cap raised")
    assert cap(19.5, 10.0) == (20.0, "10 ms per token, target 150: cap raised")
    assert cap(20.0, 10.0) == (20.0, "")


def test_the_cap_rises_only_when_it_held_something_back():
    assert cap(10.0, 10.0, blocked=False) == (10.0, "")
