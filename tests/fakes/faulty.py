"""A server that speaks bytes, not HTTP, so that it can break every rule of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def stream(*events: bytes) -> bytes:
    """A whole, well-framed event stream: one HTTP chunk an event."""
    return CHUNKED_HEAD + b"".join(map(chunk, events)) + LAST_CHUNK


def answer(body: bytes, status: str = "200 OK", *headers: str, kind: str = "application/json") -> bytes:
    """A whole answer with a length."""
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    line: bytes
    headers: dict[bytes, bytes]
    body: bytes


@dataclass(slots=True)
class Peer:
    """The gateway, seen from the engine."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    asked: list[Asked]

    async def request(self) -> Asked:
        """Read one request whole."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *lines = head[:-4].split(b"\r\n")
        pairs = (part.split(b": ", 1) for part in lines)
        headers = {name.lower(): value for name, value in pairs}
        asked = Asked(line, headers, await self.reader.readexactly(int(headers.get(b"content-length", 0))))
        self.asked.append(asked)
        return asked

    async def send(self, *parts: bytes) -> None:
        """Each part in a segment of its own, as far as the loopback keeps them apart."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def closed(self) -> None:
        """Until the gateway hangs up."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            return

    def reset(self) -> None:
        """Hang up with RST, as a killed process with unread data does."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass(slots=True)
class FaultyEngine:
    """Plays one script for each connection, the last one for all further connections."""

    port: int
    scripts: list[Script]
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            await script(Peer(reader, writer, self.asked))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass
        finally:
            self.tasks.discard(task)
            if writer.can_write_eof():
                writer.close()
            else:
                writer.transport.abort()


@asynccontextmanager
async def faulty_engine(
    *scripts: Script, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[FaultyEngine]:
    """A server at this port, or at a free one, that plays ``scripts``."""
    engine = FaultyEngine(0, list(scripts))
    server = await asyncio.start_server(engine._meet, host, port, ssl=tls)
    engine.port = server.sockets[0].getsockname()[1]
    try:
        yield engine
    finally:
        server.close()
        for task in tuple(engine.tasks):
            task.cancel()
        await asyncio.gather(*engine.tasks, return_exceptions=True)
        await server.wait_closed()


def says(*parts: bytes, then: str = "keep") -> Script:
    """Read a request, send ``parts``; then keep the connection for more, close, reset or stall."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*parts)
            if then == "close":
                return
            if then == "reset":
                # What was sent must arrive first: RST would throw it away.
                await asyncio.sleep(0.02)
                peer.reset()
                return
            if then == "stall":
                await peer.closed()
                return

    return script
