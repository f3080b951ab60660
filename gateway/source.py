"""Where an answer comes from."""

from __future__ import annotations

from typing import Protocol


class Source(Protocol):
    """What an answer needs of the connection it comes from."""

    def pause(self) -> None:
        """Read no more until ``resume``."""

    def resume(self) -> None:
        """Read on."""

    def abort(self) -> None:
        """Close at once; the engine sees it."""
