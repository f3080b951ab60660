"""A busy loop on a core of its own, so that no gateway ever pays for waking its neighbour up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Self

LOAD_CORE, GATEWAY_CORE = 0, 1


def pin() -> None:
    """Stay on the load's core. Raises OSError where there is none."""
    os.sched_setaffinity(0, {LOAD_CORE})


class Spinning:
    """Calls every step once per turn of the event loop, and never lets the loop sleep."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], None]] = []
        self._loop = asyncio.get_running_loop()
        self._on = False

    def __enter__(self) -> Self:
        self._on = True
        self._turn()
        return self

    def __exit__(self, *_: object) -> None:
        self._on = False

    def _turn(self) -> None:
        for step in self.steps:
            step()
        if self._on:
            self._loop.call_soon(self._turn)
