"""Real engines' answers, cut and damaged anywhere, through a connection, an answer and its scanner."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from gateway.connection import HEAD_BYTES, Connection
from gateway.failures import BackendFailure
from gateway.relay import EngineCall, Relay, RelayOptions
from gateway.reply import Reply
from scheduling.core.usage import Usage

RECORDED = Path(__file__).parents[2] / "fakes" / "recorded"
NAMES = sorted(
    name
    for engine in ("vllm_0.32.0", "llamacpp_0.3.36")
    for name in (
        f"{engine}_stream.txt",
        f"{engine}_messages_stream.txt",
        f"{engine}_responses_stream.txt",
        f"{engine}_chat.json",
        f"{engine}_messages.json",
        f"{engine}_responses.json",
    )
)
FRAMINGS = ("length", "chunked", "close")
OPTIONS = RelayOptions(first_byte_s=0.01, stall_s=0.01, event_bytes=8 * 1024, unread_bytes=4 * 1024)
TURNS = 8  # of the event loop, within which whoever reads must have heard
PIECE_BYTES = 4 * 1024
ENDINGS = (b"[DONE]", b"event: message_stop", b"event: response.completed", b'_reason":"', b'_reason": "')
TWIST = ("flip", "drop", "repeat", "insert")
ERROR = b'{"error":{"message":"x"}}'
GARBAGE = (b"\r\n", b"\n\n", b"0\r\n\r\n", b"data: ", b"\x00", b"\xff\xfe", ERROR, b"{" * 600)


Play = Callable[..., "Came"]


class Wire:
    """A transport that is only asked what it was told."""

    def __init__(self) -> None:
        self.closed = self.paused = False

    def write(self, data: bytes) -> None: ...

    def writelines(self, parts: object) -> None: ...

    def get_extra_info(self, name: str) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def set_protocol(self, protocol: object) -> None: ...

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Home:
    """The pool of one connection."""

    def __init__(self) -> None:
        self.kept: list[Connection] = []
        self.wire = Wire()
        self.connection = Connection(self, 0.0)
        self.connection.connection_made(self.wire)

    def add(self, connection: Connection) -> None: ...

    def forget(self, connection: Connection) -> None: ...

    def keep(self, connection: Connection) -> None:
        self.kept.append(connection)

    def head_for(self, call: EngineCall) -> bytes:
        return b""

    def take_idle(self) -> None: ...

    async def connect(self) -> Connection:
        return self.connection


@dataclass(slots=True)
class Came:
    """What the reader got, and how it ended."""

    body: bytes = b""
    failure: BackendFailure | None = None
    whole: bool = False
    kept: bool = False
    usage: Usage | None = None


async def play(call: EngineCall, pieces: list[bytes], rng: random.Random, *, lost: bool) -> Came:
    """Let the pieces come; then the connection is lost, or nothing comes any more."""
    home, came = Home(), Came(usage=Usage(prompt_tokens=5))
    relay = Relay(OPTIONS)
    relay._pools["gpu-0"] = home
    reader = asyncio.create_task(read(relay, call, came))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reply = home.connection._reply
    for piece in pieces:
        if home.wire.closed:
            break
        for _ in range(TURNS if home.wire.paused else 0):
            await asyncio.sleep(0)
        assert not home.wire.paused or reader.done(), "a reader that reads leaves nothing paused"
        home.connection.data_received(piece)
        assert_bounded(reply)
        if random.random() < 0.3:
            await asyncio.sleep(0)
    if lost or home.wire.closed:
        home.connection.connection_lost(None)
    await turns()
    for later_s in (1, 2):
        reply.check(asyncio.get_running_loop().time() + later_s)
        await turns()
    assert reader.done(), "nobody may wait for what will never come"
    await reader
    came.kept = bool(home.kept)
    return came


async def turns() -> None:
    """Long enough for whoever reads to have heard."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


def assert_bounded(reply: Reply) -> None:
    """What is held of an answer, by it and by its scanner."""
    assert sum(map(len, reply._chunks)) <= OPTIONS.unread_bytes + 2 * PIECE_BYTES
    held = getattr(reply._scanner, "_open", b"")
    assert len(held) <= OPTIONS.event_bytes + PIECE_BYTES


async def read(relay: Relay, call: EngineCall, came: Came) -> None:
    try:
        async with relay.open("gpu-0", call, came.usage, lambda: None) as opened:
            async for data in opened:
                came.body += data
        came.whole = True
    except BackendFailure as failure:
        came.failure = failure


@cache
def recorded(name: str) -> bytes:
    return (RECORDED / name).read_bytes()


def call_of(name: str) -> EngineCall:
    stream = name.endswith(".txt")
    return EngineCall("r1", "/v1/chat/completions", (b"{}",), stream=stream, strip_usage=False)


def head_of(name: str) -> bytes:
    kind = b"text/event-stream" if name.endswith(".txt") else b"application/json"
    return b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\n"


def framed(name: str, framing: str, rng: random.Random) -> bytes:
    body = recorded(name)
    head = head_of(name)
    if framing == "length":
        return head + b"content-length: %d\r\n\r\n" % len(body) + body
    if framing == "close":
        return head + b"connection: close\r\n\r\n" + body
    chunks, at = [], 0
    while at < len(body):
        part = body[at : at + rng.randint(1, 2000)]
        chunks.append(b"%x\r\n%b\r\n" % (len(part), part))
        at += len(part)
    return head + b"transfer-encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"


def cut(raw: bytes, rng: random.Random) -> list[bytes]:
    most = rng.choice((1, 7, 100, PIECE_BYTES))
    most = max(most, len(raw) // 2000)
    pieces, at = [], 0
    while at < len(raw):
        pieces.append(raw[at : at + rng.randint(1, most)])
        at += len(pieces[-1])
    return pieces


def damaged(raw: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw))
        to = min(len(raw), at + rng.choice((1, 3, 40, 500)))
        kind = rng.choice(TWIST)
        if kind == "flip":
            raw = raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]
        elif kind == "drop":
            raw = raw[:at] + raw[to:] or b"x"
        elif kind == "repeat":
            raw = raw[:to] + raw[at:]
        else:
            raw = raw[:at] + rng.choice(GARBAGE) + raw[at:]
    return raw


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as running:
        yield running


def cases(count: int, runner: asyncio.Runner) -> Iterator[tuple[str, str, random.Random, Play]]:
    """Each answer in each framing comes about as often."""
    for seed in range(count):
        rng = random.Random(seed)
        name, framing = NAMES[seed % len(NAMES)], FRAMINGS[seed // len(NAMES) % len(FRAMINGS)]

        def run(pieces: list[bytes], *, lost: bool, name=name, rng=rng) -> Came:
            return runner.run(play(call_of(name), pieces, rng, lost=lost))

        yield name, framing, rng, run


def test_a_good_answer_comes_through_whole_however_it_is_cut(runner) -> None:
    for name, framing, rng, run in cases(108, runner):
        came = run(cut(framed(name, framing, rng), rng), lost=framing == "close")
        once = run([framed(name, "length", rng)], lost=False)

        assert came.failure is None
        assert came.body == recorded(name)
        assert came.usage == once.usage
        assert not came.usage.estimated
        assert came.kept == (framing != "close")


def test_an_answer_that_stops_anywhere_is_whole_only_if_it_said_its_end(runner) -> None:
    for name, framing, rng, run in cases(360, runner):
        raw = framed(name, framing, rng)
        came = run(cut(raw[: rng.randrange(len(raw))], rng), lost=rng.random() < 0.5)

        assert came.whole == (came.failure is None)
        assert recorded(name).startswith(came.body)
        assert not came.kept
        if came.whole and name.endswith(".txt"):
            assert any(end in came.body for end in ENDINGS)
        elif came.whole:
            assert came.body.rstrip() == recorded(name).rstrip()


@pytest.mark.parametrize("framing", ["close", "chunked"])
@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".json")])
def test_json_that_stops_after_an_inner_brace_is_not_whole(runner, name, framing) -> None:
    body = recorded(name).rstrip()
    for at in range(1, len(body)):
        if body[at - 1 : at] in (b"}", b"]"):
            begun = head_of(name) + b"connection: close\r\n\r\n" + body[:at]
            if framing == "chunked":
                begun = head_of(name) + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % at
                begun += body[:at] + b"\r\n0\r\n\r\n"
            came = runner.run(play(call_of(name), [begun], random.Random(at), lost=True))
            assert came.failure is not None, at


def test_a_damaged_answer_ends_in_bounded_time_and_memory(runner) -> None:
    """What is damaged inside a text nobody can tell; but nothing hangs, and nothing else is raised."""
    for name, framing, rng, run in cases(720, runner):
        came = run(cut(damaged(framed(name, framing, rng), rng), rng), lost=rng.random() < 0.5)

        assert came.whole == (came.failure is None)
        if came.whole and name.endswith(".json"):
            assert came.body.rstrip().endswith((b"}", b"]"))


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_head_without_an_end_is_bounded(runner, framing) -> None:
    rng = random.Random(1)
    raw = framed(NAMES[0], framing, rng)
    start = raw[: raw.index(b"\r\n") + 2]
    endless = [start, *[b"x-a: " + b"a" * 1000 + b"\r\n"] * (HEAD_BYTES // 500)]
    came = runner.run(play(call_of(NAMES[0]), endless, rng, lost=False))

    assert came.failure is not None
    assert "head is larger" in str(came.failure)
