"""One connection to an engine: HTTP/1.1 on a bare transport, framed by hand if plain, else by llhttp."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import httptools

from gateway.failures import Garbage, Stopping
from gateway.framing import HEAD_BYTES, HEAD_END, LAST_CHUNK, PlainHead, at_once, plain_head, whole_chunks
from gateway.reply import OK, Reply
from gateway.reply_head import ReplyHead
from gateway.runs import RUN_BYTES, begin_of
from gateway.source import Home
from gateway.waiting import due, step_due

FRAMING = (b"content-length", b"transfer-encoding")  # without these an answer ends with its connection
MAX_AGE_S = 60.0  # an older connection is not reused, so that a change of DNS is followed
JOINED_BYTES = 64 * 1024  # a request up to this size is sent in one piece


class Connection(asyncio.Protocol):
    """One connection; carries one exchange at a time.

    An answer whose framing is as plain as nearly all are is never shown to the parser. As soon as it turns
    out otherwise, at a chunk's boundary, the parser is shown its head, and what comes from there on.
    """

    __slots__ = (
        "_body", "_by_chunks", "_complete", "_framed", "_head_done", "_headers", "_home", "_is_fresh",
        "_keep", "_lacks", "_parser", "_paused", "_reply", "_seen_bytes", "_surplus", "_transport",
        "_unshown", "born_s", "data_received", "is_old", "lost",
    )  # fmt: skip

    def __init__(self, home: Home, born_s: float) -> None:
        self._home = home
        self.born_s = born_s
        self.lost = self.is_old = False
        self._reply: Reply | None = None
        self._body: list[bytes] = []
        self._paused = self._surplus = False
        # Only an exchange that ended well is followed by another: it finds all of this as it is here.
        self._headers: dict[bytes, bytes] = {}
        self._is_fresh = True  # no byte of an answer came
        self._head_done = self._complete = self._keep = self._framed = False
        self._seen_bytes = 0
        self._by_chunks = False  # the next chunk of an answer may be framed by hand
        self.data_received = self._hear  # type: ignore[method-assign]
        self._lacks = 0  # bytes until that is so again
        self._unshown = b""  # the head of an answer that the parser was not shown
        self._parser = httptools.HttpResponseParser(self)

    # -- the exchange

    def send(self, reply: Reply, head: bytes, body: tuple[bytes, ...]) -> None:
        """Send a request whose answer goes to ``reply``. ``head`` lacks no more than the body's length."""
        self._reply = reply
        reply.source = self
        data = body[0]
        if len(body) == 1 and len(data) <= JOINED_BYTES:
            self._transport.write(b"".join((head, str(len(data)).encode(), HEAD_END, data)))
        else:
            self._transport.writelines((head, str(sum(map(len, body))).encode(), HEAD_END, *body))

    def check(self, now_s: float) -> None:
        """Give up an answer whose engine is silent for too long; grow old."""
        if self._reply is not None:
            self._reply.check(now_s)
        if now_s - self.born_s >= MAX_AGE_S:
            self.is_old = True
            self._home.age(self)

    def pause(self) -> None:
        """Read no more until ``resume``: the engine's own buffers fill, and it waits."""
        if not self._paused and not self.lost:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self.lost:
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once, without a word: the engine sees that nobody wants its answer."""
        self._reply = None
        self._transport.abort()

    def break_off(self) -> None:
        """Close at once, and let whoever reads the answer know."""
        if self._reply is not None:
            self._reply.fail(Stopping())
        else:
            self._transport.abort()

    def is_usable(self) -> bool:
        """May carry another request."""
        return not self._transport.is_closing()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send small writes at once, and notice a peer that vanished."""
        self._transport = cast("asyncio.Transport", transport)
        self._home.add(self)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def _hear(self, data: bytes) -> None:
        """Frame the bytes; hand the body on in one piece per call."""
        reply = self._reply
        if reply is None:  # nobody asked: the connection is out of step
            self._transport.abort()
            return
        head = plain_head(data) if self._is_fresh else None
        if head is not None and head.json_size == len(data):
            self._reply = None
            self._release(keep=True)
            reply.on_whole(head.head, data[head.size :])
            if due:
                step_due()
            return
        reply.hold()
        try:
            self._take(reply, data, head)
        finally:
            reply.let_go()
        if due:
            step_due()

    def _take(self, reply: Reply, data: bytes, head: PlainHead | None) -> None:
        """Take any bytes. ``head`` is the one with which they begin, if it is plain."""
        self._is_fresh, reply.heard = False, True
        if head is not None and head.length is None:
            self._head_done = self._framed = True
            self._unshown = data[: head.size]
            reply.on_head(OK, head.head)
            self._begin_chunks(reply)
            if len(data) > head.size:
                self._take_chunks(reply, data[head.size :])
        elif self._by_chunks:
            self._take_chunks(reply, data)
        elif self._lacks:
            self._take_rest(reply, data, self._lacks)
        else:
            self._parse(reply, data)

    def _take_rest(self, reply: Reply, data: bytes, lacks: int) -> None:
        """What follows bytes that the parser was shown is for the parser too until a chunk begins."""
        self._lacks = max(0, lacks - len(data))
        self._parse(reply, data[:lacks])
        if not self._lacks and self._reply is not None:
            self._begin_chunks(reply)
            if len(data) > lacks:
                self._take_chunks(reply, data[lacks:])

    def _take_chunks(self, reply: Reply, data: bytes) -> None:
        """Several chunks, the last, a part of one, or anything else."""
        read = b""
        if (events := reply.events) is not None:
            read, begin = begin_of(events, data) if len(data) > RUN_BYTES else events.leads(data)
            data = data[begin:]
            if not data:
                reply.on_body(b"", read)
                return
        pieces, end, lacks = at_once(data) or whole_chunks(data)
        rest = data[end:]
        is_last = rest == LAST_CHUNK and bool(self._unshown)
        if is_last:
            reply.end_together()
        if pieces or read:
            reply.on_body(b"".join(pieces), read)
            if self._reply is None:  # the answer was given up
                return
        if is_last:
            self._reply = None
            self._end_chunks()
            self._unshown, self._is_fresh = b"", True
            self._head_done = self._framed = False
            self._release(keep=True)
            reply.on_end()
        elif rest:
            self._end_chunks()
            self._lacks = lacks
            shown, self._unshown = self._unshown + rest, b""
            self._parse(reply, shown)

    def _begin_chunks(self, reply: Reply) -> None:
        """A stream's chunks go straight to its scanner, which hands back what it cannot pass."""
        self._by_chunks = True
        if (events := reply.events) is not None:
            events.otherwise = self._hear
            self.data_received = events.passes  # type: ignore[method-assign, assignment]
            self._transport.set_protocol(self)  # uvloop looks up what it calls only now

    def _end_chunks(self) -> None:
        self._by_chunks = False
        self.data_received = self._hear  # type: ignore[method-assign]
        self._transport.set_protocol(self)

    def _parse(self, reply: Reply, data: bytes) -> None:
        """Have llhttp frame the bytes: it calls the methods below."""
        fault = ""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            fault = str(error) or type(error).__name__
        body = self._body
        if body:
            reply.on_body(body[0] if len(body) == 1 else b"".join(body))
            body.clear()
            if self._reply is None:  # the answer was given up
                return
        if self._complete:
            self._finish(clean=not fault)
        elif fault:
            reply.fail(Garbage(f"{Garbage.__doc__} Its HTTP is broken: {fault}."))
        elif not self._head_done:
            self._seen_bytes += len(data)
            if self._seen_bytes > HEAD_BYTES:
                reply.fail(Garbage(f"{Garbage.__doc__} Its head is larger than {HEAD_BYTES} bytes."))

    def eof_received(self) -> None:
        """Nothing to do: the transport closes itself, and ``connection_lost`` follows."""

    def connection_lost(self, exc: Exception | None) -> None:
        """An answer without a length ends here; any other breaks."""
        self.lost = True
        self.data_received = self._hear  # type: ignore[method-assign]
        self._home.forget(self)
        reply, self._reply = self._reply, None
        if reply is None:
            return
        if exc is None and self._head_done and not self._framed:
            reply.on_end()
        else:
            reply.on_lost(f"({exc})" if exc else "")

    # -- llhttp

    def on_message_begin(self) -> None:
        """A second answer that nobody asked for makes the connection unusable."""
        self._surplus = self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; trailers are dropped."""
        if not self._head_done:
            name = name.lower()
            if name in FRAMING:
                self._framed = True
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        """The head is whole; that of a 1xx reply only announces the real one."""
        status = self._parser.get_status_code()
        if self._complete or self._head_done or self._reply is None:  # it was read by hand before
            return
        if status < 200:
            self._headers.clear()
            self._framed = False
            return
        self._head_done = True
        self._reply.on_head(status, ReplyHead(self._headers))

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if not self._complete:
            self._body.append(data)

    def on_message_complete(self) -> None:
        """Whether the connection lives on must be asked here: later llhttp has forgotten."""
        if self._head_done and not self._complete:
            self._complete = True
            self._keep = self._parser.should_keep_alive()

    def _finish(self, *, clean: bool) -> None:
        """The answer is whole: free the connection before the reader is done with the bytes."""
        reply, self._reply = self._reply, None
        keep = clean and self._keep and not self._surplus
        self._headers = {}
        self._is_fresh = True
        self._head_done = self._complete = self._keep = self._framed = False
        self._seen_bytes = 0
        self._release(keep=keep)
        if reply is not None:
            reply.on_end()

    def _release(self, *, keep: bool) -> None:
        """The exchange is over: another may follow, if this request has left and nothing else is amiss."""
        if keep and not self._transport.get_write_buffer_size():
            if self._paused:
                self.resume()
            self._home.keep(self)
        else:
            self._transport.abort()
