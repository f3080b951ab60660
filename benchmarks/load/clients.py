"""The clients: connections that ask, and a tally of what came back."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass, field
from time import monotonic_ns

from benchmarks.load.framing import Framer
from benchmarks.load.shapes import MARK, MARK_DIGITS

STAMP = re.compile(MARK + rb"(\d{%d})" % MARK_DIGITS)
CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
SAID_BYTES = 300  # of the first failed answer
RETRY_S = 0.05  # after a connection that was refused


@dataclass(slots=True)
class Tally:
    """What happened since a moment. Times in nanoseconds."""

    requests: int = 0
    chunks: int = 0
    errors: int = 0
    first_error: str = ""
    answer_ns: list[int] = field(default_factory=list)  # from asking to the last byte
    first_token_ns: list[int] = field(default_factory=list)  # from asking to the first token's arrival
    delay_ns: list[int] = field(default_factory=list)  # of every later chunk, from the engine's write

    def fail(self, what: str) -> None:
        """Count an answer that was none."""
        self.errors += 1
        self.first_error = self.first_error or what


class Crowd:
    """All clients of one run: closed loop, or open loop at ``rate`` requests per second."""

    def __init__(self, port: int, requests: list[bytes], rate: float = 0.0) -> None:
        self.tally = Tally()
        self.resting: deque[Client] = deque()  # connections that may be asked to ask
        self.closed = False
        self._port = port
        self._requests = requests
        self._gap_ns = round(1e9 / rate) if rate else 0
        self._late: deque[int] = deque()  # times at which no connection was free
        self._starts: deque[tuple[int, Client]] = deque()  # of a closed loop, in order
        self._next_ns = 0
        self._clients: list[Client] = []
        self._again: set[asyncio.Task[None]] = set()

    async def connect(self, connections: int) -> bool:
        """Open the connections; each asks with one of the requests, in turn. Whether all were taken."""
        for n in range(connections):
            client = Client(self, self._requests[n % len(self._requests)])
            self._clients.append(client)
            if not await self.connect_once(client):
                return False
        return True

    def begin(self, ramp_s: float) -> None:
        """Let the connections ask, evenly spread over the ramp. In an open loop the rate alone decides."""
        now_ns = monotonic_ns()
        if self._gap_ns:
            self.resting.extend(self._clients)
            self._next_ns = now_ns
            return
        step_ns = round(ramp_s * 1e9 / len(self._clients))
        self._starts.extend((now_ns + n * step_ns, client) for n, client in enumerate(self._clients))

    def step(self) -> None:
        """Ask what is due."""
        if self.closed:
            return
        now_ns = monotonic_ns()
        while self._starts and self._starts[0][0] <= now_ns:
            self._starts.popleft()[1].ask(now_ns)
        while self._next_ns and self._next_ns <= now_ns:
            if self.resting:
                self.resting.popleft().ask(self._next_ns)
            else:
                self._late.append(self._next_ns)
            self._next_ns += self._gap_ns

    def go_on(self, client: Client, now_ns: int) -> None:
        """A connection has its answer."""
        if self.closed:
            return
        if not self._gap_ns:
            client.ask(now_ns)
        elif self._late:
            client.ask(self._late.popleft())
        else:
            self.resting.append(client)

    def reconnect(self, client: Client) -> None:
        """A connection was closed by the other side."""
        task = asyncio.get_running_loop().create_task(self._reconnect(client))
        self._again.add(task)
        task.add_done_callback(self._again.discard)

    async def _reconnect(self, client: Client) -> None:
        while not self.closed:
            if await self.connect_once(client):
                self.go_on(client, monotonic_ns())
                return
            await asyncio.sleep(RETRY_S)

    async def connect_once(self, client: Client) -> bool:
        """Whether the gateway took the connection."""
        client.forget()
        try:
            await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", self._port)
        except OSError as error:
            self.tally.fail(str(error))
            return False
        return True

    def close(self) -> None:
        """Hang up, in the middle of answers too."""
        self.closed = True
        for task in self._again:
            task.cancel()
        for client in self._clients:
            client.abort()

    @property
    def with_token(self) -> int:
        """How many connections have a stream that has begun."""
        return sum(client.has_token for client in self._clients)


class Client(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, crowd: Crowd, request: bytes) -> None:
        self.has_token = False
        self._crowd = crowd
        self._request = request
        self._transport: asyncio.Transport | None = None
        self.forget()

    def forget(self) -> None:
        """Begin anew, for a new connection."""
        self._framer, self._asked_ns = Framer(), 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, due_ns: int) -> None:
        """Send the request. ``due_ns`` is when it should have been sent."""
        self._asked_ns, self.has_token = due_ns, False
        if self._transport:  # else it was closed while it rested, and asks when it is there again
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now_ns = monotonic_ns()
        if found := data.count(MARK):
            self._crowd.tally.chunks += found
            self._tokens(data, now_ns)
        if self._framer.feed(data):
            self._end(data, now_ns)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._crowd.closed:
            return
        if self._asked_ns:
            self._crowd.tally.fail(f"connection closed in an answer: {exc or 'end of file'}")
        self._crowd.reconnect(self)

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport:
            self._transport.abort()

    def _tokens(self, data: bytes, now_ns: int) -> None:
        tally = self._crowd.tally
        stamps = STAMP.findall(data)
        if not self.has_token:
            self.has_token = True
            tally.first_token_ns.append(now_ns - self._asked_ns)
            del stamps[:1]
        for stamp in stamps:
            tally.delay_ns.append(now_ns - int(stamp))

    def _end(self, data: bytes, now_ns: int) -> None:
        tally, head = self._crowd.tally, self._framer.head
        tally.requests += 1
        tally.answer_ns.append(now_ns - self._asked_ns)
        self._asked_ns = 0
        if head[9:12] != b"200":
            tally.fail((head[:40] + b" ... " + data[-SAID_BYTES:]).decode(errors="replace"))
        if CLOSES.search(head):
            self._transport.abort()
            return
        self._crowd.go_on(self, now_ns)
