"""A wire between a client and a server that remembers what passed.

with running_wire("http://127.0.0.1:8000") as wire:
    wire.url; wire.asked_s; wire.said
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

REQUEST = re.compile(rb"^(?:GET|POST) /\S* HTTP/1\.1\r$", re.MULTILINE)  # no client splits its first line


@dataclass(slots=True)
class Wire:
    """All connections through one port, since the last ``clear``."""

    url: str = ""
    sent: bytearray = field(default_factory=bytearray)  # by clients
    said: bytearray = field(default_factory=bytearray)  # by the server
    asked_s: list[float] = field(default_factory=list)  # when each request began, of time.monotonic()
    left_s: float | None = None  # when a client last hung up while the server had not

    def clear(self) -> None:
        """Forget what passed."""
        self.sent.clear()
        self.said.clear()
        self.asked_s.clear()
        self.left_s = None

    async def join(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to the server at ``port`` and back, its ends too."""
        there, back = await asyncio.open_connection("127.0.0.1", port)
        try:
            await self._join(reader, writer, there, back)
        except asyncio.CancelledError:
            # The test is over.
            writer.transport.abort()
            back.transport.abort()

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        asking = asyncio.ensure_future(_carry(reader, back, self._ask))
        saying = asyncio.ensure_future(_carry(there, writer, self.said.extend))
        await asyncio.wait([asking, saying], return_when=asyncio.FIRST_COMPLETED)
        if not saying.done():
            self.left_s = time.monotonic()
        for end in (writer, back):
            end.close()
        await asyncio.wait([asking, saying])

    def _ask(self, data: bytes) -> None:
        self.sent += data
        self.asked_s += [time.monotonic()] * len(REQUEST.findall(data))


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keep: Callable[[bytes], object]
) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            keep(data)
            writer.write(data)
            await writer.drain()


@contextmanager
def running_wire(url: str) -> Iterator[Wire]:
    """A wire to the server at ``url``, on a free port, in a thread of its own."""
    wire, ready = Wire(), threading.Event()
    port = int(url.rpartition(":")[2])
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        stop.append(lambda: loop.call_soon_threadsafe(ended.set))
        server = await asyncio.start_server(lambda r, w: wire.join(port, r, w), "127.0.0.1", 0)
        wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await ended.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="wire")
    thread.start()
    assert ready.wait(10), "the wire did not start"
    try:
        yield wire
    finally:
        stop[0]()
        thread.join(10)
