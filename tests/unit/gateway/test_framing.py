"""What is framed by hand, beside the parser that does the same more slowly."""

from __future__ import annotations

import asyncio
import random

import httptools
import pytest

from gateway import connection as connections
from gateway.calls import EngineCall, RelayOptions
from gateway.connection import Connection
from gateway.failures import BackendFailure
from gateway.framing import at_once, plain_head, whole_chunks
from gateway.reply import Reply
from gateway.sse import SseScanner
from gateway.waiting import due
from scheduling.core.usage import Usage

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n'
TEXTS = (b"Hi", b" there", b"x" * 200, b'\\"', b"\xc3\xa9", b"", b'"}]}', b"\r\n")
LAST = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
FRAMES = (b"%x\r\n%b\r\n",) * 12 + (b"%X\r\n%b\r\n", b"0%x\r\n%b\r\n", b"%x;a=b\r\n%b\r\n", b"%x\n%b\r\n")
ENDS = (b"0\r\n\r\n",) * 4 + (b"0\r\nx-a: b\r\n\r\n", b"0\r\n\r\nHTTP/1.1 200 OK\r\n", b"00\r\n\r\n")
OPTIONS = RelayOptions(event_bytes=8 * 1024)
LINES = (
    b"content-type: application/json", b"Content-Length: 2", b"content-length: 3", b"content-length: +2",
    b"content-length: 2 ", b"transfer-encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"x-a:b",
    b"connection: close", b"connection: keep-alive", b"Connection: upgrade", b"upgrade: h2c", b" folded",
    b"x a: b", b"x-b: a\rb", b"x-c: a\nb", b"x-d:", b"date: Fri, 03 Jan 2025 00:00:00 GMT", b"x-e: \x01",
    b"proxy-connection: close", b"nothing", b"x-f: \xff",
)  # fmt: skip


class Wire:
    closed = False

    def write(self, data: bytes) -> None: ...

    def get_extra_info(self, name: str) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def set_protocol(self, protocol: object) -> None: ...

    def resume_reading(self) -> None: ...


class Home:
    kept = 0

    def add(self, connection: Connection) -> None: ...

    def forget(self, connection: Connection) -> None: ...

    def keep(self, connection: Connection) -> None:
        self.kept += 1


class Reader:
    """A client with a way for what is framed already."""

    last = b""
    passing = None

    def __init__(self, rng: random.Random | None = None) -> None:
        self.got = b""
        self.transport = self
        self._rng = rng  # it takes nothing at times

    @property
    def writable(self) -> bool:
        return self._rng is None or self._rng.random() < 0.7

    def way(self) -> Reader:
        return self

    def push(self, data: bytes) -> bool:
        if not self.writable:
            return False
        self.got += data
        return True

    def write(self, chunk: bytes) -> None:
        parts, end, _ = whole_chunks(chunk)
        assert end == len(chunk)
        self.got += b"".join(parts)


async def read(reply: Reply, reader: Reader) -> str:
    """As a client does."""
    try:
        async for data in reply:
            reader.got += data
            await reply.pour(reader)
    except BackendFailure as failure:
        return repr(failure)
    return "whole"


async def play(pieces: list[bytes], slow: random.Random | None = None) -> tuple[object, ...]:
    """The pieces of a stream come; what the client gets, in its chunks' bytes, and how it ends."""
    home, wire, usage, client = Home(), Wire(), Usage(prompt_tokens=5), Reader(slow)
    connection = Connection(home, 0.0)
    connection.connection_made(wire)
    call = EngineCall("r1", "/v1/chat/completions", (b"{}",), stream=True, strip_usage=False)
    reply = Reply("gpu-0", call, usage, lambda: None, OPTIONS)
    connection.send(reply, b"", call.body)

    reader = asyncio.create_task(read(reply, client))
    for piece in pieces:
        if not wire.closed and connection._reply is not None:
            connection.data_received(piece)
            for _ in range(2 if slow is None else slow.randint(0, 2)):
                await asyncio.sleep(0)
    if connection._reply is not None:
        connection.connection_lost(None)
    outcome = await reader
    return client.got, outcome, usage, home.kept, wire.closed


def stream(rng: random.Random) -> list[bytes]:
    """Chunks, one or several a piece or cut anywhere, some oddly framed, some damaged."""
    odd = rng.random() < 0.5
    parts = [HEAD]
    for _ in range(rng.randint(1, 20)):
        event = EVENT % rng.choice(TEXTS if rng.random() < 0.3 else TEXTS[:3])
        parts.append((rng.choice(FRAMES) if odd else FRAMES[0]) % (len(event), event))
    parts += [b"%x\r\n%b\r\n" % (len(LAST), LAST), rng.choice(ENDS)]
    if rng.random() < 0.3:
        at = rng.randrange(1, len(parts))
        cut = rng.randrange(len(parts[at]))
        parts[at] = parts[at][:cut] + rng.choice((b"", b"\r", b"0", b"\r\n")) + parts[at][cut + 1 :]
    if rng.random() < 0.3:
        raw = b"".join(parts)
        cuts = sorted(rng.sample(range(1, len(raw)), 6))
        return [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    pieces = []
    while parts:
        count = rng.choice((1, 1, 1, 3, 16))
        pieces.append(b"".join(parts[:count]))
        del parts[:count]
    return pieces


def test_chunks_that_are_read_at_once_are_those_that_are_read_one_by_one() -> None:
    read = 0
    for seed in range(2000):
        data = b"".join(stream(random.Random(seed))[1 : 2 + seed % 2])
        if (found := at_once(data)) is not None:
            read += 1
            assert found == whole_chunks(data)
    assert read > 200


def test_a_stream_comes_out_as_if_the_parser_had_framed_all_of_it(monkeypatch) -> None:
    def run(seed: int) -> tuple[object, ...]:
        return runner.run(play(stream(random.Random(seed))))

    with asyncio.Runner() as runner:
        by_hand = [run(seed) for seed in range(400)]
        monkeypatch.setattr(connections, "plain_head", lambda data: None)
        for seed, came in enumerate(by_hand):
            assert came == run(seed), seed


@pytest.mark.parametrize("odd", [b"", b'\\"quoted\\"', b"\\", b'"', b"a\nb", b"x" * 5000])
def test_chunks_that_come_at_once_are_read_as_those_that_come_one_by_one(odd, monkeypatch) -> None:
    runs = []

    def begin_of(scanner: SseScanner, data: bytes) -> tuple[bytes, int]:
        runs.append(read := scanned(scanner, data))
        return read

    scanned = connections.begin_of
    monkeypatch.setattr(connections, "begin_of", begin_of)
    with asyncio.Runner() as runner:
        for seed in range(60):
            rng = random.Random(seed)
            events = [EVENT % rng.choice(TEXTS[:5]) for _ in range(30)]
            if odd:
                events[rng.randrange(30)] = EVENT % odd
            chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in [*events, LAST]]
            alone = runner.run(play([HEAD, *chunks, ENDS[0]]))
            at = rng.randrange(25)
            together = [HEAD + b"".join(chunks[:at]), b"".join(chunks[at:]) + ENDS[0]]
            assert runner.run(play(together)) == alone, seed
    assert sum(end for _, end in runs) > 60 * 1000


def test_a_client_that_takes_nothing_at_times_gets_all_of_it_in_order() -> None:
    with asyncio.Runner() as runner:
        for seed in range(400):
            pieces = stream(random.Random(seed))
            steady = runner.run(play(pieces))
            if steady[1] == "whole":
                assert runner.run(play(pieces, random.Random(-seed))) == steady, seed


async def test_an_engine_whose_events_pass_unread_is_not_taken_for_silent() -> None:
    connection = Connection(Home(), 0.0)
    connection.connection_made(Wire())
    call = EngineCall("r1", "/v1/chat/completions", (b"{}",), stream=True, strip_usage=False)
    reply = Reply("gpu-0", call, Usage(), lambda: None, RelayOptions(stall_s=10))
    connection.send(reply, b"", call.body)
    event = EVENT % b"Hi"
    for _ in range(2):  # for the engine's events to be known
        SseScanner(Usage(), lambda: None, strip_usage=False, event_bytes=9999).feed(event)
    chunk = b"%x\r\n%b\r\n" % (len(event), event)
    connection.data_received(HEAD + chunk)
    reader = Reader()
    reading = asyncio.create_task(read(reply, reader))
    began = asyncio.get_running_loop().time()
    for beat in range(8):
        await asyncio.sleep(0)
        connection.data_received(chunk)
        reply.check(began + beat * 8)
    assert reader.passing.last is chunk  # it passed as it came
    assert not reading.done()
    reply.check(began + 70)
    await reading
    assert reading.result().startswith("Stalled")
    assert reader.got == event * 9


class Due:
    went_on = 0

    def take_due_step(self) -> None:
        del due[self]
        self.went_on += 1


async def test_whoever_is_due_goes_on_when_an_engines_bytes_have_been_dealt_with() -> None:
    chunk = b"%x\r\n%b\r\n" % (len(EVENT % b"Hi"), EVENT % b"Hi")
    whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    for came in (HEAD, HEAD + chunk, whole):
        connection, waiting = Connection(Home(), 0.0), Due()
        connection.connection_made(Wire())
        call = EngineCall("r1", "/v1/chat/completions", (b"{}",), stream=True, strip_usage=False)
        connection.send(Reply("gpu-0", call, Usage(), lambda: None, OPTIONS), b"", call.body)
        due[waiting] = None
        connection.data_received(came)
        assert waiting.went_on == 1, came


class Heard:
    """What the parser says of an answer."""

    def __init__(self, raw: bytes) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.keep = self.complete = False
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(raw)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete, self.keep = True, self.parser.should_keep_alive()


def test_a_head_that_is_plain_says_the_same_to_the_parser() -> None:
    plain = 0
    for seed in range(3000):
        rng = random.Random(seed)
        lines = [rng.choice(LINES) for _ in range(rng.randint(1, 4))]
        raw = b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""])
        head = plain_head(raw)
        if head is None:
            continue
        plain += 1
        body = b"1\r\nx\r\n0\r\n\r\n" if head.length is None else b"x" * head.length
        heard = Heard(raw + body)
        assert head.headers == heard.headers
        assert heard.complete
        assert heard.keep
        assert len(heard.body) == (1 if head.length is None else head.length)
        assert head.size == len(raw)
    assert plain > 100


@pytest.mark.parametrize(
    "start", [b"HTTP/1.0 200 OK", b"HTTP/1.1 201 Created", b"HTTP/1.1 100 Continue", b""]
)
def test_a_head_of_another_kind_is_left_to_the_parser(start) -> None:
    assert plain_head(start + b"\r\ncontent-length: 2\r\n\r\n{}") is None
