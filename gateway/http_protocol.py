"""uvicorn's HTTP protocol, with a shorter way for the requests that the data plane relays.

Everything else (pages, health, WebSockets, HTTP/1.0, ``Expect``) goes
uvicorn's own way through ASGI, and so do relayed requests under any other
server. Both ways end in the same consumer. The shorter one saves the
messages, an event, two timers and two tasks.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import httptools

from gateway.ahead import AHEAD, BoundedFlow
from gateway.direct_client import DirectClient
from gateway.known_head import KnownHead
from gateway.offers import without_offer
from gateway.vanishing import notice_vanishing
from gateway.writable import WritableHttp

RELAYED = re.compile(rb"/v1/[A-Za-z0-9/._-]+")  # nothing to decode, and no query
SCOPE = {"type": "http", "http_version": "1.1", "method": "POST", "query_string": b""}  # of all that are
MISSES = 3  # heads that no later one was like; then a connection is not looked at for the like any more

Serve = Callable[[Mapping[str, Any], DirectClient], Coroutine[Any, Any, None]]


class GatewayProtocol(WritableHttp):
    """One connection. ``serve`` is what serves a relayed request.

    It builds on uvicorn's protocol from the inside, so uvicorn's version is
    locked and the tests of the gateway run by both ways.
    """

    cycle: Any  # uvicorn's, or a DirectClient
    pipeline: deque[Any]
    tasks: set[Any]  # and DirectClients, which can be cancelled like one

    def __init__(self, serve: Serve, slow_client_s: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self._serve, self._slow_client_s = serve, slow_client_s
        self._running: DirectClient | None = None
        self._asgi_cycle: Any = None  # uvicorn's that was started last
        self._is_offer = False  # the request that is read offers a protocol that is not spoken here
        self._between = True  # the parser is between two requests
        self._known: KnownHead | None = None
        self._misses = 0
        self._free_since_s: float | None = self.loop.time()

    # -- asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        """A client connected: it has until the end of the keep-alive time for its first request."""
        super().connection_made(transport)
        self.flow = BoundedFlow(transport, self.pipeline)
        notice_vanishing(transport, self._slow_client_s)
        self._watch(self.timeout_keep_alive)

    def data_received(self, data: bytes) -> None:
        """Bytes came: nearly always a request with the head of the one before, which needs no parser."""
        known = self._known
        if known is None or self._running is not None or not self._between or self.transport.is_closing():
            self.read(data)
            return
        body = known.body_of(data)
        if body is None:
            self.read(data)
            return
        self._misses = 0
        if not known.is_plain:
            known.tell_length(body)
        self.cycle = self._running = client = DirectClient()
        client.arrive(self, known.scope, known.headers, known, body)
        self.tasks.add(client)
        serve = self._serve  # called as a method it would be looked for in the class first
        client.run(serve(known.scope, client))

    def read(self, data: bytes) -> None:
        """Have any bytes parsed. A request begins to be served when those of its head are read."""
        is_first = self._between and self._running is None
        rest: bytes | None = data
        while rest is not None:
            rest = self._feed(rest)
        if is_first and self._between and self._misses < MISSES:
            self._learn(data)
        self._start_running()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, by whomever."""
        self.cycle = self._asgi_cycle  # uvicorn tells the one that came last: it may not be what runs
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        self.pipeline.clear()
        running, self._running = self._running, None
        if running is not None:
            running.lost()

    # -- httptools

    def on_message_begin(self) -> None:
        """A request begins. uvicorn's scope for it is made when it turns out to be one of uvicorn's."""
        self._between = False
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
        if self.parser.should_upgrade() and not self._should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("no tunnels here")  # read once more it would be the same again, for ever
            self._is_offer = True
            return
        by_name = dict(headers)
        self.expect_100_continue = by_name.get(b"expect", b"").lower() == b"100-continue"
        if not self._is_relayed():
            self._leave_to_uvicorn()
            return
        scope = {**SCOPE, "path": self.url.decode("ascii"), "headers": headers}
        before = self.cycle
        client = DirectClient()
        client.arrive(self, scope, by_name)
        client.keep_alive = self.parser.should_keep_alive()
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
        if self._is_offer:
            return
        self._between = True
        if isinstance(self.cycle, DirectClient):
            self.cycle.took_all()
            if self.flow.read_paused and not self.pipeline:
                self.flow.resume_reading()  # for its end to be heard
        else:
            super().on_message_complete()

    # -- for its requests

    async def drain(self) -> None:
        """Wait until it is writable, or lost."""
        await self.flow.drain()

    def pause_reading(self) -> None:
        """Take no more bytes until ``resume_reading``."""
        self.flow.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self.flow.resume_reading()

    # -- what uvicorn does otherwise

    def on_response_complete(self) -> None:
        """A response is complete, by either way: the next request may begin."""
        self._running = None
        if self._between and not self.pipeline and not self.flow.read_paused:  # as nearly always
            self._free_since_s = self.loop.time()
            return
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if not self._between:
            self.linger()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._free_since_s = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP. In the middle of a response nothing can be said about it."""
        if self._running is not None and self._running.began:
            self.writable = False
            self.transport.close()
        else:
            super().send_400_response(msg)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection without a request, or look again when it may have been without one for too long.

        One timer that is late is cheaper than one that is moved at every request.
        """
        since_s = None if self._running is not None else self._free_since_s
        free_s = 0.0 if since_s is None else self.loop.time() - since_s
        if free_s >= self.timeout_keep_alive:
            super().timeout_keep_alive_handler()
        else:
            self._watch(self.timeout_keep_alive - free_s)

    def handle_websocket_upgrade(self) -> None:
        """The connection is another protocol's from now on."""
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().handle_websocket_upgrade()

    def _feed(self, data: bytes) -> bytes | None:
        """Have bytes parsed; what remains of them when a request began that offers another protocol."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.logger.warning(message := "Invalid HTTP request received.")
            self.send_400_response(message)
        except httptools.HttpParserUpgrade as upgrade:
            if self._is_offer:
                return self._without_offer() + data[upgrade.args[0] :]
            self.handle_websocket_upgrade()
        return None

    def _without_offer(self) -> bytes:
        """The head, to be read once more: the parser took the offer for the end of HTTP, and of the body."""
        head = without_offer(
            self.parser.get_method(), self.url, self.parser.get_http_version().encode(), self.headers
        )
        self._is_offer = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        return head

    def _unset_keepalive_if_required(self) -> None:
        """Nothing: the timer runs on."""

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, DirectClient):
            self._running = cycle
            self.loop.call_soon(self._start_running)  # not in the midst of the one before
        else:
            self._asgi_cycle = cycle
            super()._start_asgi_task(cycle, app)

    def _learn(self, data: bytes) -> None:
        """Remember the head of a request that came whole and alone."""
        if (client := self._running) and client.keep_alive and (body := client.body) is not None:
            self._misses += 1
            client.known = self._known = KnownHead.of(data, body, client.scope)

    def _start_running(self) -> None:
        if (client := self._running) and client not in self.tasks and not self.transport.is_closing():
            self.tasks.add(client)
            client.run(self._serve(client.scope, client))

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
        # What begins by a known head begins at once, and this one's answer has to go first.
        self._known, self._misses = None, 0
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # the list that the scope holds
        super().on_headers_complete()
        self.flow.resume_reading()  # uvicorn reads nothing ahead, and so hears no end
