"""Ctrl-C and SIGTERM at moments that suit.

A query that is broken off leaves a connection with which nothing can be taken back.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruptions:
    """Remembers that it was asked to stop, and stops where that is let in."""

    def __init__(self) -> None:
        self._asked = self._open = False

    @contextmanager
    def let_in(self) -> Iterator[None]:
        """Inside the block a signal raises KeyboardInterrupt at once; one that came before does so now."""
        self.check()
        self._open = True
        try:
            yield
        finally:
            self._open = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal came."""
        if self._asked:
            raise KeyboardInterrupt

    def hear(self, *_signal: Any) -> None:
        """The handler of the signals."""
        self._asked = True
        if self._open:
            raise KeyboardInterrupt


@contextmanager
def put_off() -> Iterator[Interruptions]:
    """Inside the block signals wait until they are let in, at the latest until its end."""
    interruptions = Interruptions()
    before = {number: signal.signal(number, interruptions.hear) for number in SIGNALS}
    try:
        yield interruptions
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    interruptions.check()
