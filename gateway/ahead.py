"""How far a connection is read ahead of the request that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sized

from uvicorn.protocols.http.flow_control import FlowControl

AHEAD = 8  # requests that are read before the one that runs is answered; while none is, no end is heard


class BoundedFlow(FlowControl):
    """Reads no more while too many requests stand in ``line``.

    One read may bring thousands. With each answer one leaves, and whoever sent
    them would have as many come in its place.
    """

    def __init__(self, transport: asyncio.Transport, line: Sized) -> None:
        super().__init__(transport)
        self._line = line

    def resume_reading(self) -> None:
        """Read on if there is room."""
        if self.read_paused and len(self._line) <= AHEAD:
            super().resume_reading()
