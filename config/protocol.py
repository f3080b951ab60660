"""uvicorn's HTTP protocol with a deadline and bounds for headers, and with errors in the APIs' own shapes.

uvicorn waits for ever for a connection that says nothing or half a header,
and takes headers of any size. What is added costs a request that comes whole
a comparison or two: the timer belongs to the connection until its first
request is there, and to a request only when it comes in pieces.
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.dialect import OPENAI
from gateway.endpoints import ENDPOINTS
from gateway.errors import Refused
from gateway.headers import RequestId
from gateway.http_protocol import GatewayProtocol
from gateway.input_errors import HeadersTooLarge, HeadersTooSlow, Malformed, TooManyConnections


class _NotKept(list[tuple[bytes, bytes]]):
    """Trailers: nobody here reads them, so they are not kept."""

    def append(self, header: tuple[bytes, bytes]) -> None:
        """Forget it."""


NOT_KEPT = _NotKept()
LINGER_S = 5.0  # for the rest of a body that was refused: to close at once would lose the answer on its way


@dataclass(frozen=True, slots=True)
class HeadBounds:
    """The knobs FAIRLANE_HEADERS_READ_S, _HEADERS_BYTES, _MOST_HEADERS and _MAX_CONNECTIONS."""

    read_s: float
    size_bytes: int
    headers: int
    connections: int

    @classmethod
    def from_knobs(cls, knobs: Mapping[str, Any]) -> HeadBounds:
        """Take the values of ``config.knobs.read_all()``."""
        return cls(
            knobs["FAIRLANE_HEADERS_READ_S"],
            knobs["FAIRLANE_HEADERS_BYTES"],
            knobs["FAIRLANE_MOST_HEADERS"],
            knobs["FAIRLANE_MAX_CONNECTIONS"],
        )


class BoundedHttp(HttpToolsProtocol):
    """One connection of a client."""

    def __init__(self, bounds: HeadBounds, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._bounds = bounds
        self._deadline: TimerHandle | None = None
        self._in_head = True  # the next byte belongs to the headers of a request
        self._in_body = self._heard_body = False
        self._part_bytes = 0  # of headers, or of trailers, that are not whole yet
        self._data_bytes = 0  # of what was read last
        self._why: Refused | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connects."""
        super().connection_made(transport)
        if len(self.connections) > self._bounds.connections:
            self._refuse(TooManyConnections())
            return
        self._deadline = self.loop.call_later(self._bounds.read_s, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._forget_deadline()
        super().connection_lost(exc)

    parse = HttpToolsProtocol.data_received

    def data_received(self, data: bytes) -> None:
        """Bytes of one request, or of a part of it, or of several."""
        self._data_bytes = len(data)
        self._heard_body = False
        self.parse(data)
        if self._in_head:
            self._wait_for_rest(len(data))
            return
        if self._deadline is not None:
            self._forget_deadline()
        if self._in_body:
            self._bound_trailers(len(data))

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        self._part_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Pass a request on, unless its headers are too many or too large."""
        bounds = self._bounds
        too_large = self._part_bytes + self._data_bytes > (most := bounds.size_bytes) and self._size() > most
        if too_large or len(self.headers) > bounds.headers:
            self._why = HeadersTooLarge()
            raise self._why
        self._in_head, self._in_body = False, True
        super().on_headers_complete()
        if not self.parser.should_upgrade():
            self.headers = NOT_KEPT

    def on_body(self, body: bytes) -> None:
        """Bytes of a request's body."""
        self._heard_body = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is sent."""
        super().on_response_complete()
        self.linger()

    def linger(self) -> None:
        """Await the rest for a moment if a request was not read to its end."""
        if self._in_body and (cycle := self.cycle) is not None and cycle.response_complete:
            self.loop.call_later(LINGER_S, self._stop_lingering, cycle)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, unless the answer to an earlier request is still on its way."""
        if (cycle := self.cycle) is not None and not cycle.response_complete:
            self.transport.abort()
        else:
            super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """uvicorn's parser gave up."""
        self._refuse(self._why or Malformed())

    def _wait_for_rest(self, more_bytes: int) -> None:
        self._part_bytes += more_bytes
        if self.transport.is_closing():
            return
        if self._part_bytes > self._bounds.size_bytes:
            self._refuse(HeadersTooLarge())
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self._bounds.read_s, self._too_slow)

    def _bound_trailers(self, more_bytes: int) -> None:
        """What comes in a body and is none of it are chunks' heads, or trailers without an end."""
        self._part_bytes = 0 if self._heard_body else self._part_bytes + more_bytes
        if self._part_bytes > self._bounds.size_bytes:
            self._refuse(HeadersTooLarge())

    def _forget_deadline(self) -> None:
        self._part_bytes = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self.flow.read_paused:  # by us: the rest may be here
            self._deadline = self.loop.call_later(self._bounds.read_s, self._too_slow)
        elif self._part_bytes:
            self._refuse(HeadersTooSlow(f"The headers did not arrive within {self._bounds.read_s:g} s."))
        else:
            self.transport.close()  # a client that said nothing, such as a browser's spare connection

    def _size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _stop_lingering(self, cycle: Any) -> None:
        if self._in_body and self.cycle is cycle:
            self.transport.close()

    def _refuse(self, refused: Refused) -> None:
        """Say why, unless that would be taken for the answer to an earlier request, and close."""
        if self.transport.is_closing():
            return
        cycle: Any = self.cycle
        if cycle is not None and cycle.response_complete and self._in_body:
            self.transport.close()  # it has its answer, before its body was whole
            return
        is_due = cycle is not None and not cycle.response_complete
        if is_due and (self.pipeline or not self._in_body or _has_begun(cycle)):
            self.transport.abort()
            return
        path = getattr(self, "url", b"").partition(b"?")[0].decode("latin-1")
        dialect = ENDPOINTS[path].dialect if path in ENDPOINTS else OPENAI
        request_id = RequestId.of({})
        headers, body = dialect.refusal(refused, request_id)
        ours = [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        lines = [b"%b: %b\r\n" % header for header in (*headers, *request_id.headers(), *ours)]
        self.transport.write(b"".join([STATUS_LINE[dialect.status(refused)], *lines, b"\r\n", body]))
        self.transport.close()


class BoundedGatewayHttp(BoundedHttp, GatewayProtocol):
    """The same with the short way to the gateway, and bounds for what does not go that way."""

    data_received = GatewayProtocol.data_received
    read = BoundedHttp.data_received
    parse = GatewayProtocol.read
    on_response_complete = GatewayProtocol.on_response_complete


def _has_begun(cycle: Any) -> bool:
    return bool(getattr(cycle, "response_started", False) or getattr(cycle, "began", False))
