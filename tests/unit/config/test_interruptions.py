"""Signals that come while rows are written wait until they may interrupt."""

from __future__ import annotations

import signal

import pytest

from config.interruptions import put_off


def interrupted(work) -> list[str]:
    """What ``work`` reached until it was interrupted, as it must be."""
    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        _under(work, reached)
    return reached


def _under(work, reached):
    with put_off() as interruptions:
        work(interruptions, reached)


def test_a_signal_waits_until_it_is_let_in() -> None:
    def work(interruptions, reached):
        signal.raise_signal(signal.SIGTERM)
        reached.append("row written")
        with interruptions.let_in():
            reached.append("traffic")

    assert interrupted(work) == ["row written"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_where_it_is_let_in_a_signal_interrupts_at_once(number) -> None:
    def work(interruptions, reached):
        with interruptions.let_in():
            signal.raise_signal(number)
            reached.append("traffic")

    assert interrupted(work) == []


def test_a_second_signal_does_not_break_off_the_taking_back() -> None:
    def work(interruptions, reached):
        try:
            with interruptions.let_in():
                signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            reached.append("taken back")

    assert interrupted(work) == ["taken back"]


def test_a_signal_that_was_never_let_in_interrupts_at_the_end_and_handlers_are_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)

    def work(_interruptions, reached):
        signal.raise_signal(signal.SIGINT)
        reached.append("all")

    assert interrupted(work) == ["all"]
    assert signal.getsignal(signal.SIGINT) is before
