"""The answering side of one HTTP request: what may still be said, and whether anybody listens."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Task
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from gateway.dialect import OPENAI
from gateway.errors import Refused
from gateway.head_lines import Lines, headers_of
from gateway.headers import Headers, RequestId
from gateway.known_head import KnownHead
from gateway.records import Record
from gateway.source import Passing, Way

Message = MutableMapping[str, Any]

ENDS = (b"\n\n", b"\n\r\n")  # of an event
_new_id = RequestId.of  # to find it in its class takes as long as the call
FLUSH_S = 5.0  # how long a connection that is broken off may take to deliver its last bytes


class Client:
    """One client.

    ``began``: the status line is out. ``answered``: bytes of an answer are
    out, so no other backend may be asked. ``gone``: the client left, and its
    work was cancelled. ``slow``: it was cut off because it did not read.
    ``late``: its body did not come in time. ``evicted``: why the gateway ends it.
    ``headers`` are the request's, by lower-case name. ``dialect`` is that of
    the API it speaks. ``tell`` gives the comment for a stream that is silent,
    or nothing, and ``early`` the headers of one that is told to wait. ``blank``:
    it gets JSON, and blanks while it waits. ``hold_s`` is for how long its
    status line is held back, when its client or its API token says. ``keep``
    is given a complete response. ``work`` is the task that serves it.
    ``record`` is what is written down of it, once it is accepted. ``known`` is
    its head, if it is remembered, and ``body`` its whole body, as long as that
    is here and none of it was read.

    A subclass knows by what way bytes come and go.
    """

    # Set where they differ: a request pays for none of them. What every request looks at, or sets,
    # is set when it begins: what has a default in its class takes ten times as long for both.
    gone = slow = late = blank = False
    evicted: Refused | None = None
    writing_since_s: float | None = None
    reading_until_s: float | None = None
    early: Sequence[tuple[bytes, bytes]] = ()
    hold_s: float | None = None
    _aside: Task[None] | None = None
    last = ENDS[0]  # the last bytes of the answer; at first one is between two events
    passing: Passing | None = None  # who writes past it, and what it wrote last
    _seen = last  # those when somebody last looked

    def _prepare(
        self,
        headers: Mapping[bytes, bytes],
        loop: AbstractEventLoop,
        known: KnownHead | None = None,
        body: bytes | None = None,
    ) -> None:
        """What ``__init__`` would do, which takes five times as long as a call."""
        self._loop = loop
        self.headers = headers
        self.request_id = _new_id(headers)
        self.idle_since_s = loop.time()
        self.work: Task[None] | None = None
        self.dialect = OPENAI
        self.began = self.answered = self.ended = False
        self.tell: Callable[[], bytes] | None = None
        self.keep: Callable[[int, Headers, bytes], None] | None = None
        self.record: Record | None = None
        self.known = known
        self.body = body

    # What a subclass does

    needs_ears = True
    """Whether it takes a task to hear the client leave."""

    def listen(self) -> None:
        """From now on the request's task is cancelled at once when the client leaves."""
        raise NotImplementedError

    def ignore_leaving(self) -> None:
        """What it asks for is done to its end, also when it leaves, unless its body is still to be read."""

    def push(self, data: bytes) -> bool:
        """Send bytes of an answer that has begun, without waiting; False when that cannot be done now."""
        raise NotImplementedError

    def way(self) -> Way | None:
        """Where to write what is framed as chunks of HTTP already; any other way than ours has none."""
        return None

    def send_whole(self, status: int, lines: Lines, body: bytes) -> bool:
        """Send a complete response without waiting; False when that cannot be done now."""
        return False

    async def hung_up(self, timeout_s: float) -> bool:
        """Wait until the connection is closed; False when it is not in time."""
        raise NotImplementedError

    async def _receive(self) -> Message:
        """The next part of the request, as an ASGI message."""
        raise NotImplementedError

    async def _send_head(self, status: int, headers: Headers) -> None:
        raise NotImplementedError

    async def _send(self, data: bytes, *, more: bool) -> None:
        raise NotImplementedError

    async def _send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        await self._send_head(status, headers)
        await self._send(body, more=False)

    @property
    def _transport(self) -> Any:
        raise NotImplementedError

    # What all have in common

    async def read(self, until_s: float) -> Message:
        """The next part of the request. Raises TimeoutError when it has not come by then, about."""
        self.reading_until_s = until_s
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if self.work is None or not self.late:
                raise
            self.work.uncancel()
            raise TimeoutError from None
        finally:
            self.reading_until_s = None

    def stop_reading(self) -> None:
        """The body has taken too long."""
        if not self.late:
            self.late = True
            self.cancel()

    def idle_s(self, now_s: float) -> float:
        """For how long nothing was sent, for whoever looks from time to time: sending looks at no clock."""
        if self.passing is not None and self.passing.last:
            self.last = self.passing.last
        if self.last is not self._seen:
            self._seen = self.last
            self.idle_since_s = now_s
        return now_s - self.idle_since_s

    def close(self) -> None:
        """The request is over."""
        self.ended = True
        if self._aside is not None:
            self._aside.cancel()

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the status line. A stream that was told to wait has it already."""
        if self._aside is not None:
            await self._aside
        if not self.began:
            self.began = True
            await self._send_head(status, headers + self.request_id.headers())

    async def write(self, data: bytes) -> None:
        """Send bytes of the answer, at the pace at which the client reads."""
        if self._aside is not None:
            await self._aside
        self.answered = True
        self.last = data
        await self._send(data, more=True)

    async def start(self, status: int, lines: Lines, data: bytes, *, last: bool) -> None:
        """Begin, and send the first bytes; if they are the last too, the end."""
        await self.begin(status, headers_of(lines))
        await (self.end(data) if last else self.write(data))

    async def end(self, data: bytes) -> None:
        """Send the last bytes and the end, if that can be done in one, and else as others are sent."""
        await self.write(data)
        await self.finish()

    async def finish(self, data: bytes = b"") -> None:
        """Send the last bytes: the answer is whole."""
        if self._aside is not None:
            await self._aside
        self.answered = self.ended = True
        await self._send(data, more=False)

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete response. A stream that was told to wait gets only the body."""
        if self.keep is not None:
            self.keep(status, headers, body)
        if self._aside is not None:
            await self._aside
        if self.began:
            await self.finish(body)
            return
        self.began = self.answered = self.ended = True
        length = (b"content-length", b"%d" % len(body))
        await self._send_whole(status, [*headers, length, *self.request_id.headers()], body)

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
        if self._aside is not None:
            await self._aside
        if self.began:
            # In the middle of an event, or of JSON, nothing more can be said.
            silent = refused.told or not self.last.endswith(ENDS)
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
        transport = self._transport
        if transport is None:
            return  # the server ends a response that is left unfinished
        transport.close()  # delivers what is written, and no final chunk
        if not await self.hung_up(FLUSH_S):
            transport.abort()
            await self.hung_up(FLUSH_S)

    def evict(self, why: Refused) -> bool:
        """There will be no more of this answer. False when it ends already."""
        if self.evicted or self.gone:
            return False
        self.evicted = why
        self.cancel()
        return True

    def cancel(self) -> None:
        """Raise CancelledError where the request waits."""
        if self.work is not None:
            self.work.cancel()

    async def in_task(self) -> None:
        """Go on in a task, if it does not yet."""

    def go_on(self) -> None:
        """What the request waited for without a task is here."""
        raise NotImplementedError

    def go_on_soon(self) -> None:
        """As ``go_on``, in the next turn of the loop."""
        raise NotImplementedError

    def take_due_step(self) -> None:
        """Go on if ``go_on_soon`` is due."""
        raise NotImplementedError

    def cut(self) -> None:
        """Give up on a client that does not read."""
        self.slow = True
        if (transport := self._transport) is not None:
            self.listen()
            transport.abort()
        self._leave()

    def _leave(self) -> None:
        if not self.gone:
            self.gone = True
            self.cancel()

    async def _remark(self, text: bytes) -> None:
        try:
            if not self.began:
                self.began = True
                await self._send_head(200, [*self.early, *self.request_id.headers()])
            await self._send(text, more=True)
        finally:
            self._aside = None
