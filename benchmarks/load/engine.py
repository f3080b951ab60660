"""The fake engine: answers every request by the script that is in force."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic_ns

from benchmarks.load import shapes
from benchmarks.load.framing import Framer

BACKLOG = 4096
SPREAD = 37  # coprime to the usual lengths: the remainders come in no order


@dataclass(frozen=True, slots=True)
class Script:
    """How requests are answered. ``chunks`` are the lengths of the streams, in turn.

    The first ``staggered`` streams are cut short, each at another place, so that from the
    beginning streams begin and end all the time, as they do in a long run.
    """

    stream: bool
    chunks: Sequence[int] = (64,)
    gap_ns: int = 0  # between two chunks of a stream; 0: back to back
    staggered: int = 0

    def lengths(self) -> Iterator[int]:
        """The lengths of the streams, without an end."""
        for n in range(self.staggered):
            yield 1 + n * SPREAD % self.chunks[n % len(self.chunks)]
        yield from itertools.cycle(self.chunks)


class Engine:
    """Listens; ``script`` may be changed between two runs, and ``step`` is called all the time."""

    def __init__(self) -> None:
        self.answered = self.sent_chunks = 0
        self.port = 0
        self.connections: set[_Connection] = set()
        self._due: deque[tuple[int, _Connection]] = deque()  # in order, because all gaps are the same
        self.play(Script(stream=False))

    async def listen(self) -> None:
        """Begin; ``port`` says where."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]

    def play(self, script: Script) -> None:
        """Answer by this script from now on. Streams that still run are cut off."""
        for connection in self.connections:
            connection.cut()
        self.script = script
        self.lengths = script.lengths()
        self._due.clear()

    def step(self) -> None:
        """Send the chunks whose time has come."""
        due = self._due
        now_ns = monotonic_ns()
        while due and due[0][0] <= now_ns:
            at_ns, connection = due.popleft()
            if connection.send_token():
                # A late chunk does not make the next one late as well.
                due.append((max(at_ns + self.script.gap_ns, now_ns - self.script.gap_ns), connection))

    @property
    def streaming(self) -> int:
        """How many streams have not ended."""
        return sum(connection.streams for connection in self.connections)

    def pace(self, connection: _Connection) -> None:
        """Give this stream its next chunk one gap from now."""
        self._due.append((monotonic_ns() + self.script.gap_ns, connection))

    def close(self) -> None:
        """Take no more connections."""
        self._server.close()


class _Connection(asyncio.Protocol):
    """One of a gateway's connections to the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._framer = Framer()
        self._left = 0  # chunks of the running stream
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._fd = transport.get_extra_info("socket").fileno()
        transport.set_write_buffer_limits(high=0)
        self._engine.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if not self._framer.feed(data):
            return
        head = self._framer.head
        if head.startswith(b"GET"):  # whoever asks how the engine is: it has its model, and nothing to do
            self._transport.write(shapes.METRICS if head.startswith(b"GET /metrics") else shapes.MODELS)
            return
        self._engine.answered += 1
        if not self._engine.script.stream:
            self._transport.write(shapes.ANSWER)
            return
        self._left = next(self._engine.lengths)
        self._write(shapes.STREAM_BEGIN)
        if not self.send_token():
            return
        if self._engine.script.gap_ns:
            self._engine.pace(self)
        else:
            self._send_all()

    @property
    def streams(self) -> bool:
        """Whether an answer has begun and not ended."""
        return self._left > 0

    def send_token(self) -> bool:
        """Send one chunk, and the end after the last; whether more are to come."""
        if not self._left:
            return False
        self._left -= 1
        self._engine.sent_chunks += 1
        self._write(shapes.TOKEN % monotonic_ns())
        if self._left:
            return True
        self._write(shapes.STREAM_END)
        return False

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._left and not self._engine.script.gap_ns:
            self._send_all()

    def connection_lost(self, exc: Exception | None) -> None:
        self._left = 0
        self._engine.connections.discard(self)

    def cut(self) -> None:
        """End a stream in its middle."""
        if self._left:
            self._left = 0
            self._transport.abort()

    def _send_all(self) -> None:
        while not self._paused and self.send_token():
            pass

    def _write(self, data: bytes) -> None:
        """One write of its own: the loop would put a turn's chunks into one."""
        if self._transport.is_closing():
            self._left = 0
            return
        if self._transport.get_write_buffer_size():
            self._transport.write(data)
            return
        try:
            sent = os.write(self._fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._transport.abort()
            self._left = 0
            return
        if sent < len(data):
            self._transport.write(data[sent:])
