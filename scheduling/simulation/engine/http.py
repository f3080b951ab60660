"""A small HTTP/1.1 server: one object per connection, no task per request, bytes written at once."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from http import HTTPStatus

import httptools

MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_PIPELINED = 64  # requests read ahead on one connection
NO_LINGER = struct.pack("ii", 1, 0)  # on, 0 s: closing sends a reset
JSON = "application/json"
Headers = Iterable[tuple[str, str]]


class Exchange:
    """One request, and the one answer to it.

    Whoever answers sets ``on_gone`` to hear that the client left first.
    """

    def __init__(self, connection: Connection, method: str, path: str, headers: dict[str, str]) -> None:
        self.method = method
        self.path = path
        self.headers = headers  # names in lower case
        self.body = b""
        self.on_gone: Callable[[], None] | None = None
        self.open = True
        self._connection = connection
        self._chunked = True

    def reply(self, status: int, body: bytes = b"", content_type: str = JSON, headers: Headers = ()) -> None:
        """Send a whole answer."""
        self._write(self._head(status, content_type, (*headers, ("Content-Length", str(len(body))))), body)
        self.end(last=b"")

    def begin(self, content_type: str, headers: Headers = ()) -> None:
        """Send the head of a stream."""
        self._chunked = not self._connection.http_1_0
        framing = ("Transfer-Encoding", "chunked") if self._chunked else ("Connection", "close")
        self._write(self._head(200, content_type, (*headers, framing)))

    def begin_sized(self, length: int, headers: Headers = ()) -> None:
        """Send the head of a JSON body that ``send_raw`` will bring."""
        self._write(self._head(200, JSON, (*headers, ("Content-Length", str(length)))))

    def send(self, *pieces: bytes) -> None:
        """Send pieces of a stream, each a chunk of its own, in one write."""
        if not self._chunked:
            self._write(*pieces)
            return
        self._write(b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]))

    def send_raw(self, data: bytes) -> None:
        """Send bytes of a sized body."""
        self._write(data)

    def end(self, last: bytes | None = None) -> None:
        """Finish the answer properly."""
        if self.open:
            self._write((b"0\r\n\r\n" if self._chunked else b"") if last is None else last)
            self.open = False
            self._connection.answered(keep=self._chunked)

    def cut(self) -> None:
        """Close the connection inside the answer."""
        self._leave()
        self._connection.close()

    def reset(self) -> None:
        """Reset the connection: unsent bytes are thrown away."""
        self._leave()
        self._connection.reset()

    def _leave(self) -> None:
        self.open = False
        if self.on_gone:
            self.on_gone()

    def _write(self, *data: bytes) -> None:
        if self.open:
            self._connection.write(b"".join(data))

    def _head(self, status: int, content_type: str, headers: Headers) -> bytes:
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Type: {content_type}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Connection(asyncio.Protocol):
    """Reads requests, hands them on one at a time, and tells when the client has left."""

    def __init__(
        self, handle: Callable[[Exchange], None], connections: set[Connection], keep_alive_s: float
    ) -> None:
        self.http_1_0 = False
        self._handle = handle
        self._connections = connections
        self._keep_alive_s = keep_alive_s
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._next: deque[tuple[Exchange, bool]] = deque()
        self._keep = True
        self._idle: asyncio.TimerHandle | None = None

    # from the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = transport  # type: ignore[assignment]  # a stream server makes stream transports
        self._connections.add(self)
        self._rest()

    def data_received(self, data: bytes) -> None:
        """Bytes came; broken HTTP is answered 400 and ends the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.close()
        except httptools.HttpParserError:
            self._refuse(b"400 Bad Request")

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left, or we closed."""
        self._connections.discard(self)
        self._transport = None
        if self._idle:
            self._idle.cancel()
        exchange, self._exchange = self._exchange, None
        if exchange and exchange.open:
            exchange.open = False
            if exchange.on_gone:
                exchange.on_gone()

    # from the parser

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._idle:
            self._idle.cancel()
        self._url: list[bytes] = []
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._url.append(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; a repeated one keeps its last value."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """All headers are here: a client may wait for leave to send its body."""
        if self._headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self._refuse(b"413 Content Too Large")
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        """A request is whole: answer it, or keep it until the one before is answered."""
        path = b"".join(self._url).decode("latin-1").partition("?")[0]
        exchange = Exchange(self, self._parser.get_method().decode(), path, self._headers)
        exchange.body = b"".join(self._body)
        self.http_1_0 = self._parser.get_http_version() == "1.0"
        self._next.append((exchange, self._parser.should_keep_alive()))
        if len(self._next) > MAX_PIPELINED:
            self.reset()
        self._begin_next()

    # from the exchange

    def write(self, data: bytes) -> None:
        """Send bytes; into the void once the client has left."""
        if self._transport and data:
            self._transport.write(data)

    def answered(self, *, keep: bool) -> None:
        """The answer is complete: the next request, or the end."""
        self._exchange = None
        if not (keep and self._keep):
            self.close()
        elif self._next:
            self._begin_next()
        else:
            self._rest()

    def close(self) -> None:
        """Close once everything written is sent."""
        if self._transport:
            self._transport.close()

    def reset(self) -> None:
        """Close at once with a TCP reset; what was not sent yet is thrown away."""
        if self._transport is None:
            return
        number = self._transport.get_extra_info("socket").fileno()
        if number >= 0:
            with socket.socket(fileno=os.dup(number)) as same:  # uvloop lends no real socket
                same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self._transport.abort()

    def _begin_next(self) -> None:
        if self._exchange is None and self._next:
            self._exchange, self._keep = self._next.popleft()
            self._handle(self._exchange)

    def _rest(self) -> None:
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(self._keep_alive_s, self.close)

    def _refuse(self, status: bytes) -> None:
        self.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.close()
