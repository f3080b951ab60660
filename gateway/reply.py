"""An engine's answer on its way to a client: its head, its bytes, and how it ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from gateway.calls import EngineCall, RelayOptions
from gateway.failures import BackendFailure, Broken, EngineErrored, Truncated
from gateway.patience import TimedReply
from gateway.reply_head import ReplyHead
from gateway.reported import note_answer, note_last
from gateway.scanners import Scanner, stream_scanner, whole_scanner, without_end
from gateway.source import Sink, Source
from gateway.sse import SseScanner
from gateway.waiting import Runner
from scheduling.core.usage import Usage

EXCERPT_BYTES = 64 * 1024  # of an engine's error body
OBJECT, ERROR = b'{"', b"e"  # how an answer begins, and how its first member is not to
OK = 200
NO_HEAD = ReplyHead({})


class Reply(TimedReply):
    """One answer. Iterate it once for the bytes to pass on; a failure is raised after the last good one.

    ``status`` is 0 until the head came. Iteration waits without a task or a timer.
    ``plain_body`` is that of a whole answer that came at once and is as was
    asked for: there is nothing to judge in it.
    """

    # By slots: what has a default in its class takes ten times as long to read or to set.
    __slots__ = (
        "_chunks", "_ended", "_failure", "_feed", "_paused", "_scanner", "_sink", "_taken", "backend", "call",
        "events", "head", "on_first_token", "plain_body", "source", "status", "streamed",
    )  # fmt: skip

    def __init__(
        self,
        backend: str,
        call: EngineCall,
        usage: Usage,
        on_first_token: Callable[[], None],
        options: RelayOptions,
        runner: Runner | None = None,
    ) -> None:
        self._runner = runner
        self._wake_up = None
        self._is_held = False
        self.backend = backend
        self.call = call
        self.status = 0
        self.head = NO_HEAD
        self.streamed = False
        self.plain_body: bytes | None = None
        self.heard = False
        self.source: Source | None = None  # the connection, while there is more to come
        self.on_first_token = on_first_token
        self._usage = usage
        self._options = options
        self._scanner: Scanner | None = None
        self._chunks: list[bytes] = []
        self._failure: BackendFailure | None = None
        self._began = self._ended = False
        self._seen_s = self._quiet_since = 0.0

    def _prepare(self) -> None:
        """Be ready for a body that may come in pieces. One that came whole needs nothing of this."""
        self.events: SseScanner | None = None  # of a stream only
        self._feed: Callable[[bytes], bytes] = bytes
        self._counted = 0
        self._unread = 0
        self._sink: Callable[[bytes], bool] | None = None  # takes bytes as they come, or refuses
        self._taken = False  # a byte of the body was handed on
        self._paused = self._peeking = False

    # -- for whoever passes the answer on

    @property
    def at_boundary(self) -> bool:
        """Between two events of a stream, with nothing waiting: the only place for a comment."""
        return self.streamed and not self._chunks and self._scanner is not None and self._scanner.at_boundary

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                raise StopAsyncIteration
            await self.change()
        data = b"".join(self._chunks)  # of one: itself
        self._chunks.clear()
        self._unread = 0
        self._taken = True
        if self.source is not None and self._paused:
            self._paused = False
            self.source.resume()
        return data

    async def pour(self, sink: Sink) -> None:
        """Hand bytes on as they come, until ``sink`` refuses some: those come next in the iteration."""
        self._sink, events = sink.push, self.events
        if events is not None:
            events.pour_into(sink)
        try:
            while not (self._chunks or self._ended or self._failure):
                await self.change()
        finally:
            self._sink = None
            if events is not None:
                events.pour_no_more()

    # -- for the relay

    def coming(self) -> Awaitable[None]:
        """What to wait for until the status is known. Raises what ended the exchange before that."""
        if self._failure is not None:
            raise self._failure
        return self.change()

    async def peek(self, size: int) -> bytes:
        """Wait for ``size`` bytes or the end, however it comes; the bytes stay unread."""
        self._peeking = True
        try:
            while not (self.whole or self._failure or self._paused) and self._unread < size:
                await self.change()
        finally:
            self._peeking = False
        return b"".join(self._chunks)

    @property
    def whole(self) -> bool:
        """All of the answer has come."""
        return self._ended and self._failure is None

    @property
    def is_sent(self) -> bool:
        """The request went out, by whatever connection, whatever came of that."""
        return self.source is not None or self._failure is not None or self._ended

    def begin_anew(self) -> None:
        """Nothing came of it: the request is to be sent once more."""
        self._failure = None
        self._seen_s = 0.0

    async def in_task(self) -> None:
        """Go on in a task."""
        if self._runner is not None:
            await self._runner.in_task()

    @property
    def untouched(self) -> bool:
        """Not a byte of an answer came."""
        return not (self.heard or self._began or self.status)

    def close(self) -> None:
        """No more is wanted. The engine is told at once if it has not finished."""
        source, self.source = self.source, None
        self._ended = True
        if source is not None:
            source.abort()

    # -- for the connection

    def on_whole(self, head: ReplyHead, body: bytes) -> None:
        """A JSON answer came at once and whole, with status 200, and its connection is free again."""
        call = self.call
        self.source = None
        self.head = head
        self.status = OK
        self._chunks.append(body)
        measures, usage = call.measures_tokens, self._usage
        if not (measures and note_last(body, usage)) and not note_answer(
            body, usage, measures_tokens=measures
        ):
            self.fail(Truncated())
        elif body[:2] == OBJECT and body[2:3] != ERROR and head.is_plain and not call.stream:
            self.plain_body = body
        self._ended = True
        self._wake_now()

    def on_head(self, status: int, head: ReplyHead) -> None:
        """The head is whole; 1xx heads do not come here."""
        self.head = head
        self._prepare()
        if 200 <= status < 300:
            self._choose_scanner(head)
        self.status = status
        self._wake()

    def _choose_scanner(self, head: ReplyHead) -> None:
        if head.of_stream:
            self.streamed = True
            events = stream_scanner(self.backend, self.call, self._usage, self.on_first_token, self._options)
            self._scanner = self.events = events
        else:
            sized = head.content_length is not None
            self._scanner = whole_scanner(self.call, head.content_type, self._usage, is_sized=sized)
        self._feed = self._scanner.feed

    def on_body(self, data: bytes, read: bytes = b"") -> None:
        """The next bytes of the body, without their framing, after those that are read already."""
        self._began = True
        out = read + self._feed(data) if data else read
        if self._scanner is not None and self._scanner.errored and self._failure is None:
            out = self._fail_in_band(data, out)
        if out and not (self._sink is not None and not self._chunks and self._sink(out)):
            self._hold(out)

    def end_together(self) -> None:
        """The end comes with the next bytes: they go on in one piece, by whoever waits."""
        self._sink = None

    def on_end(self) -> None:
        """The framing says that this is all."""
        self.source = None
        if self._scanner is not None:
            if rest := self._scanner.finish():
                self._chunks.append(rest)
            if not self._scanner.complete:
                self.fail(Truncated())
        self._ended = True
        self._wake()

    def on_lost(self, reason: str) -> None:
        """The connection is gone."""
        self.source = None
        self.give_up(Broken(f"{Broken.__doc__} {reason}".strip(), retryable=not self._began))

    def fail(self, failure: BackendFailure) -> None:
        """End with this failure, unless the end is known already. The engine is told."""
        if self._failure is None and not self._ended:
            failure.backend = self.backend
            self._failure = failure
        if self.source is not None:
            source, self.source = self.source, None
            source.abort()
        self._wake()

    def give_up(self, failure: BackendFailure) -> None:
        """Wait for no more: the answer ends if it has said so itself, and with this failure if not."""
        if not self._said_all():
            self.fail(failure)
            return
        source = self.source
        self.on_end()
        if source is not None:
            source.abort()

    # -- inside

    def _hold(self, data: bytes) -> None:
        """Keep bytes until whoever reads comes for them; if those are many, the engine has to wait."""
        self._chunks.append(data)
        if self._sink is not None and self.events is not None:
            self.events.pour_no_more()  # what comes now has to wait for these
        self._unread += len(data)
        if self.source is not None and self._unread > self._options.unread_bytes:
            self._paused = True
            self.source.pause()
        self._wake()

    def _said_all(self) -> bool:
        """The stream's own end was seen; only the connection's is missing."""
        return self._scanner is not None and self._scanner.done

    def _fail_in_band(self, data: bytes, out: bytes) -> bytes:
        """The engine sent an error event. A client that got nothing yet can be given a real HTTP error."""
        if not self._taken:
            self._chunks, self._unread, out = [], 0, b""
        self.fail(EngineErrored.in_band(data[:EXCERPT_BYTES], told=self._taken))
        return without_end(out)
