"""How much memory the bodies of all requests may take together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import Overloaded


class HeldBodies:
    """Counts bodies for as long as their requests wait or run.

    Bodies that come whole with their heads are not counted: the most that
    there may be of them is known by what a socket gives at once.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.held_bytes = 0

    @contextmanager
    def hold(self, size_bytes: int) -> Iterator[None]:
        """Hold one more. Raises Overloaded when there is no room for it beside the others."""
        if self.held_bytes and self.held_bytes + size_bytes > self._most_bytes:
            raise Overloaded
        self.held_bytes += size_bytes
        try:
            yield
        finally:
            self.held_bytes -= size_bytes
