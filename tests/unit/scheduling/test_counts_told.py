"""What gateways tell of their gates: summed over them, and kept until a control step has used it."""

from __future__ import annotations

from dataclasses import replace

from scheduling.control_step import Told, summed
from scheduling.core.control import OwnCounts
from scheduling.core.view import BackendView


def view(*, blocked: bool = False, pending: int = 1) -> BackendView:
    return BackendView("gpu-0", 2, pending, 3, 16, blocked=blocked, draining=False, streaming=1)


def test_what_gateways_hold_and_answered_adds_up() -> None:
    one = OwnCounts(1, 2, blocked=True, streaming=1, answered=3, answer_ms=400)
    other = OwnCounts(2, 3, streaming=1, answered=1, answer_ms=100)

    total = summed([{"gpu-0": one}, {"gpu-0": other, "gpu-1": other}])

    assert total["gpu-0"] == OwnCounts(3, 5, blocked=True, streaming=2, answered=4, answer_ms=500)
    assert total["gpu-1"] == other


def test_that_work_was_held_back_is_told_until_a_step_has_used_it() -> None:
    told = Told()
    told.look([view(blocked=True)])
    told.look([view(pending=2)])
    assert told.counts == {"gpu-0": OwnCounts(2, 2, blocked=True, streaming=1)}, "the rest is as it stands"

    told.used("gpu-0")
    told.used("gone")

    assert not told.counts["gpu-0"].blocked


def test_answers_add_up_between_two_steps() -> None:
    told = Told()
    told.look([replace(view(), answered=2, answer_ms=250)])
    told.look([replace(view(), answered=1, answer_ms=50)])
    assert (told.counts["gpu-0"].answered, told.counts["gpu-0"].answer_ms) == (3, 300)

    told.used("gpu-0")
    assert (told.counts["gpu-0"].answered, told.counts["gpu-0"].answer_ms) == (0, 0)


def test_a_backend_that_left_is_told_no_more() -> None:
    told = Told()
    told.look([view()])

    told.look([])

    assert told.counts == {}
