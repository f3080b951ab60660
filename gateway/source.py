"""Where an answer comes from, and where it goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from uvicorn.server import ServerState

if TYPE_CHECKING:
    from gateway.connection import Connection


class Home(Protocol):
    """Where a connection lives between exchanges."""

    def add(self, connection: Connection) -> None:
        """A connection stands."""

    def keep(self, connection: Connection) -> None:
        """A connection has done its exchange and may carry another."""

    def age(self, connection: Connection) -> None:
        """A connection is too old for another exchange."""

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""


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


class NoWay:
    """Nothing can be written."""

    transport: Any = None
    writable = False


NO_WAY = NoWay()


class Passing(Protocol):
    """Who writes to a way."""

    last: bytes  # what it wrote; b"" if nothing since it told


class Sink(Protocol):
    """Who may be given bytes as they come."""

    last: bytes  # what it was given last
    passing: Passing | None  # who writes to its way now

    def push(self, data: bytes) -> bool:
        """Take bytes; False when that cannot be done now."""

    def way(self) -> Way | None:
        """Where to write what is framed as chunks of HTTP; None when there is no such way."""


class ClientConnection(Way, Protocol):
    """What a client needs of the connection that it came by."""

    loop: asyncio.AbstractEventLoop
    tasks: set[Any]  # and clients, whose requests run
    server_state: ServerState  # it has the server's own headers, for every response

    async def drain(self) -> None:
        """Wait until it is writable, or lost."""

    def pause_reading(self) -> None:
        """Take no more bytes until ``resume_reading``."""

    def resume_reading(self) -> None:
        """Read on."""

    def on_response_complete(self) -> None:
        """The response is complete."""
