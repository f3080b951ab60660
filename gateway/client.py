"""The answering side of one HTTP request: what may still be said, and whether anybody listens."""

from __future__ import annotations

import asyncio
import socket
from asyncio import AbstractEventLoop, Task
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from gateway.dialect import OPENAI
from gateway.errors import Refused
from gateway.headers import Headers, RequestId

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# A client that vanishes without a word (no FIN, no RST) is noticed after about 35 s, in line or mid-stream.
VANISHED = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),  # seconds
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),  # seconds
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 35_000),  # milliseconds that sent bytes may stay unanswered
)
ENDS = (b"\n\n", b"\n\r\n")  # of an event
FLUSH_S = 5.0  # how long a connection that is broken off may take to deliver its last bytes


class Client:
    """One client.

    ``began``: the status line is out. ``answered``: bytes of an answer are
    out, so no other backend may be asked. ``gone``: the client left, and its
    work was cancelled. ``slow``: it was cut off because it did not read.
    ``late``: its body did not come in time. ``evicted``: the gateway stops.
    ``dialect`` is that of the API it speaks. ``tell`` gives the comment for a
    stream that is silent, or nothing, and ``early`` the headers of one that is
    told to wait. ``blank``: it gets JSON, and blanks while it waits. ``hold_s``
    is for how long its status line is held back, when its client says.
    """

    __slots__ = (
        "_aside",
        "_ears",
        "_last",
        "_loop",
        "_receive",
        "_send",
        "_work",
        "answered",
        "began",
        "blank",
        "dialect",
        "early",
        "ended",
        "evicted",
        "gone",
        "hold_s",
        "idle_since_s",
        "late",
        "reading_until_s",
        "request_id",
        "slow",
        "tell",
        "writing_since_s",
    )

    def __init__(self, receive: Receive, send: Send, request_id: RequestId) -> None:
        self._receive = receive
        self._send = send
        self._loop: AbstractEventLoop = asyncio.get_running_loop()
        self._ears: Task[None] | None = None
        self._aside: Task[None] | None = None
        self._work = asyncio.current_task()
        self._last = ENDS[0]  # the last bytes of the answer; at first one is between two events
        self.request_id = request_id
        self.dialect = OPENAI
        self.began = self.answered = self.ended = self.gone = self.slow = self.late = self.evicted = False
        self.idle_since_s = self._loop.time()
        self.writing_since_s: float | None = None
        self.reading_until_s: float | None = None
        self.tell: Callable[[], bytes] | None = None
        self.early: Headers = []
        self.blank = False
        self.hold_s: float | None = None

    def listen(self) -> None:
        """From now on the request's task is cancelled at once when the client leaves."""
        if self._ears is None and not self.ended:
            self._ears = self._loop.create_task(self._listen())
            _notice_vanishing(self._transport())

    async def read(self, until_s: float) -> Message:
        """The next part of the request. Raises TimeoutError when it has not come by then, about."""
        self.reading_until_s = until_s
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if self._work is None or not self.late:
                raise
            self._work.uncancel()
            raise TimeoutError from None
        finally:
            self.reading_until_s = None

    def stop_reading(self) -> None:
        """The body has taken too long."""
        if self._work is not None and not self.late:
            self.late = True
            self._work.cancel()

    def close(self) -> None:
        """Stop listening."""
        self.ended = True
        if self._ears is not None:
            self._ears.cancel()
        if self._aside is not None:
            self._aside.cancel()

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the status line. A stream that was told to wait has it already."""
        if self._aside is not None:
            await self._aside
        if not self.began:
            self.began = True
            await self._put(
                {
                    "type": "http.response.start",
                    "status": status,
                    "headers": headers + self.request_id.headers(),
                }
            )

    async def write(self, data: bytes) -> None:
        """Send bytes of the answer, at the pace at which the client reads."""
        if self._aside is not None:
            await self._aside
        self.answered = True
        self._last = data
        await self._put({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes = b"") -> None:
        """Send the last bytes: the answer is whole."""
        if self._aside is not None:
            await self._aside
        self.answered = self.ended = True
        await self._put({"type": "http.response.body", "body": data, "more_body": False})

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete response."""
        await self.begin(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.finish(body)

    def remark(self, text: bytes) -> None:
        """Send an SSE comment in passing, unless something is being sent. Call it between two events only."""
        if self._aside is None and self.writing_since_s is None and not self.ended:
            self._aside = self._loop.create_task(self._remark(text))

    async def refuse(self, refused: Refused) -> None:
        """Say that there will be no answer, or no more of it.

        Before the status line that is a response of its own. After it, it is
        an error event and a broken connection: SDKs take a clean end of a
        stream for a whole answer.
        """
        if self.began:
            # In the middle of an event, or of JSON, nothing more can be said.
            silent = refused.told or not self._last.endswith(ENDS)
            say = self.dialect.error if self.blank else self.dialect.last_words
            await self.break_off(b"" if silent else say(refused, self.request_id))
        else:
            headers, body = self.dialect.refusal(refused, self.request_id)
            await self.whole(self.dialect.status(refused), headers, body)

    async def break_off(self, last_words: bytes = b"") -> None:
        """End the connection so that the client cannot take the answer for whole."""
        if last_words:
            await self.write(last_words)
        self.listen()
        self.ended = True
        transport = self._transport()
        if transport is None:
            return  # the server ends a response that is left unfinished
        transport.close()  # delivers what is written, and no final chunk
        if not await self.hung_up(FLUSH_S):
            transport.abort()
            await self.hung_up(FLUSH_S)

    async def hung_up(self, timeout_s: float) -> bool:
        """Wait until the connection is closed; False when it is not in time."""
        if self._ears is None:
            return True
        done, _ = await asyncio.wait([self._ears], timeout=timeout_s)
        return bool(done)

    def evict(self) -> None:
        """The gateway stops: there will be no more of this answer."""
        if self._work is not None and not self.evicted and not self.gone:
            self.evicted = True
            self._work.cancel()

    def cut(self) -> None:
        """Give up on a client that does not read."""
        self.slow = True
        if (transport := self._transport()) is not None:
            self.listen()
            transport.abort()
        self._leave()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self.ended:
            self._leave()

    def _leave(self) -> None:
        if self._work is not None and not self.gone:
            self.gone = True
            self._work.cancel()

    async def _remark(self, text: bytes) -> None:
        try:
            if not self.began:
                self.began = True
                headers = self.early + self.request_id.headers()
                await self._put({"type": "http.response.start", "status": 200, "headers": headers})
            await self._put({"type": "http.response.body", "body": text, "more_body": True})
        finally:
            self._aside = None

    async def _put(self, message: Message) -> None:
        self.writing_since_s = self._loop.time()
        await self._send(message)
        self.writing_since_s = None
        self.idle_since_s = self._loop.time()

    def _transport(self) -> Any:
        # ASGI has no way to abort. uvicorn's send is a method of the cycle that holds the transport.
        return getattr(getattr(self._send, "__self__", None), "transport", None)


def _notice_vanishing(transport: Any) -> None:
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    # It may have left already, and the ears will say so; uvloop says ValueError for a closed socket.
    with suppress(OSError, ValueError):
        for level, option, value in VANISHED:
            sock.setsockopt(level, option, value)
