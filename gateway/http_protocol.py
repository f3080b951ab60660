"""uvicorn's HTTP protocol, with a shorter way for the requests that the data plane relays.

Everything else (pages, health, WebSockets, HTTP/1.0, ``Expect``) goes
uvicorn's own way through ASGI, and so do relayed requests under any other
server. Both ways end in the same consumer. The shorter one saves the
messages, an event, two timers and a task that hears the client leave: about
half of what a small request costs.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.client import notice_vanishing
from gateway.direct_client import DirectClient

RELAYED = re.compile(rb"/v1/[A-Za-z0-9/._-]+")  # nothing to decode, and no query
AHEAD = 8  # requests that are read before the one that runs is answered; while none is, no end is heard

Serve = Callable[[Mapping[str, Any], DirectClient], Coroutine[Any, Any, None]]


class GatewayProtocol(HttpToolsProtocol):
    """One connection. ``serve`` is what serves a relayed request.

    It builds on uvicorn's protocol from the inside, so uvicorn's version is
    locked and the tests of the gateway run by both ways.
    """

    cycle: Any  # uvicorn's, or a DirectClient
    pipeline: deque[Any]

    def __init__(self, serve: Serve, **options: Any) -> None:
        super().__init__(**options)
        self._serve = serve
        self._running: DirectClient | None = None
        self._asgi_cycle: Any = None  # uvicorn's that was started last
        self._free_since_s: float | None = self.loop.time()

    # -- asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        """A client connected: it has until the end of the keep-alive time for its first request."""
        super().connection_made(transport)
        notice_vanishing(transport)
        self._watch(self.timeout_keep_alive)

    def data_received(self, data: bytes) -> None:
        """Bytes came. A request begins to be served when those of its head are read."""
        super().data_received(data)
        running = self._running
        if running is not None and running.work is None and not self.transport.is_closing():
            self._start(running)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, by whomever."""
        self.cycle = (
            self._asgi_cycle
        )  # uvicorn tells the one that came last, which may not be the one that runs
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        self.pipeline.clear()
        if self._running is not None:
            self._running.lost()

    # -- httptools

    def on_message_begin(self) -> None:
        """A request begins. uvicorn's scope for it is made when it turns out to be one of uvicorn's."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is read: which way does the request go?"""
        self._free_since_s = None
        headers = self.headers
        by_name = dict(headers)
        self.expect_100_continue = by_name.get(b"expect", b"").lower() == b"100-continue"
        if not self._is_relayed():
            self._leave_to_uvicorn()
            return
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": self.url.decode("ascii"),
            "query_string": b"",
            "headers": headers,
        }
        before = self.cycle
        client = DirectClient(self, scope, by_name, keep_alive=self.parser.should_keep_alive())
        self.cycle = client
        if before is None or before.response_complete:
            self._running = client
        else:
            self.pipeline.appendleft((client, self.app))
            if len(self.pipeline) > AHEAD:
                self.flow.pause_reading()

    def on_body(self, body: bytes) -> None:
        """Bytes of a request's body."""
        if isinstance(self.cycle, DirectClient):
            self.cycle.take(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request's body is whole."""
        if isinstance(self.cycle, DirectClient):
            self.cycle.took_all()
            if self.flow.read_paused and not self.pipeline:
                self.flow.resume_reading()  # for its end to be heard
        else:
            super().on_message_complete()

    # -- for its requests

    @property
    def writable(self) -> bool:
        """Whether what was written so far has left, but for a little."""
        return not self.flow.write_paused

    @property
    def default_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The server's own, on every response."""
        return self.server_state.default_headers

    async def drain(self) -> None:
        """Wait until it is writable, or lost."""
        await self.flow.drain()

    def pause_reading(self) -> None:
        """Take no more bytes until ``resume_reading``."""
        self.flow.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self.flow.resume_reading()

    def answered(self, client: DirectClient) -> None:
        """The response is complete."""
        self.on_response_complete()

    def over(self, client: DirectClient) -> None:
        """The request's task ends."""
        if client.work is not None:
            self.tasks.discard(client.work)
        if not client.response_complete:
            self.transport.close()

    # -- what uvicorn does otherwise

    def on_response_complete(self) -> None:
        """A response is complete, by either way: the next request may begin."""
        self.server_state.total_requests += 1
        self._running = None
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._free_since_s = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP. In the middle of a response nothing can be said about it."""
        if self._running is not None and self._running.began:
            self.transport.close()
        else:
            super().send_400_response(msg)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection without a request, or look again when it may have been without one for too long.

        One timer that is late is cheaper than one that is moved at every request.
        """
        now_s = self.loop.time()
        free_s = 0.0 if self._free_since_s is None else now_s - self._free_since_s
        if free_s >= self.timeout_keep_alive:
            super().timeout_keep_alive_handler()
        else:
            self._watch(self.timeout_keep_alive - free_s)

    def handle_websocket_upgrade(self) -> None:
        """The connection is another protocol's from now on."""
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().handle_websocket_upgrade()

    def _unset_keepalive_if_required(self) -> None:
        """Nothing: the timer runs on."""

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, DirectClient):
            self._running = cycle
            self._start(cycle)
        else:
            self._asgi_cycle = cycle
            super()._start_asgi_task(cycle, app)

    def _start(self, client: DirectClient) -> None:
        client.work = task = self.loop.create_task(self._serve(client.scope, client))
        self.tasks.add(task)

    def _watch(self, delay_s: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(delay_s, self.timeout_keep_alive_handler)

    def _is_relayed(self) -> bool:
        parser = self.parser
        return (
            RELAYED.fullmatch(self.url) is not None
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and not parser.should_upgrade()
        )

    def _leave_to_uvicorn(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # the list that the scope holds
        super().on_headers_complete()
        if self.flow.read_paused and len(self.pipeline) <= AHEAD:
            self.flow.resume_reading()  # uvicorn reads nothing ahead, and so hears no end
