"""uvicorn's HTTP protocol, which knows by one look whether a client may be written to."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class WritableHttp(HttpToolsProtocol):
    """One connection. ``writable``: what was written so far has left, but for a little, and it stands."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.writable = True

    def _should_upgrade(self) -> bool:
        """Whether a WebSocket begins. There a handshake of another form would stay without an answer."""
        bodiless = not any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in self.headers
        )
        return bodiless and self.parser.get_method() == b"GET" and super()._should_upgrade()

    def linger(self) -> None:
        """A response is complete while more is read: perhaps the rest of its request."""

    def pause_writing(self) -> None:
        """The client reads more slowly than it is written to."""
        self.writable = False
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has read nearly all of it."""
        self.writable = not self.transport.is_closing()
        super().resume_writing()

    def eof_received(self) -> None:
        """The client says no more, and so it is taken to have left: the connection closes."""
        self.writable = False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, by whomever."""
        self.writable = False
        super().connection_lost(exc)
