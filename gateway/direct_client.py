"""A client whose connection is ours: bytes go straight to the socket, and its leaving is heard at once."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from uvicorn.server import ServerState

from gateway.client import Message
from gateway.eager_client import EagerClient
from gateway.head_lines import Lines, lines_of
from gateway.headers import Headers
from gateway.known_head import KnownHead
from gateway.source import ClientConnection, Way
from scheduling.dispatchers.futures import resolve

BODY_BYTES = 64 * 1024  # that nobody has asked for yet; then the client has to wait
STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus
}
BODILESS = (204, 304)
CLOSE = (b"connection", b"close")
CHUNKED = (b"transfer-encoding", b"chunked")
LENGTH = b"content-length"
END, CLOSE_END = "\r\n", "connection: close\r\n\r\n"  # of a head
LEFT: Message = {"type": "http.disconnect"}


class DirectClient(EagerClient):
    """One request on an HTTP/1.1 connection.

    ``scope`` says of the request what an ASGI scope does. Unless a
    ``content-length`` is given, the response is framed by us, in chunks.
    """

    needs_ears = False
    _leaves_unheard = False
    _unread = 0
    _waiter: Future[None] | None = None
    _closed: Future[None] | None = None
    _left: int | None = None  # bytes of an answer whose length was told

    def arrive(
        self,
        connection: ClientConnection,
        scope: Mapping[str, Any],
        headers: Mapping[bytes, bytes],
        known: KnownHead | None = None,
        body: bytes | None = None,
    ) -> None:
        """It comes by this connection, perhaps with its whole body. First of all, once."""
        self._prepare(headers, connection.loop, known, body)
        self._connection = connection
        self.scope = scope
        self._serving = None
        self._parts: list[bytes] = []
        self._more = body is None
        self.keep_alive = True
        self.disconnected = self.response_complete = False

    # -- for the connection

    def take(self, data: bytes) -> None:
        """Bytes of the body came."""
        if self.response_complete:
            return
        self._parts.append(data)
        self._unread += len(data)
        if self._waiter is not None:
            resolve(self._waiter)
        elif self._unread > BODY_BYTES:
            self._connection.pause_reading()

    def took_all(self) -> None:
        """The body is whole."""
        self._more = False
        if len(self._parts) == 1:
            self.body = self._parts.pop()
        resolve(self._waiter)

    def lost(self) -> None:
        """The connection is closed."""
        self.disconnected = True
        resolve(self._waiter)
        resolve(self._closed)
        if not (self.ended or self._leaves_unheard):
            self._leave()

    # -- for whoever serves the request

    def listen(self) -> None:
        """Nothing to do: its leaving is heard from the start."""

    def ignore_leaving(self) -> None:
        """Only whoever reads the body, or writes, notices that it has left."""
        self._leaves_unheard = True

    def close(self) -> None:
        """The request is over. A response that is not complete by now never will be."""
        self.ended = True
        connection = self._connection
        connection.tasks.discard(self)
        if not self.response_complete:
            connection.transport.close()

    def push(self, data: bytes) -> bool:
        """Send bytes of an answer that has begun, without waiting; False when that cannot be done now."""
        if self._left is not None or not self._connection.writable:
            return False
        self.last = data
        self._write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    def way(self) -> Way | None:
        """Where to write chunks, unless the answer has a length."""
        return self._connection if self._left is None else None

    def remark(self, text: bytes) -> None:
        """Send an SSE comment in passing, unless something waits to be sent. Only between two events."""
        if self.ended or self.writing_since_s is not None or not self._connection.writable:
            return
        head = b""
        if not self.began:
            self.began = True
            head = self._head(200, [*self.early, *self.request_id.headers()])
        self._write(b"%b%x\r\n%b\r\n" % (head, len(text), text))
        self.idle_since_s = self._loop.time()

    def send_whole(self, status: int, lines: Lines, body: bytes) -> bool:
        """Send a complete response in one piece, as can nearly always be done."""
        connection, keep_alive = self._connection, self.keep_alive
        if self.began or self.keep is not None or not connection.writable:
            return False
        self.began = self.answered = self.ended = self.response_complete = True
        transport = connection.transport
        end = f"content-length: {len(body)}\r\n{self.request_id.lines()}{END if keep_alive else CLOSE_END}"
        if not transport.is_closing():  # uvloop raises where asyncio drops what nobody will read
            begin = _begin(status, connection.server_state)
            transport.write(b"".join((begin, lines, end.encode(), body)))
        if not keep_alive:
            transport.close()
        connection.on_response_complete()
        return True

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete response."""
        if not self.send_whole(status, lines_of(headers), body):
            await super().whole(status, headers, body)

    async def start(self, status: int, lines: Lines, data: bytes, *, last: bool) -> None:
        """Begin, and send the first bytes: nearly always in one piece, at once."""
        if self.began or last or not self._connection.writable or status in BODILESS:
            await super().start(status, lines, data, last=last)
            return
        self.began = self.answered = True
        self.last = data
        begin = _begin(status, self._connection.server_state)
        end = f"{self.request_id.lines()}transfer-encoding: chunked\r\n\r\n"  # see ``_head`` about ``CLOSE``
        self._write(b"".join((begin, lines, end.encode(), self._framed(data, more=True))))

    async def end(self, data: bytes) -> None:
        """Send the last bytes and the end."""
        if not self._connection.writable:
            await super().end(data)
            return
        self.answered = self.ended = True
        self._write(self._framed(data, more=False))
        self._complete()

    async def hung_up(self, timeout_s: float) -> bool:
        """Wait until the connection is closed; False when it is not in time."""
        if self.disconnected:
            return True
        if self._closed is None:
            self._closed = self._loop.create_future()
        done, _ = await asyncio.wait([self._closed], timeout=timeout_s)
        return bool(done)

    async def _receive(self) -> Message:
        if self._more and not self._parts and not self.disconnected:
            self._connection.resume_reading()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None  # also of one that gave up: what comes now has to wait
        if self.disconnected:
            return LEFT
        body, self.body = self.body, None
        if body is None:
            body = b"".join(self._parts)  # of one: itself
            self._parts.clear()
        self._unread = 0
        return {"type": "http.request", "body": body, "more_body": self._more}

    async def _send_head(self, status: int, headers: Headers) -> None:
        await self._put(self._head(status, headers))

    async def _send(self, data: bytes, *, more: bool) -> None:
        await self._put(self._framed(data, more=more))
        if not more:
            self._complete()

    def _framed(self, data: bytes, *, more: bool) -> bytes:
        if self._left is not None:
            self._left -= len(data)
            return data
        framed = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        return framed if more else framed + b"0\r\n\r\n"

    async def _send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        self._left = 0
        await self._put(self._head(status, headers) + body)
        self._complete()

    async def _put(self, data: bytes) -> None:
        connection = self._connection
        if not connection.writable:
            self.writing_since_s = self._loop.time()
            await connection.drain()
            self.writing_since_s = None
        if data:
            self._write(data)

    def _write(self, data: bytes) -> None:
        transport = self._connection.transport
        if not transport.is_closing():  # uvloop raises where asyncio drops what nobody will read
            transport.write(data)

    def _complete(self) -> None:
        if self._left:
            self.keep_alive = False  # more or less than was told: nothing may follow
        self.response_complete = True
        if not self.keep_alive:
            self._connection.transport.close()
        self._connection.on_response_complete()

    def _head(self, status: int, headers: Headers) -> bytes:
        """The head of the response. Raises ValueError on a header that could smuggle another."""
        if self._left is None:
            told = dict(headers).get(LENGTH)
            if told is not None or status in BODILESS:
                self._left = int(told or 0)
            else:
                headers = [*headers, CHUNKED]
        if not self.keep_alive and self._left is not None:
            headers = [*headers, CLOSE]  # never in chunks: some clients would take an abort for their end
        return _begin(status, self._connection.server_state) + lines_of(headers) + b"\r\n"

    @property
    def _transport(self) -> Any:
        return self._connection.transport


class _Begin:
    """The status line and the server's own headers: the same for all responses of a second."""

    def __init__(self) -> None:
        self._headers: Sequence[tuple[bytes, bytes]] = ()
        self._begins: dict[int, bytes] = {}

    def of(self, status: int, server: ServerState) -> bytes:
        """That of a response with this status."""
        headers = server.default_headers
        if headers is not self._headers:
            self._headers, self._begins = headers, {}
        begin = self._begins.get(status)
        if begin is None:
            line = STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
            begin = self._begins[status] = line + lines_of(headers)
        return begin


_begin = _Begin().of
