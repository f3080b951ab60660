"""Waiting for the next thing to come: in a task by a future, and without a task by a pause."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from types import coroutine
from typing import Any, Protocol

from scheduling.dispatchers.base import PAUSED
from scheduling.dispatchers.futures import resolve


class Runner(Protocol):
    """Whoever may wait without a task, as an ``EagerClient`` does. It has one if ``work`` is set."""

    work: asyncio.Task[None] | None

    def go_on(self) -> None:
        """Go on here and now."""

    def go_on_soon(self) -> None:
        """Go on in the next turn of the loop."""

    def take_due_step(self) -> None:
        """Go on if that is due, and be due no more."""

    def in_task(self) -> Awaitable[None]:
        """Go on in a task."""


# In order, who goes on in the next turn of the loop, or sooner by ``step_due``.
due: dict[Runner, None] = {}


def step_due() -> None:
    """Have whoever is due go on. Only for callers in whose midst nobody is.

    A turn of the loop takes tenths of a second when thousands of sockets are ready in each: so long a
    seat would be free.
    """
    while due:
        next(iter(due)).take_due_step()


class Awaited:
    """What one waits for, again and again. ``_runner`` is whoever does, if that is not known to be a task."""

    __slots__ = ("_is_held", "_is_woken", "_runner", "_wake_up")

    _runner: Runner | None
    _wake_up: Callable[[], None] | None  # whoever waits; None at first
    _is_held: bool  # False at first
    _is_woken: bool

    def hold(self) -> None:
        """Wake nobody until ``let_go``: more may come, and whoever goes on may end all of this."""
        self._is_held, self._is_woken = True, False

    def let_go(self) -> None:
        """Whoever was to be woken goes on, at once if that can be."""
        self._is_held = False
        if self._is_woken:
            self._wake_now()

    def _wake(self) -> None:
        if self._wake_up is None:
            return
        if self._is_held:
            self._is_woken = True
        else:
            self._wake_up()

    def _wake_now(self) -> None:
        """As ``_wake``, at once if that can be. Not for callers in whose midst somebody would go on."""
        runner = self._runner
        if runner is None or runner.work is not None:
            self._wake()
        elif self._wake_up is not None:
            runner.go_on()

    @coroutine
    def change(self) -> Generator[Any, None, None]:
        """Wait until something came; whoever waits looks again."""
        runner = self._runner
        try:
            if runner is None or runner.work is not None:
                future = asyncio.get_running_loop().create_future()
                self._wake_up = partial(resolve, future)
                yield from future
            else:
                self._wake_up = runner.go_on_soon
                yield PAUSED
        finally:
            self._wake_up = None
