"""Where an answer comes from, and where it goes."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Source(Protocol):
    """What an answer needs of the connection it comes from."""

    def pause(self) -> None:
        """Read no more until ``resume``."""

    def resume(self) -> None:
        """Read on."""

    def abort(self) -> None:
        """Close at once; the engine sees it."""


class Way(Protocol):
    """A client's connection, to write to as it is."""

    transport: asyncio.Transport
    writable: bool  # what was written so far has left, but for a little, and the connection stands


class Sink(Protocol):
    """Who may be given bytes as they come."""

    last: bytes  # what it was given last

    def push(self, data: bytes) -> bool:
        """Take bytes; False when that cannot be done now."""

    def way(self) -> Way | None:
        """Where to write what is framed as chunks of HTTP; None when there is no such way."""
